//! Waiting for tasks.

use crate::error::Result;
use crate::store::tasks::claims::Claimed;
use crate::tracker::{Claim, Tracker};
use std::time::{Duration, Instant};

/// While others hold claims, they are looked at so often: nobody is woken by a death. With the time that the look takes it is found
/// within a tenth of a second.
const LOOK_AGAIN: Duration = Duration::from_millis(80);

/// What [`Tracker::claim_wait`] came back with.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
/// use std::time::Duration;
/// use tastypod::Next;
/// tracker.add("a")?;
/// let Next::Task(claim) = tracker.claim_wait(Duration::from_secs(1))? else { panic!("there is a task") };
/// assert!(matches!(tracker.claim_wait(Duration::ZERO)?, Next::TimedOut), "somebody works on the last one");
/// claim.done()?;
/// assert!(matches!(tracker.claim_wait(Duration::from_secs(1))?, Next::Finished));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Next {
    /// A task.
    Task(Claim),
    /// There was none within the time.
    TimedOut,
    /// Nothing is left to do, and nobody holds a task that could come back or bring new ones.
    Finished,
}

/// The claims of [`Tracker::work`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
/// tracker.add_many(0..3)?;
/// for claim in tracker.work() {
///     claim?.done()?;
/// }
/// assert_eq!(tracker.num_done(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Work {
    tracker: Tracker,
    waits_for_new: bool,
    is_failed: bool,
}

impl Work {
    /// Waits for new tasks when nothing is left to do. For services whose tasks come from elsewhere.
    ///
    /// ```no_run
    /// let tracker = tastypod::Tracker::open("a.tracker")?;
    /// for claim in tracker.work().wait_for_new() {
    ///     claim?.done()?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wait_for_new(mut self) -> Work {
        self.waits_for_new = true;
        self
    }
}

impl Iterator for Work {
    type Item = Result<Claim>;

    fn next(&mut self) -> Option<Result<Claim>> {
        if self.is_failed {
            return None;
        }
        match self.tracker.claim_until(None, self.waits_for_new) {
            Ok(Next::Task(claim)) => Some(Ok(claim)),
            Ok(Next::Finished | Next::TimedOut) => None,
            Err(error) => {
                self.is_failed = true;
                Some(Err(error))
            }
        }
    }
}

impl Tracker {
    /// Claims the next task. If there is none, it sleeps until there is one, at most for `timeout`. A commit wakes it at once. The death of
    /// another worker is noticed within a tenth of a second.
    ///
    /// # Errors
    /// `LockTimeout`, `Full`, `ReadOnly`, `Reentrant`, `Io`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// assert!(matches!(tracker.claim_wait(std::time::Duration::from_secs(60))?, tastypod::Next::Finished));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_wait(&self, timeout: Duration) -> Result<Next> {
        self.claim_until(Some(timeout), false)
    }

    /// Claims tasks one after the other. It waits while other workers hold tasks, since those may come back or bring new ones. It ends when
    /// nothing is left to do and nobody holds anything.
    ///
    /// End each claim before you ask for the next one. Otherwise the loop waits for your own claim, for ever.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add(3)?;
    /// for claim in tracker.work() {
    ///     let claim = claim?;
    ///     let number = claim.key().as_i64().unwrap();
    ///     // A task may bring others.
    ///     claim.done_and(|t| if number > 0 { t.add(number - 1) } else { Ok(()) })?;
    /// }
    /// assert_eq!(tracker.num_done(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn work(&self) -> Work {
        Work { tracker: self.clone(), waits_for_new: false, is_failed: false }
    }

    fn claim_until(&self, timeout: Option<Duration>, waits_for_new: bool) -> Result<Next> {
        let start = Instant::now();
        let shared = &self.pod().shared;
        let mut has_slept = false;
        loop {
            // What is brought from here on is not slept through.
            let seen = shared.brought();
            let nap = match self.attempt()? {
                Claimed::Task(held, ordinal, bytes) => {
                    // Where there was none before, there are not many now.
                    if !has_slept {
                        shared.warm_next_tasks(ordinal);
                    }
                    return self.claim_of(held, bytes).map(Next::Task);
                }
                Claimed::Finished if !waits_for_new => return Ok(Next::Finished),
                Claimed::Finished | Claimed::Later(None) => LOOK_AGAIN,
                Claimed::Later(Some(microseconds)) => Duration::from_micros(microseconds.saturating_add(1)).min(LOOK_AGAIN),
            };
            let left = timeout.map_or(LOOK_AGAIN, |timeout| timeout.saturating_sub(start.elapsed()));
            if left.is_zero() {
                return Ok(Next::TimedOut);
            }
            shared.wait_for_work(seen, nap.min(left));
            has_slept = true;
        }
    }
}
