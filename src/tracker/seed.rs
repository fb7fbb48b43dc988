//! The calls on single tasks that tastypy has, with its meanings, each one atomic step.

use crate::error::{Error, ErrorKind, Result};
use crate::key::{AsKey, Key};
use crate::log::batch::Batch;
use crate::log::record::{Kind, Standing};
use crate::pod::{Hashed, Target};
use crate::store::core::settings::shown;
use crate::store::write::transaction::Change as Outcome;
use crate::tracker::{Tracker, TrackerTxn};
use crate::value::{self, Archive, Arena, Change, Task, field};
use serde::Serialize;

/// A task that was never tried.
#[derive(Serialize)]
pub(crate) struct Fresh {
    #[serde(rename = "_tries")]
    tries: u64,
    #[serde(rename = "_done")]
    done: bool,
    #[serde(rename = "_aborted")]
    aborted: bool,
}

pub(crate) const FRESH: Fresh = Fresh { tries: 0, done: false, aborted: false };

#[cold]
fn absent(key: &Hashed) -> Error {
    Error::new(ErrorKind::KeyNotFound, format!("task {} is absent; add it first", shown(&key.key)))
}

#[cold]
fn duplicate(key: &[u8]) -> Error {
    Error::new(ErrorKind::DuplicateKey, format!("task {} is there already; add_if_absent leaves it as it is", shown(key)))
}

/// A stored value as a task; one that is none is damage, since it is refused when it is written.
pub(super) fn task_of(key: &[u8], value: Archive<'_>) -> Result<Task> {
    Task::of(value.node()).map_err(|what| {
        let message = format!("the stored value of {} is no task: {what}; set it anew, or repair the store", shown(key));
        Error::new(ErrorKind::Integrity { path: std::path::PathBuf::new(), line: 0, what }, message)
    })
}

/// What is asked of a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) max_tries: u64,
    pub(super) aborted_too: bool,
}

impl Rule {
    pub(super) fn allows(self, task: &Task) -> bool {
        !task.done && (self.aborted_too || !task.aborted) && !task.is_exhausted(self.max_tries)
    }
}

