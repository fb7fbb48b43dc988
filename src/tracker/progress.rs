//! How far the work is, over all processes.

use crate::segment::control::SAMPLES;
use crate::sys::clock;
use crate::tracker::Tracker;
use serde::Serialize;
use std::fmt;

/// What the rate is taken over.
const WINDOW_NANOSECONDS: u64 = 60_000_000_000;

/// Counts of one instant, and the rate of this run's last minute, of all processes together.
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
    /// Tasks that there are.
    pub total: usize,
    /// Tasks that are done.
    pub done: usize,
    /// Tasks that are not done and will not be tried again: aborted, or tried as often as they may be.
    pub failed: usize,
    /// Those of `failed` that were aborted.
    pub aborted: usize,
    /// Tasks that somebody works on.
    pub claimed: usize,
    /// Tasks that wait to be tried, also for a later time.
    pub todo: usize,
    /// Those of `todo` that may be claimed now.
    pub ready: usize,
    /// Those of `todo` that wait for a later time, `_not_before`.
    pub waiting: usize,
    /// Tasks done in a second, over the last minute of this run: of the time since somebody took up a task where for two seconds
    /// nobody had worked on any.
    pub rate: f64,
    /// Seconds until all is finished at this rate; nothing where that cannot be said, as before the first
    /// is done.
    pub eta_seconds: Option<f64>,
}

impl Progress {
    /// The percentage of tasks that are finished, done or failed, rounded down: 100 means that all are. An empty tracker is
    /// finished.
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
    /// How far the work is, at a cost that does not depend on how many tasks there are, but for those that are aborted or wait for a later
    /// time, which are counted.
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
