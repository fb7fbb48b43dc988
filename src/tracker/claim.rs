//! A claim: the exclusive right to work on one task.

use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::log::batch::Claiming;
use crate::log::record::Record;
use crate::pod::{Hashed, Part};
use crate::store::tasks::claims::{Claimed, release};
use crate::store::tasks::held::Held;
use crate::store::tasks::standing::now_microseconds;
use crate::store::write::transaction::Change as Outcome;
use crate::tracker::{Tracker, TrackerTxn};
use crate::value::{self, Archive, Arena, Change, Task, field};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::{self, Display};
use std::time::Duration;

/// A task that this worker alone works on. End it with [`done`](Claim::done), [`fail`](Claim::fail), [`release`](Claim::release) or
/// [`abort`](Claim::abort). If it is dropped without one of them, also by a panic, or if the process dies, the task goes back. The try
/// counts then, and `_error` says why.
///
/// A claim belongs to the process that made it. Any of its threads may use it; in a child made by `fork` it does nothing. If the tracker
/// has a [`lease`](crate::Options::lease), another worker may take the task when the lease is over. Then all these calls fail with
/// `LeaseLost`.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
/// tracker.add("task")?;
/// let claim = tracker.claim()?.unwrap();
/// assert!(tracker.claim()?.is_none(), "nobody else gets it");
/// assert_eq!(claim.key().as_str(), Some("task"));
/// claim.done()?;
/// assert_eq!(tracker.num_done(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a claim that is dropped puts its task back"]
pub struct Claim {
    tracker: Tracker,
    held: Held,
    key: Key,
    /// The task's record as the claim left it.
    bytes: Vec<u8>,
    has_ended: bool,
}

/// What becomes of a task after [`Claim::fail`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// use tastypod::{Options, Retry};
/// let tracker = Options::new().max_tries(2).open_tracker(dir.path().join("a.tracker"))?;
/// tracker.add("task")?;
/// assert_eq!(tracker.claim()?.unwrap().fail("first")?, Retry::Behind);
/// assert_eq!(tracker.claim()?.unwrap().fail("second")?, Retry::Never);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// It will be tried again after all tasks that wait now.
    Behind,
    /// It may be tried again after this time.
    After(Duration),
    /// It has no try left.
    Never,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What is done to a task when its claim ends.