impl Target<'_> {
    fn task<R>(&self, key: &(impl AsKey + ?Sized), look: impl FnOnce(Option<Task>) -> R) -> Result<(R, Hashed)> {
        let key = self.hashed(key)?;
        let result = self.read(&key, |value| Ok(look(value.map(|value| task_of(&key.key, value)).transpose()?)))?;
        Ok((result, key))
    }

    /// Something of a task that has to be there.
    fn of_task<R>(&self, key: &(impl AsKey + ?Sized), look: impl FnOnce(Task) -> R) -> Result<R> {
        let (result, key) = self.task(key, |task| task.map(look))?;
        result.ok_or_else(|| absent(&key))
    }

    /// Changes a task that has to be there, where `decide` says how.
    fn change_of_task(&self, key: &(impl AsKey + ?Sized), decide: impl FnOnce(&Task) -> Option<Change<'static>>) -> Result<()> {
        let key = self.hashed(key)?;
        self.change_task(&key, |value, _, out| {
            let value = value.ok_or_else(|| absent(&key))?;
            match decide(&task_of(&key.key, value)?) {
                None => Ok((Outcome::Keep, ())),
                Some(change) => value::change(value, &[change], out).map(|()| (Outcome::Set, ())),
            }
        })
    }

    /// Adds a task; false where it is there.
    fn add_task(&self, key: &Hashed) -> Result<bool> {
        self.change_task(key, |value, _, out| {
            if value.is_some() {
                return Ok((Outcome::Keep, false));
            }
            value::encode(&FRESH, out)?;
            Ok((Outcome::Set, true))
        })
    }

    /// Adds many tasks; how many were absent. One that is there is an error if `only_new`, and nothing is added.
    fn add_tasks<K: AsKey>(&self, keys: impl IntoIterator<Item = K>, only_new: OnlyNew) -> Result<usize> {
        if let Target::Pod(pod) = self {
            pod.require_writable()?;
            let mut batch = Batch::default();
            for key in keys {
                let key = self.hashed(&key)?;
                batch.push(Kind::Set, key.hash, &key.key, false, |out| value::encode(&FRESH, out))?;
            }
            return match only_new {
                OnlyNew::Yes => {
                    let count = batch.records.len();
                    pod.shared.commit_new(pod.options.writing(), &mut batch)?.map_or(Ok(count), |key| Err(duplicate(&key)))
                }
                OnlyNew::No => pod.shared.commit_many(pod.options.writing(), &mut batch, true),
            };
        }
        let keys = keys.into_iter().map(|key| self.hashed(&key)).collect::<Result<Vec<_>>>()?;
        if matches!(only_new, OnlyNew::Yes) {
            let mut seen = std::collections::HashSet::new();
            for key in &keys {
                if self.contains(key)? || !seen.insert(&key.key[..]) {
                    return Err(duplicate(&key.key));
                }
            }
        }
        keys.iter().try_fold(0, |count, key| Ok(count + usize::from(self.add_task(key)?)))
    }

    /// Whether a task may be done; absent ones are added where `adds`.
    pub(super) fn should_do_task(&self, key: &(impl AsKey + ?Sized), rule: Rule, absent_too: Absent) -> Result<bool> {
        if matches!(absent_too, Absent::Add) {
            self.add_task(&self.hashed(key)?)?;
        }
        self.of_task(key, |task| rule.allows(&task))
    }

    /// Counts a try if a task may be tried and nobody works on it. Returns its new value's record of what `look` wants.
    pub(super) fn try_task<R>(
        &self,
        key: &Hashed,
        rule: Rule,
        absent_too: Absent,
        look: impl FnOnce(Archive<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.change_task(key, |value, standing, out| {
            let mut arena = Arena::default();
            let value = match (value, absent_too) {
                (Some(value), _) => value,
                (None, Absent::Add) => {
                    let span = arena.encode(&FRESH)?;
                    arena.get(span)
                }
                (None, Absent::Fail) => return Err(absent(key)),
            };
            if standing.has(Standing::CLAIMED) || !rule.allows(&task_of(&key.key, value)?) {
                return Ok((Outcome::Keep, None));
            }
            let mut after = Arena::default();
            let ((), (), span) = after.append(|out| value::change(value, &[Change::Tries(1)], out).map(|()| ((), ())))?;
            let after = after.get(span);
            out.extend_from_slice(after.as_bytes());
            Ok((Outcome::Set, Some(look(after)?)))
        })
    }

    /// Sets the fields of many objects in tasks, absent ones are added.
    fn merge_tasks<K: AsKey, V: Serialize>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        let mut arena = Arena::default();
        let mut drained = Vec::new();
        for (key, fields) in entries {
            drained.push((self.hashed(&key)?, arena.encode(&fields)?));
        }
        for (key, span) in drained {
            let fields = arena.get(span);
            self.change_task(&key, |value, _, out| {
                let mut fresh = Arena::default();
                let value = match value {
                    Some(value) => value,
                    None => {
                        let span = fresh.encode(&FRESH)?;
                        fresh.get(span)
                    }
                };
                value::change(value, &[Change::Merge(fields)], out).map(|()| (Outcome::Set, ()))
            })?;
        }
        Ok(())
    }
}

/// What becomes of an absent task.
#[derive(Debug, Clone, Copy)]
pub(super) enum Absent {
    Fail,
    Add,
}

/// Whether tasks that are there are an error.
#[derive(Debug, Clone, Copy)]
enum OnlyNew {
    Yes,
    No,
}

impl Tracker {
    pub(super) fn rule(&self) -> Rule {
        Rule { max_tries: self.max_tries(), aborted_too: false }
    }

    /// Frees what dead workers held, if somebody holds anything, so that a look at a task sees it.
    pub(super) fn look_at_holders(&self) -> Result<()> {
        let shared = &self.pod().shared;
        if shared.control.tasks.claims.get() == 0 || shared.is_held_here() || self.pod().require_writable().is_err() {
            return Ok(());
        }
        shared.with_claims(self.pod().options.writing(), |locked, batch| locked.look_at_holders(50_000_000, batch))
    }

    /// Merges objects into tasks, and adds tasks that are absent, in one transaction. This is `update` in tastypy.
    ///
    /// # Errors
    /// `InvalidKey`; `InvalidValue` if a value is not an object, or gives a flag of the task another type; `LockTimeout`, `Full`, `Reentrant`,
    /// `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// tracker.merge([("a", serde_json::json!({"x": 1})), ("b", serde_json::json!({"_done": true}))])?;
    /// assert_eq!(tracker.raw_json("a")?.unwrap(), r#"{"_tries":0,"_done":false,"_aborted":false,"x":1}"#);
    /// assert!(tracker.done("b")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge<K: AsKey, V: Serialize>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        // Drained and serialised before anything is locked.
        let mut arena = Arena::default();
        let mut drained = Vec::new();
        for (key, fields) in entries {
            drained.push((
                Key::decode(&self.pod().target()?.hashed(&key)?.key).map_err(|what| Error::new(ErrorKind::InvalidKey, what))?,
                arena.encode(&fields)?,
            ));
        }
        self.transaction(|t| t.merge(drained.iter().map(|(key, span)| (key, arena.get(span.clone()).node()))))
    }
}

