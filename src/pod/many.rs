//! Calls on more than one key: the first and the last, many at once, and those of which something is true.

use crate::error::{Error, ErrorKind, Result};
use crate::key::{AsKey, Key};
use crate::pod::calls::absent;
use crate::pod::target::{Hashed, Target};
use crate::pod::transaction::{added, stored, visit};
use crate::pod::{Pod, Txn};
use crate::store::write::transaction::Change;
use crate::value::{Archive, Arena, Node};
use serde_json::Value;
use std::ops::ControlFlow;

/// An entry, with what is wrong with its value said of its key.
fn entry(key: &[u8], archive: Archive<'_>, read: impl FnOnce(Node<'_>) -> Result<Value>) -> Result<(Key, Value)> {
    let hashed = || Hashed::of_encoded(key, 0);
    let decoded = Key::decode(key).map_err(|what| crate::Error::new(crate::ErrorKind::InvalidKey, what))?;
    Ok((decoded, read(archive.node()).map_err(|error| hashed().name(error))?))
}

impl Txn {
    /// The first entry in order.
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(pod.transaction(|txn| txn.first())?.unwrap().0, "a");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first(&self) -> Result<Option<(Key, Value)>> {
        self.first_as(|node| node.to_value())
    }

    fn first_as(&self, read: impl Fn(Node<'_>) -> Result<Value>) -> Result<Option<(Key, Value)>> {
        let mut first = None;
        visit(&self.target()?, |key, archive| {
            first = Some(entry(key, archive, &read)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }

    /// The last entry in order.
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(pod.transaction(|txn| txn.last())?.unwrap().0, "b");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last(&self) -> Result<Option<(Key, Value)>> {
        let read = |key: &[u8], archive: Archive<'_>| entry(key, archive, |node| node.to_value());
        let last = self.target()?.in_hand(|transaction| {
            if let Some((key, archive)) = added(transaction).pop() {
                return read(key, archive).map(Some);
            }
            let last = stored(transaction)?.rev().find_map(Result::transpose);
            last.map(|found| found.and_then(|(key, archive)| read(key, archive))).transpose()
        });
        last.unwrap_or(Ok(None))
    }

    /// Removes and returns the first entry in order. Numbers in it are as [`remove`](Txn::remove) returns them.
    ///
    /// # Errors
    /// `Full`, `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// pod.transaction(|txn| {
    ///     txn.pop_first()?;
    ///     txn.pop_first()
    /// })?;
    /// assert!(pod.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pop_first(&self) -> Result<Option<(Key, Value)>> {
        let first = self.first_as(|node| node.to_nearest_value())?;
        if let Some((key, _)) = &first {
            self.remove(key)?;
        }
        Ok(first)
    }

    /// Removes the entries for which `keep` returns false, and returns how many. The closure sees numbers as [`remove`](Txn::remove) returns
    /// them.
    ///
    /// # Errors
    /// `Full`, `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(pod.transaction(|txn| txn.retain(|key, _value| key != "a"))?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&Key, &Value) -> bool) -> Result<usize> {
        let mut removed = Vec::new();
        visit(&self.target()?, |key, archive| {
            let (key, value) = entry(key, archive, |node| node.to_nearest_value())?;
            if !keep(&key, &value) {
                removed.push(key);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        removed.iter().try_for_each(|key| self.remove(key).map(drop))?;
        Ok(removed.len())
    }

    /// Gives the value of one key to another key, which goes last in order.
    ///
    /// # Errors
    /// `KeyNotFound` if `old` is absent; `DuplicateKey` if `new` exists; `InvalidKey`, `Full`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// pod.transaction(|txn| txn.rename("a", "c"))?;
    /// assert_eq!(pod.keys().collect::<tastypod::Result<Vec<_>>>()?, ["b", "c"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rename(&self, old: impl AsKey, new: impl AsKey) -> Result<()> {
        let target = self.target()?;
        let (from, to) = (target.hashed(&old)?, target.hashed(&new)?);
        let mut arena = Arena::default();
        let span = target.read(&from, |archive| Ok(archive.map(|archive| arena.push(archive))))?.ok_or_else(|| from.name(absent()))?;
        if *from.key == *to.key {
            return Ok(());
        }
        if target.contains(&to)? {
            return Err(to.name(Error::new(ErrorKind::DuplicateKey, "it exists already; remove it first, or choose another new key")));
        }
        target.change(&from, |_, _| Ok((Change::Remove, ())))?;
        target.change(&to, |_, out| {
            out.extend_from_slice(arena.get(span).as_bytes());
            Ok((Change::Set, ()))
        })
    }

    /// Removes all entries and returns them, in order. Numbers in them are as [`remove`](Txn::remove) returns them.
    ///
    /// # Errors
    /// `Full`, `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// let drained = pod.transaction(|txn| txn.drain())?;
    /// assert_eq!(drained, [("a".into(), 1.into()), ("b".into(), 2.into())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&self) -> Result<Vec<(Key, Value)>> {
        let mut entries = Vec::new();
        visit(&self.target()?, |key, archive| {
            entries.push(entry(key, archive, |node| node.to_nearest_value())?);
            Ok(ControlFlow::Continue(()))
        })?;
        self.clear()?;
        Ok(entries)
    }

    /// The values of many keys.
    ///
    /// # Errors
    /// The first error of a key: `InvalidKey`; `InvalidValue` for a number that `Value` would round; `Integrity`; `Closed` in a child made by
    /// a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// assert_eq!(pod.transaction(|txn| txn.get_many(["a", "b"]))?, [Some(1.into()), None]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many<K: AsKey>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Value>>> {
        get_many(keys, |key| self.get(key))
    }
}

fn get_many<K: AsKey>(keys: impl IntoIterator<Item = K>, get: impl Fn(&K) -> Result<Option<Value>>) -> Result<Vec<Option<Value>>> {
    keys.into_iter().map(|key| get(&key)).collect()
}

impl Pod {
    /// The first entry in order: the oldest one.
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round; `Integrity`; `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert_eq!(pod.first()?, None);
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(pod.first()?, Some(("a".into(), 1.into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first(&self) -> Result<Option<(Key, Value)>> {
        match self.target()? {
            Target::Pod(_) => self.iter().next().transpose(),
            Target::InHand(..) => self.transaction(Txn::first),
        }
    }

    /// The last entry in order: the newest one.
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round; `Integrity`; `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(pod.last()?, Some(("b".into(), 2.into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last(&self) -> Result<Option<(Key, Value)>> {
        match self.target()? {
            Target::Pod(_) => self.snapshot()?.last(),
            Target::InHand(..) => self.transaction(Txn::last),
        }
    }

    /// Removes and returns the first entry in order, in one atomic step. So a pod is a queue from which several processes can take. If a
    /// process dies afterwards, the entry is gone; a [`Tracker`](crate::Tracker) gives it to another worker.
    ///
    /// # Errors
    /// `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`, `Integrity`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// while let Some((key, value)) = pod.pop_first()? {
    ///     println!("{key}: {value}");
    /// }
    /// assert!(pod.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pop_first(&self) -> Result<Option<(Key, Value)>> {
        self.transaction(Txn::pop_first)
    }

    /// Removes the entries for which `keep` returns false, in one transaction, and returns how many. The closure runs under the store's
    /// lock, and sees numbers as [`remove`](Pod::remove) returns them.
    ///
    /// # Errors
    /// `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`, `Integrity`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2), ("c", 3)])?;
    /// assert_eq!(pod.retain(|_key, value| value != 2)?, 1);
    /// assert_eq!(pod.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain(&self, keep: impl FnMut(&Key, &Value) -> bool) -> Result<usize> {
        self.transaction(|txn| txn.retain(keep))
    }

    /// Gives the value of one key to another key, which goes last in order, in one atomic step.
    ///
    /// # Errors
    /// `KeyNotFound` if `old` is absent; `DuplicateKey` if `new` exists; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("draft", "text")?;
    /// pod.rename("draft", "final")?;
    /// assert_eq!(pod.get("final")?, Some("text".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rename(&self, old: impl AsKey, new: impl AsKey) -> Result<()> {
        self.transaction(|txn| txn.rename(old, new))
    }

    /// Removes all entries and returns them, in order and in one transaction. Numbers in them are as [`remove`](Pod::remove) returns them.
    ///
    /// # Errors
    /// `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`, `Integrity`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(pod.drain()?, [("a".into(), 1.into()), ("b".into(), 2.into())]);
    /// assert!(pod.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&self) -> Result<Vec<(Key, Value)>> {
        self.transaction(Txn::drain)
    }

    /// The entry with this index in the order, from 0. `None` if there are not so many. It goes through all entries before it.
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round; `Integrity`; `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(pod.get_index(1)?, Some(("b".into(), 2.into())));
    /// assert_eq!(pod.get_index(2)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_index(&self, index: usize) -> Result<Option<(Key, Value)>> {
        self.iter().nth(index).transpose()
    }

    /// The values of many keys, all of one instant.
    ///
    /// # Errors
    /// The first error of a key: `InvalidKey`; `InvalidValue` for a number that `Value` would round; `Integrity`; `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// assert_eq!(pod.get_many(["b", "c", "a"])?, [Some(2.into()), None, Some(1.into())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many<K: AsKey>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Value>>> {
        match self.target()? {
            Target::Pod(_) => {
                let snapshot = self.snapshot()?;
                get_many(keys, |key| snapshot.get(key))
            }
            Target::InHand(..) => get_many(keys, |key| self.get(key)),
        }
    }
}
