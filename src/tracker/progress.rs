//! How far the work is, over all processes.

use crate::segment::control::SAMPLES;
use crate::sys::clock;
use crate::tracker::Tracker;
use serde::Serialize;
use std::fmt;

/// What the rate is taken over.
const WINDOW_NANOSECONDS: u64 = 60_000_000_000;

/// How many tasks are in which state, and how fast they are done, over all processes.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
/// tracker.add_many(0..3)?;
/// tracker.mark_done(0)?;
/// let progress = tracker.progress();
/// assert_eq!((progress.total, progress.done, progress.todo), (3, 1, 2));
/// assert!(progress.to_string().starts_with("33 % "));
/// assert_eq!(serde_json::to_value(&progress)?["failed"], 0);
/// tracker.merge([(1, serde_json::json!({"_not_before": 1e12}))])?;
/// assert_eq!((tracker.progress().ready, tracker.progress().waiting), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// All tasks.
    pub total: usize,
    /// Tasks that are done.
    pub done: usize,
    /// Tasks that are not done and will not be tried again: they are aborted, or have no tries left.
    pub failed: usize,
    /// Failed tasks that are aborted.
    pub aborted: usize,
    /// Tasks that a worker has claimed.
    pub claimed: usize,
    /// Tasks that wait for a worker, now or at a later time.
    pub todo: usize,
    /// Waiting tasks that can be claimed now.
    pub ready: usize,
    /// Waiting tasks that can be claimed at a later time only (`_not_before`).
    pub waiting: usize,
    /// Tasks done per second, over the last minute of this run. A run begins when a worker claims a task and no worker had one for two
    /// seconds.
    pub rate: f64,
    /// Seconds until all tasks are finished at this rate. `None` if that is not known, for example before the first task is done.
    pub eta_seconds: Option<f64>,
}

impl Progress {
    /// How many tasks of a hundred are finished, that is done or failed, rounded down. 100 means that all are. An empty tracker is finished.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add_many(0..3)?;
    /// tracker.mark_done(0)?;
    /// tracker.mark_done(1)?;
    /// assert_eq!(tracker.progress().percent(), 66);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn percent(&self) -> usize {
        if self.total == 0 { 100 } else { ((self.done + self.failed) as u128 * 100 / self.total as u128) as usize }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { total, done, failed, claimed, .. } = self;
        write!(f, "{} % {done}/{total} done", self.percent())?;
        for (count, what) in [(failed, "failed"), (claimed, "in work")] {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.rate > 0.0 {
            write!(f, ", {:.1}/s", self.rate)?;
        }
        match self.eta_seconds.map(|seconds| seconds.ceil() as u64) {
            Some(seconds) if seconds > 0 => write!(f, ", {}:{:02}:{:02} left", seconds / 3600, seconds / 60 % 60, seconds % 60),
            _ => Ok(()),
        }
    }
}

impl Tracker {
    /// How far the work is. The cost does not depend on the number of tasks, except that aborted tasks and tasks for a later time are
    /// counted one by one.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// println!("{}", tracker.progress());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn progress(&self) -> Progress {
        let counters = self.counters();
        let claimed = self.pod().shared.control.tasks.claims.load(crate::sys::atomic::Ordering::Relaxed);
        let claimed = claimed.min(counters.length.saturating_sub(counters.done + counters.failed));
        let todo = counters.length.saturating_sub(counters.done + counters.failed + claimed);
        let rate = self.rate(counters.done);
        let left = (claimed + todo) as f64;
        // Found without the mutex, and so perhaps not of the same instant: the sums hold in any case.
        let shared = &self.pod().shared;
        let aborted = if counters.aborted == 0 { 0 } else { shared.count_aborted().unwrap_or(0).min(counters.failed) };
        let waiting = shared.count_delayed().unwrap_or(0).min(todo);
        Progress {
            total: counters.length as usize,
            done: counters.done as usize,
            failed: counters.failed as usize,
            aborted: aborted as usize,
            claimed: claimed as usize,
            todo: todo as usize,
            ready: (todo - waiting) as usize,
            waiting: waiting as usize,
            rate,
            eta_seconds: if left == 0.0 { Some(0.0) } else { (rate > 0.0).then(|| left / rate) },
        }
    }

    /// Tasks done in a second, since the oldest sample of the window and of this run.
    fn rate(&self, done: u64) -> f64 {
        let tasks = &self.pod().shared.control.tasks;
        let now = clock::coarse_nanoseconds();
        let count = tasks.sampled.get();
        // Without the mutex: the oldest place, which may be being written, is left out.
        let oldest = (count.saturating_sub(SAMPLES as u64 - 1).max(tasks.samples_from.get())..count)
            .map(|index| {
                let [moment, finished] = tasks.sample(index);
                (moment.get(), finished.get())
            })
            .find(|(moment, finished)| *moment < now && now - *moment <= WINDOW_NANOSECONDS && *finished <= done);
        oldest.map_or(0.0, |(moment, finished)| (done - finished) as f64 * 1e9 / (now - moment) as f64)
    }
}