type Edit<'e> = &'e dyn Fn(Archive<'_>, &mut Vec<u8>) -> Result<()>;

/// Appends a task that is done, with the entries of an object set in it.
fn finished(task: Archive<'_>, fields: Option<Archive<'_>>, out: &mut Vec<u8>) -> Result<()> {
    let has = |name: &str| task.node().get(name).is_some();
    let mut changes: smallvec::SmallVec<[Change<'_>; 4]> = smallvec::SmallVec::new();
    for name in [field::ERROR, field::NOT_BEFORE] {
        if has(name) {
            changes.push(Change::Drop(name));
        }
    }
    changes.push(Change::Flag(field::DONE, true));
    if let Some(fields) = fields {
        // Large ones are copied once: they come last. The task is done whatever they say.
        changes.insert(if fields.node().get(field::DONE).is_some() { changes.len() - 1 } else { changes.len() }, Change::Merge(fields));
    }
    value::change(task, &changes, out)
}

impl Claim {
    fn record(&self) -> Record<'_> {
        Record::of(&self.bytes).expect("made from a record")
    }

    /// Ends the claim with an edit of the task.
    fn end(&mut self, edit: Edit<'_>) -> Result<()> {
        self.held.require_same_process()?;
        let pod = self.tracker.pod();
        let outcome = pod.shared.with_claims(pod.options.writing(), |locked, batch| {
            let row = locked.require_held(&self.held)?;
            locked.replace_task(row.ordinal, Claiming::End, batch, edit)
        });
        match outcome {
            Ok(_) => {
                self.has_ended = true;
                Ok(())
            }
            Err(error) => {
                self.has_ended |= error.kind() == ErrorKind::LeaseLost;
                Err(error)
            }
        }
    }

    /// The task's key.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add(7)?;
    /// assert_eq!(tracker.claim()?.unwrap().key().as_i64(), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The task's value as it was when it was claimed. The current try is counted in it.
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.merge([("a", serde_json::json!({"url": "https://example.org"}))])?;
    /// let claim = tracker.claim()?.unwrap();
    /// assert_eq!(claim.value()?["url"], "https://example.org");
    /// assert_eq!(claim.value()?["_tries"], 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn value(&self) -> Result<Value> {
        Archive::of(&self.record()).node().to_value()
    }

    /// The task's value, borrowed in place: nothing is parsed or copied.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// assert_eq!(tracker.claim()?.unwrap().part().get("_tries").and_then(|tries| tries.as_i64()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn part(&self) -> Part<'_> {
        Part::new(Archive::of(&self.record()))
    }

    /// The task's value in a type of your own.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if it is not of that type.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// #[derive(serde::Deserialize)]
    /// struct Page { url: String }
    /// tracker.merge([("a", serde_json::json!({"url": "https://example.org"}))])?;
    /// assert_eq!(tracker.claim()?.unwrap().get_as::<Page>()?.url, "https://example.org");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_as<T: DeserializeOwned>(&self) -> Result<T> {
        Archive::of(&self.record()).node().read()
    }

    /// How often the task was tried, with the current try.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// assert_eq!(tracker.claim()?.unwrap().tries(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tries(&self) -> u64 {
        Task::of(Archive::of(&self.record()).node()).map_or(0, |task| task.tries)
    }

    /// Marks the task as done.
    ///
    /// # Errors
    /// `LeaseLost` if the claim is not held any more; `Full`, `LockTimeout`, `Reentrant`: then the task goes back. With
    /// [`Durability::Disk`](crate::Durability::Disk) `Io` if the change is committed and visible, but could not be flushed to the disk.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// tracker.claim()?.unwrap().done()?;
    /// assert!(tracker.done("a")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn done(mut self) -> Result<()> {
        self.end(&|task, out| finished(task, None, out))
    }

    /// Marks the task as done and stores results in it: the entries of `fields`, which must serialise as an object.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if the fields are not an object, or give a flag of the task another type; `LeaseLost`, `Full`,
    /// `LockTimeout`, `Reentrant`, `Io`. The task goes back then.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add(12)?;
    /// tracker.claim()?.unwrap().done_with(serde_json::json!({"square": 144}))?;
    /// assert_eq!(tracker.at(12).key("square").get()?, Some(144.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn done_with(mut self, fields: impl Serialize) -> Result<()> {
        Arena::with_kept(|arena| {
            let span = arena.encode(&fields)?;
            self.end(&|task, out| finished(task, Some(arena.get(span.clone())), out))
        })
    }

    /// Marks the task as done, in one commit with everything that the closure does. So results and child tasks are stored together.
    ///
    /// # Errors
    /// The closure's; `LeaseLost`, `Full`, `LockTimeout`, `Reentrant`, `Io`. Then none of it has happened, and the task goes back.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("parent")?;
    /// let claim = tracker.claim()?.unwrap();
    /// claim.done_and(|t| t.add_many_if_absent(["child 1", "child 2"]))?;
    /// assert_eq!((tracker.num_done(), tracker.len()), (1, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn done_and<R>(mut self, body: impl FnOnce(&TrackerTxn<'_>) -> Result<R>) -> Result<R> {
        self.held.require_same_process()?;
        let tracker = self.tracker.clone();
        // A guard that is rolled back later would take the ending of the claim back.
        tracker.pod().shared.require_not_held()?;
        let record = self.record();
        let key = Hashed::of_encoded(record.key(), record.hash());
        let held = self.held;
        let outcome = tracker.transaction(|t| {
            let target = t.txn.target()?;
            target.require_held(&held)?;
            target.change(&key, |task, out| match task {
                None => Err(Error::new(ErrorKind::LeaseLost, "the task was removed while the claim was held")),
                Some(task) => finished(task, None, out).map(|()| (Outcome::Set, ())),
            })?;
            let result = body(t)?;
            target.end_claim(&key)?;
            Ok(result)
        });
        match &outcome {
            Ok(_) => self.has_ended = true,
            Err(error) if error.kind() == ErrorKind::LeaseLost => self.has_ended = true,
            Err(error) => self.put_back(&error.to_string()),
        }
        outcome
    }

    /// The task failed. It goes back, the try counts, and `error` is stored in `_error`. If the store has a
    /// [`backoff`](crate::Options::backoff), the task waits for that long. Otherwise it goes behind all waiting tasks.
    ///
    /// # Errors
    /// `LeaseLost` if the claim is not held any more; `Full`, `LockTimeout`, `Reentrant`, `Io`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// tracker.claim()?.unwrap().fail("connection refused")?;
    /// assert_eq!(tracker.at("a").key("_error").get()?, Some("connection refused".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(self, error: impl Display) -> Result<Retry> {
        self.end_failed(&error.to_string(), None)
    }

    /// Like [`fail`](Claim::fail), and stores the entries of `fields` in the task, in the same commit. `fields` must serialise as an object.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if the fields are not an object, or give a flag of the task another type; `LeaseLost`, `Full`,
    /// `LockTimeout`, `Reentrant`, `Io`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// tracker.claim()?.unwrap().fail_with("exit code 2", serde_json::json!({"exit": 2}))?;
    /// assert_eq!(tracker.at("a").key("exit").get()?, Some(2.into()));
    /// assert_eq!(tracker.at("a").key("_error").get()?, Some("exit code 2".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail_with(self, error: impl Display, fields: impl Serialize) -> Result<Retry> {
        let mut arena = Arena::default();
        let span = arena.encode(&fields)?;
        self.end_failed(&error.to_string(), Some(arena.get(span)))
    }

    fn end_failed(mut self, error: &str, fields: Option<Archive<'_>>) -> Result<Retry> {
        let retry = std::cell::Cell::new(Retry::Never);
        let tracker = self.tracker.clone();
        self.end(&|task, out| {
            let stands = Task::of(task.node()).unwrap_or_default();
            let after = tracker.backoff(stands.tries);
            let is_over = stands.is_exhausted(tracker.max_tries()) || stands.done || stands.aborted;
            retry.set(if is_over { Retry::Never } else { after.map_or(Retry::Behind, Retry::After) });
            let not_before = after.filter(|_| !is_over).map(|after| (now_microseconds() + after.as_micros() as u64) as f64 / 1e6);
            let mut changes: smallvec::SmallVec<[Change<'_>; 4]> = fields.map(Change::Merge).into_iter().collect();
            changes.push(Change::Set(field::ERROR, &error));
            match &not_before {
                Some(moment) => changes.push(Change::Set(field::NOT_BEFORE, moment)),
                None => changes.push(Change::Drop(field::NOT_BEFORE)),
            }
            value::change(task, &changes, out)
        })?;
        Ok(retry.get())
    }

    /// Gives the task back unchanged, in its old place. The try does not count.
    ///
    /// # Errors
    /// `LeaseLost` if the claim is not held any more; `Full`, `LockTimeout`, `Reentrant`, `Io`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add_many(["a", "b"])?;
    /// tracker.claim()?.unwrap().release()?;
    /// assert_eq!(tracker.tries("a")?, 0);
    /// assert_eq!(tracker.claim()?.unwrap().key().as_str(), Some("a"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(mut self) -> Result<()> {
        self.end(&release)
    }

    /// Aborts the task: nobody will do it any more. `reason` is stored in `_error`.
    ///
    /// # Errors
    /// `LeaseLost` if the claim is not held any more; `Full`, `LockTimeout`, `Reentrant`, `Io`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// tracker.claim()?.unwrap().abort("gone for good")?;
    /// assert!(tracker.aborted("a")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn abort(mut self, reason: impl Display) -> Result<()> {
        let reason = reason.to_string();
        self.end(&|task, out| value::change(task, &[Change::Set(field::ERROR, &reason), Change::Flag(field::ABORTED, true)], out))
    }

    /// Renews the lease. Without a lease it only checks that the claim is still held.
    ///
    /// # Errors
    /// `LeaseLost` if the claim is not held any more; `LockTimeout`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// let claim = tracker.claim()?.unwrap();
    /// claim.heartbeat()?;
    /// claim.done()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn heartbeat(&self) -> Result<()> {
        self.held.require_same_process()?;
        let pod = self.tracker.pod();
        pod.shared.with_claims(pod.options.writing(), |locked, _| locked.heartbeat(&self.held))
    }

    /// Puts the task back because something went wrong.
    fn put_back(&mut self, why: &str) {
        let outcome = self.end(&|task, out| value::change(task, &[Change::Set(field::ERROR, &why)], out));
        if outcome.is_err() {
            self.tracker.pod().shared.give_up(&self.held);
        }
        self.has_ended = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.has_ended && self.held.require_same_process().is_ok() {
            self.put_back(if std::thread::panicking() { "the worker panicked" } else { "the claim was dropped" });
        }
    }
}

