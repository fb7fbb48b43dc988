//! Pods that become trackers.

use crate::error::{Error, ErrorKind, Result};
use crate::pod::Pod;
use crate::store::core::settings::shown;
use crate::tracker::Tracker;
use crate::tracker::seed::FRESH;
use crate::value::{self, Archive, Arena, Task, field};
use serde_json::Value;

/// Appends the task that a value becomes; false where it is one with all flags.
fn convert(key: &[u8], value: Archive<'_>, out: &mut Vec<u8>) -> Result<bool> {
    let node = value.node();
    let mut arena = Arena::default();
    if !node.is_object() {
        let fresh = arena.encode(&FRESH)?;
        let fields = arena.get(fresh);
        let mut wrapped = Arena::default();
        let wrapped_value = wrapped.encode(&std::collections::BTreeMap::from([("val", node)]))?;
        value::change(fields, &[value::Change::Merge(wrapped.get(wrapped_value))], out)?;
        return Ok(true);
    }
    let task = Task::of(node).map_err(|why| {
        Error::new(ErrorKind::InvalidValue, format!("the value for {} cannot become a task: {why}; nothing was changed", shown(key)))
    })?;
    let flags = [(field::TRIES, Value::from(task.tries)), (field::DONE, task.done.into()), (field::ABORTED, task.aborted.into())];
    let missing: serde_json::Map<String, Value> = flags
        .into_iter()
        .filter(|(name, _)| node.get(name).is_none_or(|flag| flag.is_null()))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    if missing.is_empty() {
        return Ok(false);
    }
    let span = arena.encode(&missing)?;
    value::change(value, &[value::Change::Merge(arena.get(span))], out)?;
    Ok(true)
}

impl Pod {
    /// Turns the store into a tracker, in one transaction, for all processes that have it open. An object gets the flags that it lacks. Any
    /// other value becomes `{"_tries":0,"_done":false,"_aborted":false,"val":…}`. A tracker stays as it is.
    ///
    /// # Errors
    /// `InvalidValue` for an object with flags of other types; `Conflict` through an isolated handle; `LockTimeout`, `Full`, `ReadOnly`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("number", 7)?;
    /// let tracker = pod.convert_to_tracker()?;
    /// assert_eq!(tracker.raw_json("number")?.unwrap(), r#"{"_tries":0,"_done":false,"_aborted":false,"val":7}"#);
    /// assert!(pod.set("number", 8).is_err(), "not a task");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn convert_to_tracker(&self) -> Result<Tracker> {
        self.require_writable()?;
        self.require_shared("make the store a tracker")?;
        self.shared.become_tracker(self.options.writing(), convert)?;
        Tracker::of(self.clone())
    }
}
