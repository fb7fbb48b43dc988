//! Failures, retries, and who works on what.

use crate::error::{ErrorKind, Owner, Result};
use crate::key::{AsKey, Key};
use crate::log::record::Standing;
use crate::pod::Iter;
use crate::store::core::how::Writing;
use crate::store::tasks::claims::DIED;
use crate::store::write::transaction::Change as Outcome;
use crate::tracker::Tracker;
use crate::tracker::seed::task_of;
use crate::value::{self, Archive, Change, Task, field};
use serde_json::Value;
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// So long whoever only reads waits for the mutex.
const A_MOMENT: Duration = Duration::from_millis(50);

/// A task that failed: see [`Tracker::failures`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
/// tracker.add("a")?;
/// tracker.claim()?.unwrap().abort("no such page")?;
/// let failure = tracker.failures().next().unwrap()?;
/// assert_eq!(failure.error.as_deref(), Some("no such page"));
/// assert!(failure.is_final);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// The task.
    pub key: Key,
    /// Why it went back last, where somebody said so.
    pub error: Option<String>,
    /// How often it was tried.
    pub tries: u64,
    /// Whether it was aborted.
    pub is_aborted: bool,
    /// Whether it will not be tried again.
    pub is_final: bool,
    /// Whether its last try ended by the death of its worker, which says nothing of the task. [`Tracker::retry_died`] gives such tasks another.
    pub has_died: bool,
    /// Its whole value.
    pub value: Value,
}

/// Who works on a task: see [`Tracker::claims`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
/// tracker.add("a")?;
/// let _claim = tracker.claim()?;
/// let claims = tracker.claims()?;
/// assert_eq!(claims[0].owner.pid, std::process::id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ClaimInfo {
    /// The task.
    pub key: Key,
    /// The process that holds the claim.
    pub owner: Owner,
    /// When it was claimed.
    pub since: SystemTime,
    /// How long the lease still lasts, where there is one; nothing is left once it is over.
    pub lease_left: Option<Duration>,
}

/// The failures of [`Tracker::failures`].
#[derive(Debug)]
struct Failures {
    entries: Iter,
    max_tries: u64,
    /// What somebody works on: its last try may still be the one.
    claimed: HashSet<Key>,
}

/// Whether the error of a task is that its worker died.
fn says_died(error: &str) -> bool {
    error.ends_with(DIED)
}

impl Iterator for Failures {
    type Item = Result<Failure>;

    fn next(&mut self) -> Option<Result<Failure>> {
        loop {
            // Most tasks are none of these, which is seen in place.
            let max_tries = self.max_tries;
            let looked = self.entries.next_read(|task| {
                let flag = |name: &str| task.get(name).and_then(|flag| flag.as_bool()).unwrap_or(false);
                let tries = task.get(field::TRIES).and_then(|tries| tries.as_u64()).unwrap_or(0);
                let has_error = task.get(field::ERROR).is_some_and(|error| !error.is_null());
                let (is_aborted, is_tried_out) = (flag(field::ABORTED), max_tries != 0 && tries >= max_tries);
                let may_be_one = !flag(field::DONE) && (is_aborted || is_tried_out || has_error);
                may_be_one.then(|| Ok((tries, is_aborted, is_tried_out, task.to_value()?))).transpose()
            });
            let (key, (tries, is_aborted, is_tried_out, value)) = match looked? {
                Ok((key, Some(looked))) => (key, looked),
                Ok((_, None)) => continue,
                Err(error) => return Some(Err(error)),
            };
            let error = value.get(field::ERROR).filter(|error| !error.is_null());
            let error = error.map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned));
            let is_final = is_aborted || is_tried_out && !self.claimed.contains(&key);
            if !is_final && error.is_none() {
                continue;
            }
            let has_died = error.as_deref().is_some_and(says_died);
            return Some(Ok(Failure { key, error, tries, is_aborted, is_final, has_died, value }));
        }
    }
}