impl TrackerTxn<'_> {
    fn target(&self) -> Result<Target<'_>> {
        self.txn.target()
    }

    fn rule(&self) -> Rule {
        Rule { max_tries: self.max_tries, aborted_too: false }
    }

    #[allow(clippy::unnecessary_wraps)]
    fn look_at_holders(&self) -> Result<()> {
        Ok(())
    }

    /// Like [`Tracker::merge`].
    ///
    /// # Errors
    /// `InvalidKey`; `InvalidValue` if a value is not an object, or gives a flag of the task another type; `Full`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.transaction(|t| t.merge([("a", serde_json::json!({"x": 1}))]))?;
    /// assert!(tracker.contains_key("a")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge<K: AsKey, V: Serialize>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        self.target()?.merge_tasks(entries)
    }
}

macro_rules! example {
    ($item:item $($line:literal),*; $doc:literal $errors:literal) => {
        #[doc = $doc]
        ///
        /// # Errors
        #[doc = $errors]
        ///
        /// ```
        /// let dir = tempfile::tempdir()?;
        /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
        $(#[doc = $line])*
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        $item
    };
}

macro_rules! tasks {
    ($type:ty) => {
        impl $type {
            example! {
                pub fn add(&self, key: impl AsKey) -> Result<()> {
                    let target = self.target()?;
                    let key = target.hashed(&key)?;
                    if target.add_task(&key)? { Ok(()) } else { Err(duplicate(&key.key)) }
                }
                "tracker.add(\"a\")?;", "assert_eq!(tracker.add(\"a\").unwrap_err().kind(), tastypod::ErrorKind::DuplicateKey);";
                "Adds a task. It is not done, not aborted, and has no tries."
                "`DuplicateKey` if there is such a task already; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn add_if_absent(&self, key: impl AsKey) -> Result<bool> {
                    let target = self.target()?;
                    target.add_task(&target.hashed(&key)?)
                }
                "assert!(tracker.add_if_absent(\"a\")?);", "assert!(!tracker.add_if_absent(\"a\")?);";
                "Adds a task if it is absent. Returns whether it was." "`InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn add_many<K: AsKey>(&self, keys: impl IntoIterator<Item = K>) -> Result<()> {
                    self.target()?.add_tasks(keys, OnlyNew::Yes).map(|_| ())
                }
                "tracker.add_many(0..1000)?;", "assert!(tracker.add_many([1000, 0]).is_err());", "assert_eq!(tracker.len(), 1000);";
                "Adds many tasks, all or none. The iterator is read to its end before anything is locked." "`DuplicateKey` if there is one of the tasks already; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn add_many_if_absent<K: AsKey>(&self, keys: impl IntoIterator<Item = K>) -> Result<usize> {
                    self.target()?.add_tasks(keys, OnlyNew::No)
                }
                "tracker.add(1)?;", "assert_eq!(tracker.add_many_if_absent([0, 1, 2])?, 2);";
                "Adds those of many tasks that are absent, in one transaction. Returns how many were." "`InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn mark_done(&self, key: impl AsKey) -> Result<()> {
                    self.target()?.change_of_task(&key, |task| (!task.done).then_some(Change::Flag(field::DONE, true)))
                }
                "tracker.add(\"a\")?;", "tracker.mark_done(\"a\")?;", "assert!(tracker.done(\"a\")?);";
                "Marks a task as done." "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn mark_not_done(&self, key: impl AsKey) -> Result<()> {
                    self.target()?.change_of_task(&key, |task| task.done.then_some(Change::Flag(field::DONE, false)))
                }
                "tracker.add(\"a\")?;", "tracker.mark_done(\"a\")?;", "tracker.mark_not_done(\"a\")?;", "assert_eq!(tracker.num_done(), 0);";
                "Marks a task as not done." "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn increment_tries(&self, key: impl AsKey) -> Result<()> {
                    self.target()?.change_of_task(&key, |_| Some(Change::Tries(1)))
                }
                "tracker.add(\"a\")?;", "tracker.increment_tries(\"a\")?;", "assert_eq!(tracker.tries(\"a\")?, 1);";
                "Counts a try." "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn decrement_tries(&self, key: impl AsKey) -> Result<()> {
                    self.target()?.change_of_task(&key, |task| (task.tries > 0).then_some(Change::Tries(-1)))
                }
                "tracker.add(\"a\")?;", "tracker.decrement_tries(\"a\")?;", "assert_eq!(tracker.tries(\"a\")?, 0);";
                "Takes one try back. Zero tries stay zero." "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn reset_tries(&self, key: impl AsKey) -> Result<()> {
                    self.target()?.change_of_task(&key, |task| (task.tries > 0).then_some(Change::Set(field::TRIES, &0)))
                }
                "tracker.add(\"a\")?;", "tracker.increment_tries(\"a\")?;", "tracker.reset_tries(\"a\")?;", "assert_eq!(tracker.num_tried(), 0);";
                "Forgets all tries." "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn abort(&self, key: impl AsKey) -> Result<()> {
                    self.target()?.change_of_task(&key, |task| (!task.aborted).then_some(Change::Flag(field::ABORTED, true)))
                }
                "tracker.add(\"a\")?;", "tracker.abort(\"a\")?;", "assert!(!tracker.should_do(\"a\")?);";
                "Marks a task as aborted: nobody is to do it." "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn unabort(&self, key: impl AsKey) -> Result<()> {
                    self.target()?.change_of_task(&key, |task| task.aborted.then_some(Change::Flag(field::ABORTED, false)))
                }
                "tracker.add(\"a\")?;", "tracker.abort(\"a\")?;", "tracker.unabort(\"a\")?;", "assert!(!tracker.aborted(\"a\")?);";
                "Marks a task as not aborted." "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn done(&self, key: impl AsKey) -> Result<bool> {
                    self.target()?.task(&key, |task| task.is_some_and(|task| task.done)).map(|(done, _)| done)
                }
                "assert!(!tracker.done(\"absent\")?);";
                "Whether a task is done. `false` if the task is absent." "`InvalidKey`, `Reentrant`, `Integrity`."
            }
            example! {
                pub fn tries(&self, key: impl AsKey) -> Result<u64> {
                    self.target()?.of_task(&key, |task| task.tries)
                }
                "tracker.add(\"a\")?;", "assert_eq!(tracker.tries(\"a\")?, 0);";
                "How often a task was tried." "`KeyNotFound` if the task is absent; `InvalidKey`, `Reentrant`, `Integrity`."
            }
            example! {
                pub fn aborted(&self, key: impl AsKey) -> Result<bool> {
                    self.target()?.of_task(&key, |task| task.aborted)
                }
                "tracker.add(\"a\")?;", "assert!(!tracker.aborted(\"a\")?);";
                "Whether a task is aborted." "`KeyNotFound` if the task is absent; `InvalidKey`, `Reentrant`, `Integrity`."
            }
            example! {
                pub fn should_do(&self, key: impl AsKey) -> Result<bool> {
                    self.target()?.should_do_task(&key, self.rule(), Absent::Fail)
                }
                "tracker.add(\"a\")?;", "assert!(tracker.should_do(\"a\")?);";
                "Whether a task is still to be done: it is not done, not aborted, and has tries left. It always has if `max_tries` is 0." "`KeyNotFound` if the task is absent; `InvalidKey`, `Reentrant`, `Integrity`."
            }
            example! {
                pub fn should_do_add(&self, key: impl AsKey) -> Result<bool> {
                    self.target()?.should_do_task(&key, self.rule(), Absent::Add)
                }
                "assert!(tracker.should_do_add(\"new\")?);";
                "Whether a task is still to be done, as `should_do` says. An absent task is added first." "`InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn should_try(&self, key: impl AsKey) -> Result<bool> {
                    self.look_at_holders()?;
                    let target = self.target()?;
                    Ok(target.try_task(&target.hashed(&key)?, self.rule(), Absent::Fail, |_| Ok(()))?.is_some())
                }
                "tracker.add(\"a\")?;", "assert!(tracker.should_try(\"a\")?);", "assert_eq!(tracker.tries(\"a\")?, 1);";
                "Whether a task is still to be done, as `should_do` says. If so, a try is counted in the same step. `false` while a worker has a claim on the task." "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
            example! {
                pub fn should_try_add(&self, key: impl AsKey) -> Result<bool> {
                    self.look_at_holders()?;
                    let target = self.target()?;
                    Ok(target.try_task(&target.hashed(&key)?, self.rule(), Absent::Add, |_| Ok(()))?.is_some())
                }
                "assert!(tracker.should_try_add(\"new\")?);", "assert_eq!(tracker.tries(\"new\")?, 1);";
                "Whether a task is still to be done, and counts a try, as `should_try` does. An absent task is added first." "`InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`."
            }
        }
    };
}

tasks!(Tracker);
tasks!(TrackerTxn<'_>);
