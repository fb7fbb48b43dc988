//! All reads of one instant.

use crate::error::{Error, ErrorKind, Result};
use crate::key::{AsKey, Key};
use crate::pod::target::Hashed;
use crate::pod::walk::{End, Walk};
use crate::pod::{At, Iter, IterAs, Keys, KeysWithPrefix, Part, Pod, Values, Version};
use crate::store::core::settings::shown;
use crate::store::read::snapshot::Instant;
use crate::value::Archive;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

/// The store at one instant: all reads see the same transactions. Nobody waits for it. Old values that it can see are kept until it is
/// dropped, so the log grows meanwhile.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("k", 1)?;
/// let snapshot = pod.snapshot()?;
/// pod.set("k", 2)?;
/// assert_eq!(snapshot.get("k")?, Some(serde_json::json!(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Snapshot {
    /// Iterators of it keep it.
    pub(crate) instant: Arc<Instant>,
}

impl Pod {
    /// The store as it is now, for many reads.
    ///
    /// # Errors
    /// `Reentrant` inside a transaction, whose writes it would not see; `StoreRemoved` if the directory is gone; `Io` if the snapshot cannot
    /// be registered with the other processes, or if a child made by fork cannot join the store.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert!(pod.snapshot()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.shared.require_not_held()?;
        self.shared.require_linked()?;
        Ok(Snapshot { instant: Arc::new(Instant::take(Arc::clone(&self.shared))?) })
    }
}

impl Snapshot {
    fn read<R>(&self, key: &(impl AsKey + ?Sized), look: impl FnOnce(Option<Archive<'_>>) -> Result<R>) -> Result<R> {
        let key = Hashed::new(key, self.instant.shared()?.header.seed)?;
        self.read_hashed(&key, look)
    }

    pub(crate) fn read_hashed<R>(&self, key: &Hashed, look: impl FnOnce(Option<Archive<'_>>) -> Result<R>) -> Result<R> {
        let found = self.instant.shared()?.get_at(self.instant.counters().sequence, key.hash, &key.key);
        found.and_then(|record| look(record.as_ref().map(Archive::of))).map_err(|error| key.name(error))
    }

    /// The value of a key at this instant.
    ///
    /// # Errors
    /// `InvalidKey`; `InvalidValue` for a number that `Value` would round; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1)?;
    /// assert_eq!(pod.snapshot()?.get("k")?, Some(serde_json::json!(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, key: impl AsKey) -> Result<Option<Value>> {
        self.read(&key, |archive| archive.map(|archive| archive.node().to_value()).transpose())
    }

    /// The value of a key in a type of your own.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if the value is not of that type; `InvalidKey`; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1)?;
    /// assert_eq!(pod.snapshot()?.get_as::<u8>("k")?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_as<T: DeserializeOwned>(&self, key: impl AsKey) -> Result<Option<T>> {
        self.read(&key, |archive| archive.map(|archive| archive.node().read()).transpose())
    }