impl Tracker {
    /// Tasks that are not done and have failed: aborted ones, those without a try left, and those that went back with an error. All are of one
    /// instant, in order. A task that somebody works on is not among them because of its current try. Claims of dead workers are ended first, unless
    /// the store is too busy.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add_many(["a", "b"])?;
    /// tracker.claim()?.unwrap().fail("timed out")?;
    /// let failures: Vec<_> = tracker.failures().collect::<Result<_, _>>()?;
    /// assert_eq!(failures.len(), 1);
    /// assert!(!failures[0].is_final, "it will be tried again");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn failures(&self) -> impl Iterator<Item = Result<Failure>> + use<> {
        let begun = self.keys_in_work().map(|claimed| Failures { entries: self.pod().iter(), max_tries: self.max_tries(), claimed });
        let (failures, error) = match begun {
            Ok(failures) => (Some(failures), None),
            Err(error) => (None, Some(Err(error))),
        };
        error.into_iter().chain(failures.into_iter().flatten())
    }

    /// What living workers hold.
    fn keys_in_work(&self) -> Result<HashSet<Key>> {
        let shared = &self.pod().shared;
        shared.require_not_held()?;
        shared.enter()?;
        if shared.control.tasks.claims.get() == 0 {
            return Ok(HashSet::new());
        }
        if self.pod().require_writable().is_ok() {
            let writing = Writing { timeout: A_MOMENT, ..self.pod().options.writing() };
            match shared.with_claims(writing, |locked, batch| locked.look_at_holders(0, batch)) {
                Err(error) if !matches!(error.kind(), ErrorKind::LockTimeout { .. }) => return Err(error),
                _ => {}
            }
        }
        Ok(self.held()?.into_iter().map(|claim| claim.key).collect())
    }

    /// Resets tasks as if they had never been tried: not aborted, no tries, no error, no waiting. Tasks that are done, claimed or absent stay as
    /// they are. It is one transaction, and returns how many tasks were reset.
    ///
    /// # Errors
    /// `InvalidKey`, `Full`, `LockTimeout`, `ReadOnly`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// tracker.claim()?.unwrap().abort("by mistake")?;
    /// assert_eq!(tracker.retry(["a", "absent"])?, 1);
    /// assert!(tracker.claim()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry<K: AsKey>(&self, keys: impl IntoIterator<Item = K>) -> Result<usize> {
        self.retry_where(keys, |_| true)
    }

    /// Tasks of `keys` that are so when their turn comes.
    fn retry_where<K: AsKey>(&self, keys: impl IntoIterator<Item = K>, is_meant: impl Fn(Archive<'_>) -> bool) -> Result<usize> {
        let target = self.pod().target()?;
        let keys = keys.into_iter().map(|key| target.hashed(&key)).collect::<Result<Vec<_>>>()?;
        self.transaction(|t| {
            let target = t.txn.target()?;
            let mut count = 0;
            for key in &keys {
                count += target.change_task(key, |task, standing, out| {
                    let Some(task) = task.filter(|task| !standing.has(Standing::CLAIMED) && is_meant(*task)) else {
                        return Ok((Outcome::Keep, 0));
                    };
                    let stands = task_of(&key.key, task)?;
                    let has = |name: &str| task.node().get(name).is_some();
                    if stands.done || stands.tries == 0 && !stands.aborted && !has(field::ERROR) && !has(field::NOT_BEFORE) {
                        return Ok((Outcome::Keep, 0));
                    }
                    let changes = [
                        Change::Drop(field::ERROR),
                        Change::Drop(field::NOT_BEFORE),
                        Change::Flag(field::ABORTED, false),
                        Change::Set(field::TRIES, &0),
                    ];
                    value::change(task, &changes, out).map(|()| (Outcome::Set, 1))
                })?;
            }
            Ok(count)
        })
    }

    /// [`retry`](Tracker::retry) for all [`failures`](Tracker::failures).
    ///
    /// # Errors
    /// `Full`, `LockTimeout`, `ReadOnly`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add_many(["a", "b"])?;
    /// tracker.abort("a")?;
    /// assert_eq!(tracker.retry_failed()?, 1);
    /// assert_eq!(tracker.num_aborted(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_failed(&self) -> Result<usize> {
        let keys = self.failures().map(|failure| Ok(failure?.key)).collect::<Result<Vec<_>>>()?;
        self.retry(keys)
    }

    /// [`retry`](Tracker::retry) for the tasks that have no try left and whose last one ended by the death of its worker, which says nothing of
    /// the task. A task that kills its workers comes up again with each call: only where somebody starts workers anew, knowing that, is this
    /// better than a higher [`max_tries`](crate::Options::max_tries). Where nobody else has the store open, tasks of whose last try nothing is
    /// known are among them: their workers died, and the shared memory that said so is gone, as after a power cut.
    ///
    /// # Errors
    /// `Full`, `LockTimeout`, `ReadOnly`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Options::new().max_tries(1).open_tracker(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// tracker.claim()?.unwrap().fail("no such page")?;
    /// assert_eq!(tracker.retry_died()?, 0, "its worker lives, and said why");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_died(&self) -> Result<usize> {
        self.end_dead_claims()?;
        if self.progress().failed == 0 {
            return Ok(0);
        }
        let own = std::process::id();
        let is_alone = self.pod().stats()?.open_by.iter().all(|owner| owner.pid == own);
        let says_so = |error: Option<&str>| error.map_or(is_alone, says_died);
        let has_died = |failure: &Failure| failure.is_final && !failure.is_aborted && says_so(failure.error.as_deref());
        let failures = self.failures().filter(|failure| failure.as_ref().map_or(true, has_died));
        let keys = failures.map(|failure| Ok(failure?.key)).collect::<Result<Vec<_>>>()?;
        // Others may have tried them meanwhile.
        self.retry_where(keys, |task| {
            let stands = Task::of(task.node()).unwrap_or_default();
            let error = task.node().get(field::ERROR).and_then(|error| error.as_str());
            !stands.aborted && stands.is_exhausted(self.max_tries()) && says_so(error)
        })
    }

    /// Puts back what dead workers hold, where that may be written.
    fn end_dead_claims(&self) -> Result<()> {
        let pod = self.pod();
        pod.shared.require_not_held()?;
        pod.shared.enter()?;
        if pod.require_writable().is_ok() {
            pod.shared.with_claims(pod.options.writing(), |locked, batch| locked.look_at_holders(0, batch))?;
        }
        Ok(())
    }

    /// Who works on what, and since when, ordered by time. Claims of dead workers are ended first.
    ///
    /// # Errors
    /// `LockTimeout`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// assert!(tracker.claims()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claims(&self) -> Result<Vec<ClaimInfo>> {
        self.end_dead_claims()?;
        self.held()
    }

    fn held(&self) -> Result<Vec<ClaimInfo>> {
        let shared = &self.pod().shared;
        let now = crate::sys::clock::coarse_nanoseconds();
        let mut claims = Vec::new();
        for (_, row) in shared.held_claims()? {
            let key = shared.read_ordinal(row.ordinal, |record| {
                Key::decode(record.key()).map_err(|_| shared.integrity(0, "a stored key is malformed"))
            })?;
            let Some(key) = key else { continue };
            claims.push(ClaimInfo {
                key,
                owner: shared.membership.owner_of_thread(shared.control, row.holder.pid),
                since: SystemTime::UNIX_EPOCH + Duration::from_nanos(row.since),
                lease_left: match row.deadline {
                    0 => None,
                    _ if row.is_offered() => Some(Duration::ZERO),
                    deadline => Some(Duration::from_nanos(deadline.saturating_sub(now))),
                },
            });
        }
        claims.sort_by_key(|claim| claim.since);
        Ok(claims)
    }
}