impl Tracker {
    /// How long a task waits after its n-th failure.
    fn backoff(&self, failures: u64) -> Option<Duration> {
        let [first, factor, longest] = &self.pod().shared.control.tasks.backoff;
        let (first, factor, longest) = (first.get(), f64::from_bits(factor.get()), longest.get());
        (first > 0).then(|| {
            let nanoseconds = first as f64 * factor.powi(i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX));
            Duration::from_nanos(if nanoseconds < longest as f64 { nanoseconds as u64 } else { longest })
        })
    }

    pub(super) fn claim_of(&self, held: Held, bytes: Vec<u8>) -> Result<Claim> {
        let key = Record::of(&bytes).and_then(|record| Key::decode(record.key()).ok());
        let key = key.ok_or_else(|| self.pod().shared.integrity(0, "a stored key is malformed"))?;
        Ok(Claim { tracker: self.clone(), held, key, bytes, has_ended: false })
    }

    /// Claims the next task that is to do and that nobody holds. A task with a higher `_priority` comes first, and tasks with the same priority
    /// come in order. The claim counts as a try. `None` if there is no such task now.
    ///
    /// # Errors
    /// `LockTimeout`, `Full`, `ReadOnly`, `Reentrant`; with [`Durability::Disk`](crate::Durability::Disk) `Io` if the claim could not be flushed
    /// to the disk. Then nobody has the task, and it waits as before.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.merge([("late", serde_json::json!({})), ("urgent", serde_json::json!({"_priority": 5}))])?;
    /// let claim = tracker.claim()?.unwrap();
    /// assert_eq!(claim.key().as_str(), Some("urgent"));
    /// claim.done()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim(&self) -> Result<Option<Claim>> {
        match self.attempt()? {
            Claimed::Task(held, ordinal, bytes) => {
                self.pod().shared.warm_next_tasks(ordinal);
                self.claim_of(held, bytes).map(Some)
            }
            Claimed::Later(_) | Claimed::Finished => Ok(None),
        }
    }

    /// One attempt to claim.
    pub(super) fn attempt(&self) -> Result<Claimed> {
        let pod = self.pod();
        pod.require_writable()?;
        pod.shared.claim_next(pod.options.writing())
    }

    /// Claims up to `count` tasks, in the same order as [`claim`](Tracker::claim).
    ///
    /// # Errors
    /// `LockTimeout`, `Full`, `ReadOnly`, `Reentrant`, `Io`. Then none is claimed.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add_many(0..10)?;
    /// let claims = tracker.claim_many(4)?;
    /// assert_eq!(claims.len(), 4);
    /// for claim in claims {
    ///     claim.done()?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_many(&self, count: usize) -> Result<Vec<Claim>> {
        let pod = self.pod();
        pod.require_writable()?;
        let claims = pod.shared.claim_several(pod.options.writing(), count)?;
        claims.into_iter().map(|(held, bytes)| self.claim_of(held, bytes)).collect()
    }
}
