//! Calls on more than one key: the first and the last, many at once, and those of which something is true.

use crate::error::Result;
use crate::key::{AsKey, Key};
use crate::pod::target::{Hashed, Target};
use crate::pod::transaction::{added, stored, visit};
use crate::pod::{Pod, Txn};
use crate::value::{Archive, Node};
use serde_json::Value;
use std::ops::ControlFlow;

/// An entry, with what is wrong with its value said of its key.
fn entry(key: &[u8], archive: Archive<'_>, read: impl FnOnce(Node<'_>) -> Result<Value>) -> Result<(Key, Value)> {
    let hashed = || Hashed::of_encoded(key, 0);
    let decoded = Key::decode(key).map_err(|what| crate::Error::new(crate::ErrorKind::InvalidKey, what))?;
    Ok((decoded, read(archive.node()).map_err(|error| hashed().name(error))?))
}

impl Txn {
    /// The entry that comes first in order.
    ///
    /// # Errors
    /// As [`get`](Txn::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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

    /// The entry that comes last in order.
    ///
    /// # Errors
    /// As [`get`](Txn::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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

    /// Takes out the entry that comes first in order; numbers in it as with [`remove`](Txn::remove).
    ///
    /// # Errors
    /// As [`remove`](Txn::remove).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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

    /// Removes the entries of which `keep` is false; how many. The closure sees numbers as [`remove`](Txn::remove) returns them.
    ///
    /// # Errors
    /// As [`remove`](Txn::remove).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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

    /// The values of many keys.
    ///
    /// # Errors
    /// As [`get`](Txn::get), for the first key with which something is wrong.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// assert_eq!(pod.transaction(|txn| txn.get_many(["a", "b"]))?, [Some(1.into()), None]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many<K: AsKey>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Value>>> {
        get_many(keys, |key| self.get(key))
    }
}

fn get_many<K: AsKey>(keys: impl IntoIterator<Item = K>, get: impl Fn(&K) -> Result<Option<Value>>) -> Result<Vec<Option<Value>>> {
    let named =
        |key: K| get(&key).map_err(|error| key.to_key().map_or_else(|invalid| invalid, |key| error.about(format_args!("key {key}"))));
    keys.into_iter().map(named).collect()
}

impl Pod {
    /// The entry that comes first in order: that which has been there for longest.
    ///
    /// # Errors
    /// As [`get`](Pod::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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

    /// The entry that comes last in order: that which was added last.
    ///
    /// # Errors
    /// As [`get`](Pod::get).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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

    /// Takes out the entry that comes first in order, in one atomic step: a queue, of which several processes may take. For work that is
    /// to be done even if its worker dies, see [`Tracker`](crate::Tracker).
    ///
    /// # Errors
    /// As [`remove`](Pod::remove).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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

    /// Removes the entries of which `keep` is false, as one transaction; how many. The closure runs under the store's lock, and sees numbers
    /// as [`remove`](Pod::remove) returns them.
    ///
    /// # Errors
    /// As [`remove`](Pod::remove).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2), ("c", 3)])?;
    /// assert_eq!(pod.retain(|_key, value| value != 2)?, 1);
    /// assert_eq!(pod.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain(&self, keep: impl FnMut(&Key, &Value) -> bool) -> Result<usize> {
        self.transaction(|txn| txn.retain(keep))
    }

    /// The values of many keys, of one instant.
    ///
    /// # Errors
    /// As [`get`](Pod::get), for the first key with which something is wrong.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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
