//! Loops over tasks as they are when their turn comes.

use crate::error::{ErrorKind, Result};
use crate::index::bits::Set;
use crate::key::{AsKey, Key};
use crate::log::record::Record;
use crate::pod::Hashed;
use crate::store::core::settings::shown;
use crate::store::core::shared::Shared;
use crate::store::read::snapshot::Loop;
use crate::tracker::Tracker;
use crate::tracker::seed::{Absent, Rule, task_of};
use crate::value::Archive;
use serde_json::Value;
use std::sync::Arc;

/// Which tasks a loop is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Todo,
    Try,
    Aborted,
}

/// A place in the order, from which on tasks are looked for. What is finished is passed by without a look.
#[derive(Debug)]
struct Cursor {
    tracker: Tracker,
    which: Which,
    aborted_too: bool,
    /// Begun at the first step; why it could not be, said once.
    place: Option<Loop>,
    is_failed: bool,
}

impl Cursor {
    fn rule(&self) -> Rule {
        Rule { aborted_too: self.aborted_too, ..self.tracker.rule() }
    }

    fn step<R>(&mut self, read: impl Fn(&[u8], Archive<'_>) -> Result<R>) -> Option<Result<R>> {
        if self.is_failed {
            return None;
        }
        let before = self.place.as_ref().map(|place| place.next);
        let result = self.try_step(read).transpose();
        // Behind a task that cannot be read it goes on.
        let is_past = |place: &Loop| before != Some(place.next);
        let is_bad_task = |kind: &ErrorKind| {
            matches!(kind, ErrorKind::InvalidValue | ErrorKind::TypeMismatch { .. } | ErrorKind::Integrity { .. })
                && self.place.as_ref().is_some_and(is_past)
        };
        self.is_failed = matches!(&result, Some(Err(error)) if !is_bad_task(&error.kind()));
        result
    }

    fn try_step<R>(&mut self, read: impl Fn(&[u8], Archive<'_>) -> Result<R>) -> Result<Option<R>> {
        self.tracker.pod().shared.require_not_held()?;
        if self.place.is_none() {
            if self.which == Which::Try {
                self.tracker.look_at_holders()?;
            }
            self.place = Some(Loop::begin(Arc::clone(&self.tracker.pod().shared))?);
        }
        let (rule, which, aborted_too) = (self.rule(), self.which, self.aborted_too);
        let Some(place) = &mut self.place else { return Ok(None) };
        let member = |shared: &Shared, from: u64| {
            let bits = shared.bits()?;
            Ok(match which {
                Which::Aborted => bits.next(Set::Aborted, from),
                _ if aborted_too => bits.next(Set::Todo, from).into_iter().chain(bits.next(Set::Aborted, from)).min(),
                _ => bits.next(Set::Todo, from),
            })
        };
        if which == Which::Try {
            let target = self.tracker.pod().target()?;
            let key_of = |_: &Shared, record: Record<'_>| Ok(Hashed::of_encoded(record.key(), record.hash()));
            while let Some(key) = place.step_among(member, key_of)? {
                match target.try_task(&key, rule, Absent::Fail, |value| read(&key.key, value)) {
                    Ok(Some(found)) => return Ok(Some(found)),
                    Ok(None) => {}
                    // Removed in between.
                    Err(error) if error.kind() == ErrorKind::KeyNotFound => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(None);
        }
        let look = |_: &Shared, record: Record<'_>| {
            let value = Archive::of(&record);
            let task = task_of(record.key(), value)?;
            let is_wanted = if which == Which::Aborted { task.aborted } else { rule.allows(&task) };
            if is_wanted { read(record.key(), value).map(Some) } else { Ok(None) }
        };
        while let Some(found) = place.step_among(member, look)? {
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn key_of(key: &[u8]) -> Result<Key> {
    Key::decode(key).map_err(|what| crate::Error::new(ErrorKind::InvalidKey, what))
}

/// A value; what is wrong with it names its key.
fn value_of(key: &[u8], value: Archive<'_>) -> Result<Value> {
    value.node().to_value().map_err(|error| error.about(format_args!("key {}", shown(key))))
}

macro_rules! loops {
    ($($(#[$doc:meta])* $name:ident: $item:ty = |$key:ident, $value:ident| $read:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name(Cursor);

            impl Iterator for $name {
                type Item = Result<$item>;

                fn next(&mut self) -> Option<Result<$item>> {
                    self.0.step(|$key, $value| $read)
                }
            }
        )*
    };
}

loops! {
    /// Keys of tasks, each once. Tasks that are added during the loop come too.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add(0)?;
    /// for key in tracker.todo_keys().take(5) {
    ///     tracker.add(key?.as_i64().unwrap() + 1)?;
    /// }
    /// assert_eq!(tracker.len(), 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    TaskKeys: Key = |key, _value| key_of(key);
    /// Keys and values of tasks.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// let (key, value) = tracker.try_items().next().unwrap()?;
    /// assert_eq!((key.as_str(), &value["_tries"]), (Some("a"), &1.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    TaskItems: (Key, Value) = |key, value| Ok((key_of(key)?, value_of(key, value)?));
    /// Values of tasks.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// assert_eq!(tracker.todo_values().next().unwrap()?["_done"], false);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    TaskValues: Value = |key, value| value_of(key, value);
}

/// Loops over tasks and questions about a task, in which aborted tasks can be included. This is tastypy's `allow_aborted=True`.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
/// tracker.add("a")?;
/// tracker.abort("a")?;
/// assert_eq!(tracker.todo().keys().count(), 0);
/// assert_eq!(tracker.todo().include_aborted().keys().count(), 1);
/// assert!(tracker.todo().include_aborted().should_do("a")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Todo {
    tracker: Tracker,
    aborted_too: bool,
}

impl Todo {
    /// Includes aborted tasks.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// assert_eq!(tracker.todo().include_aborted().items().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn include_aborted(mut self) -> Todo {
        self.aborted_too = true;
        self
    }

    fn cursor(&self, which: Which) -> Cursor {
        Cursor { tracker: self.tracker.clone(), which, aborted_too: self.aborted_too, place: None, is_failed: false }
    }

    fn rule(&self) -> Rule {
        Rule { aborted_too: self.aborted_too, ..self.tracker.rule() }
    }
}

macro_rules! endings {
    ($($name:ident $of:ident: $type:ident $which:ident, $what:literal;)*) => {
        impl Todo {
            $(
                #[doc = concat!($what, " See [`Tracker::", stringify!($of), "`].")]
                ///
                /// ```
                /// let dir = tempfile::tempdir()?;
                /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
                /// tracker.add("a")?;
                /// tracker.abort("a")?;
                #[doc = concat!("assert_eq!(tracker.todo().include_aborted().", stringify!($name), "().count(), 1);")]
                /// # Ok::<(), Box<dyn std::error::Error>>(())
                /// ```
                pub fn $name(&self) -> $type {
                    $type(self.cursor(Which::$which))
                }
            )*
        }

        impl Tracker {
            $(
                #[doc = concat!($what, " They come in the order in which they were added, each once. Each is seen as it is when its turn comes. Tasks that are added during the loop come too.")]
                ///
                /// ```
                /// let dir = tempfile::tempdir()?;
                /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
                /// tracker.add_many(["a", "b"])?;
                /// tracker.mark_done("a")?;
                #[doc = concat!("assert_eq!(tracker.", stringify!($of), "().count(), 1);")]
                /// # Ok::<(), Box<dyn std::error::Error>>(())
                /// ```
                pub fn $of(&self) -> $type {
                    self.todo().$name()
                }
            )*
        }
    };
}

endings! {
    keys todo_keys: TaskKeys Todo, "The keys of tasks that are not done, not aborted, and may be tried.";
    items todo_items: TaskItems Todo, "Keys and values of tasks that are not done, not aborted, and may be tried.";
    values todo_values: TaskValues Todo, "The values of tasks that are not done, not aborted, and may be tried.";
    try_keys try_keys: TaskKeys Try, "The keys of tasks to do that nobody holds a claim on; a try is counted for each, in the same step.";
    try_items try_items: TaskItems Try, "Keys and values, after the count, of tasks to do that nobody holds a claim on; a try is counted for each, in the same step.";
    try_values try_values: TaskValues Try, "The values, after the count, of tasks to do that nobody holds a claim on; a try is counted for each, in the same step.";
}

macro_rules! aborted {
    ($($name:ident: $type:ident, $what:literal;)*) => {
        impl Tracker {
            $(
                #[doc = concat!($what, " of aborted tasks, in order. Each is seen as it is when its turn comes.")]
                ///
                /// ```
                /// let dir = tempfile::tempdir()?;
                /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
                /// tracker.add_many(["a", "b"])?;
                /// tracker.abort("b")?;
                #[doc = concat!("assert_eq!(tracker.", stringify!($name), "().count(), 1);")]
                /// # Ok::<(), Box<dyn std::error::Error>>(())
                /// ```
                pub fn $name(&self) -> $type {
                    $type(self.todo().cursor(Which::Aborted))
                }
            )*
        }
    };
}

aborted! {
    aborted_keys: TaskKeys, "The keys";
    aborted_items: TaskItems, "Keys and values";
    aborted_values: TaskValues, "The values";
}

macro_rules! questions {
    ($($name:ident, $errors:literal, $absent:ident;)*) => {
        impl Todo {
            $(
                #[doc = concat!("As [`Tracker::", stringify!($name), "`], with or without aborted tasks.")]
                ///
                /// # Errors
                #[doc = $errors]
                ///
                /// ```
                /// let dir = tempfile::tempdir()?;
                /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
                /// tracker.add("a")?;
                /// tracker.abort("a")?;
                #[doc = concat!("assert!(!tracker.", stringify!($name), "(\"a\")?);")]
                #[doc = concat!("assert!(tracker.todo().include_aborted().", stringify!($name), "(\"a\")?);")]
                /// # Ok::<(), Box<dyn std::error::Error>>(())
                /// ```
                pub fn $name(&self, key: impl AsKey) -> Result<bool> {
                    let target = self.tracker.pod().target()?;
                    questions!(self target key $name $absent)
                }
            )*
        }
    };
    ($self:ident $target:ident $key:ident should_do $absent:ident) => { $target.should_do_task(&$key, $self.rule(), Absent::$absent) };
    ($self:ident $target:ident $key:ident should_do_add $absent:ident) => { $target.should_do_task(&$key, $self.rule(), Absent::$absent) };
    ($self:ident $target:ident $key:ident $name:ident $absent:ident) => {{
        $self.tracker.look_at_holders()?;
        Ok($target.try_task(&$target.hashed(&$key)?, $self.rule(), Absent::$absent, |_| Ok(()))?.is_some())
    }};
}

questions! {
    should_do, "`KeyNotFound` if the task is absent; `InvalidKey`, `Reentrant`, `Integrity`.", Fail;
    should_do_add, "`InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.", Add;
    should_try, "`KeyNotFound` if the task is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.", Fail;
    should_try_add, "`InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.", Add;
}

impl Tracker {
    /// Loops over tasks to do and questions about a task, with or without aborted tasks.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("a")?;
    /// assert_eq!(tracker.todo().try_keys().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn todo(&self) -> Todo {
        Todo { tracker: self.clone(), aborted_too: false }
    }
}