    /// The value of a key as JSON text. Numbers have all their digits.
    ///
    /// # Errors
    /// `InvalidKey`; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [0.5])?;
    /// assert_eq!(pod.snapshot()?.raw_json("k")?.as_deref(), Some("[0.5]"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn raw_json(&self, key: impl AsKey) -> Result<Option<String>> {
        self.read(&key, |archive| Ok(archive.map(|archive| Part::new(archive).to_string())))
    }

    /// The value of a key, borrowed in place: nothing is parsed or copied.
    ///
    /// # Errors
    /// `InvalidKey`; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"tags": ["x", "y"]}))?;
    /// let snapshot = pod.snapshot()?;
    /// let value = snapshot.view("k")?.unwrap();
    /// assert_eq!(value.pointer("/tags/1").and_then(|tag| tag.as_str()), Some("y"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn view(&self, key: impl AsKey) -> Result<Option<Part<'_>>> {
        let shared = self.instant.shared()?;
        let key = Hashed::new(&key, shared.header.seed)?;
        let record = shared.get_at(self.instant.counters().sequence, key.hash, &key.key)?;
        Ok(record.map(|record| Part::new(Archive::of(&record))))
    }

    /// A path into the value of a key, which reads one part of it.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", tastypod::json!({"tags": ["x", "y"]}))?;
    /// let snapshot = pod.snapshot()?;
    /// pod.clear()?;
    /// assert_eq!(snapshot.at("k").key("tags").index(-1).get_as::<String>()?.as_deref(), Some("y"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at(&self, key: impl AsKey) -> At<'_, Snapshot> {
        At::new(self, &key)
    }

    /// Whether a key was there.
    ///
    /// # Errors
    /// `InvalidKey`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert!(!pod.snapshot()?.contains_key("k")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contains_key(&self, key: impl AsKey) -> Result<bool> {
        self.read(&key, |archive| Ok(archive.is_some()))
    }

    /// How many keys there were.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert_eq!(pod.snapshot()?.len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        self.instant.counters().length as usize
    }

    /// Whether there was no key.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert!(pod.snapshot()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the newest transaction that it sees.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert_eq!(pod.snapshot()?.version(), pod.version());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn version(&self) -> Version {
        Version(self.instant.counters().sequence)
    }

    /// All entries in insertion order, borrowed in place: nothing is parsed or copied.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// let mut sum = 0;
    /// for entry in pod.snapshot()?.entries() {
    ///     let (_key, value) = entry?;
    ///     sum += value.as_i64().unwrap();
    /// }
    /// assert_eq!(sum, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn entries(&self) -> Entries<'_> {
        Entries { snapshot: self, walk: Walk::through(&self.instant) }
    }

    /// All entries in insertion order, as owned keys and values.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// let snapshot = pod.snapshot()?;
    /// pod.clear()?;
    /// for entry in &snapshot {
    ///     let (key, value) = entry?;
    ///     println!("{key}: {value}");
    /// }
    /// assert_eq!(snapshot.iter().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter {
        Iter::new(Arc::clone(&self.instant))
    }

    /// All entries in insertion order, with values in a type of your own. An entry that is not of that type is an error, and the loop
    /// continues after it.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// let entries: Vec<(tastypod::Key, u8)> = pod.snapshot()?.iter_as().collect::<tastypod::Result<_>>()?;
    /// assert_eq!(entries[1], ("b".into(), 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter_as<T: DeserializeOwned>(&self) -> IterAs<T> {
        IterAs::of(self.iter())
    }

    /// All keys in insertion order.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("b", 1), ("a", 2)])?;
    /// let keys: Vec<tastypod::Key> = pod.snapshot()?.keys().collect::<tastypod::Result<_>>()?;
    /// assert_eq!(keys, ["b", "a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self) -> Keys {
        Keys::of(self.iter())
    }

    /// The keys that begin with a prefix, as [`Pod::keys_with_prefix`](crate::Pod::keys_with_prefix). It looks at all keys.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("page/1", 1), ("user/1", 2)])?;
    /// assert_eq!(pod.snapshot()?.keys_with_prefix("page/").next().unwrap()?, "page/1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys_with_prefix(&self, prefix: impl AsKey) -> KeysWithPrefix {
        KeysWithPrefix::of(self.keys(), prefix)
    }

    /// The first entry in order.
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("b", 1), ("a", 2)])?;
    /// assert_eq!(pod.snapshot()?.first()?, Some(("b".into(), 1.into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first(&self) -> Result<Option<(Key, Value)>> {
        self.iter().next().transpose()
    }

    /// The last entry in order.
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("b", 1), ("a", 2)])?;
    /// assert_eq!(pod.snapshot()?.last()?, Some(("a".into(), 2.into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last(&self) -> Result<Option<(Key, Value)>> {
        self.iter().next_back().transpose()
    }

    /// All values in the order of their keys.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("b", 1), ("a", 2)])?;
    /// let values: Vec<serde_json::Value> = pod.snapshot()?.values().collect::<tastypod::Result<_>>()?;
    /// assert_eq!(values, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn values(&self) -> Values {
        Values::of(self.iter())
    }
}

impl IntoIterator for Snapshot {
    type Item = Result<(Key, Value)>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        Iter::new(self.instant)
    }
}

impl IntoIterator for &Snapshot {
    type Item = Result<(Key, Value)>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version()).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The entries of a [`Snapshot`], borrowed in place: `Result<(Key in place, value)>`.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("a", 1)?;
/// let snapshot = pod.snapshot()?;
/// let (key, value) = snapshot.entries().next().unwrap()?;
/// assert_eq!((key.to_key()?.to_string(), value.as_i64()), ("a".to_owned(), Some(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Entries<'a> {
    snapshot: &'a Snapshot,
    walk: Walk,
}

impl<'a> Entries<'a> {
    #[inline]
    fn next_from(&mut self, from: End) -> Option<Result<(KeyInPlace<'a>, Part<'a>)>> {
        let found = self.walk.step(&self.snapshot.instant, from)?;
        Some(found.map(|(_, record)| (KeyInPlace(record.key()), Part::new(Archive::of(&record)))))
    }
}

/// A stored key in place.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("a", 1)?;
/// let snapshot = pod.snapshot()?;
/// let (key, _) = snapshot.entries().next().unwrap()?;
/// assert_eq!(key.as_str(), Some("a"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct KeyInPlace<'a>(&'a [u8]);

impl<'a> KeyInPlace<'a> {
    /// The text, if the key is one.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set(1, 1)?;
    /// assert_eq!(pod.snapshot()?.entries().next().unwrap()?.0.as_str(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_str(self) -> Option<&'a str> {
        crate::key::text_of(self.0)
    }

    /// The number, if the key is one.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set(7, 1)?;
    /// assert_eq!(pod.snapshot()?.entries().next().unwrap()?.0.as_i64(), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_i64(self) -> Option<i64> {
        crate::key::integer_of(self.0)
    }

    /// The key as an owned value.
    ///
    /// # Errors
    /// `InvalidKey` if the stored bytes are not a key.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set((1, "x"), 1)?;
    /// assert_eq!(pod.snapshot()?.entries().next().unwrap()?.0.to_key()?.to_string(), r#"[1,"x"]"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_key(self) -> Result<Key> {
        Key::decode(self.0)
            .map_err(|what| Error::new(ErrorKind::InvalidKey, format!("a stored key is malformed: {what}; verify() the store")))
    }
}

/// As [`Key`] is shown: a string bare, an integer in digits, a tuple as a JSON array.
impl fmt::Display for KeyInPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => f.pad(text),
            None => f.write_str(&shown(self.0)),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(KeyInPlace<'a>, Part<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_from(End::Front)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.walk.left(&self.snapshot.instant);
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_from(End::Back)
    }
}

impl ExactSizeIterator for Entries<'_> {}
impl FusedIterator for Entries<'_> {}
