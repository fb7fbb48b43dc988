//! A pod seen as a map of one type of keys and one of values.

use crate::error::{Error, ErrorKind, Result};
use crate::key::{AsKey, Key};
use crate::pod::{IterAs, Pod};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

/// A pod as a map from `K` to `V`. It is a view: the pod itself, and other processes, may hold and write other types. A value that is not
/// a `V` is an error where it is read.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Page { status: u16 }
///
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// let pages = pod.typed::<String, Page>();
/// pages.insert("/".to_owned(), Page { status: 200 })?;
/// pages.update("/", |page| page.status = 404)?;
/// assert_eq!(pages.get("/")?, Some(Page { status: 404 }));
/// for entry in &pages {
///     let (path, page) = entry?;
///     println!("{path}: {}", page.status);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Typed<K, V> {
    pod: Pod,
    _types: PhantomData<fn() -> (K, V)>,
}

impl Pod {
    /// The pod as a map from `K` to `V`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// let scores = pod.typed::<(String, i64), f64>();
    /// scores.insert(("ada".to_owned(), 1), 0.5)?;
    /// assert_eq!(scores.get(&("ada".to_owned(), 1))?, Some(0.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn typed<K: AsKey, V: Serialize + DeserializeOwned>(&self) -> Typed<K, V> {
        Typed { pod: self.clone(), _types: PhantomData }
    }
}

impl<K: AsKey, V: Serialize + DeserializeOwned> Typed<K, V> {
    /// The value of a key.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if the value is not a `V`; `InvalidKey`; `Reentrant`; `Integrity`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let numbers = tastypod::Pod::open(dir.path().join("a.pod"))?.typed::<i64, i64>();
    /// assert_eq!(numbers.get(&7)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<Q: AsKey + ?Sized>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        self.pod.get_as(key)
    }

    /// Inserts or replaces a value, and returns the old one.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if the old value is not a `V`: then nothing is changed. `InvalidKey`, `Full`, `LockTimeout`,
    /// `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let numbers = tastypod::Pod::open(dir.path().join("a.pod"))?.typed::<i64, i64>();
    /// assert_eq!(numbers.insert(7, 1)?, None);
    /// assert_eq!(numbers.insert(7, 2)?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>> {
        self.pod.insert_as(key, value)
    }

    /// Removes a key and returns its value.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if the value is not a `V`: then it stays. `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let numbers = tastypod::Pod::open(dir.path().join("a.pod"))?.typed::<i64, i64>();
    /// numbers.insert(7, 1)?;
    /// assert_eq!(numbers.remove(&7)?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove<Q: AsKey + ?Sized>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        self.pod.remove_as(key)
    }

    /// Sets many keys in one transaction. If a key comes twice, the later entry wins. The iterator is read to its end before anything is locked.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let squares = tastypod::Pod::open(dir.path().join("a.pod"))?.typed::<i64, i64>();
    /// squares.extend((0..100).map(|n| (n, n * n)))?;
    /// assert_eq!(squares.get(&9)?, Some(81));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        self.pod.extend(entries)
    }

    /// Changes a value with a closure. The closure runs exactly once, under the store's lock: other writers wait for it.
    ///
    /// # Errors
    /// `KeyNotFound` if the key is absent; `InvalidValue` or `TypeMismatch` if the value is not a `V`; `InvalidKey`, `Full`, `LockTimeout`,
    /// `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let lists = tastypod::Pod::open(dir.path().join("a.pod"))?.typed::<String, Vec<i64>>();
    /// lists.insert("k".to_owned(), vec![1])?;
    /// lists.update("k", |list| list.push(2))?;
    /// assert_eq!(lists.get("k")?, Some(vec![1, 2]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update<Q: AsKey + ?Sized, R>(&self, key: &Q, update: impl FnOnce(&mut V) -> R) -> Result<R>
    where
        K: Borrow<Q>,
    {
        self.pod.update_as(key, update)
    }

    /// Whether a key exists.
    ///
    /// # Errors
    /// `InvalidKey`; `Reentrant`; `Integrity`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let numbers = tastypod::Pod::open(dir.path().join("a.pod"))?.typed::<i64, i64>();
    /// assert!(!numbers.contains_key(&7)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contains_key<Q: AsKey + ?Sized>(&self, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
    {
        self.pod.contains_key(key)
    }

    /// The number of keys in the pod.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let numbers = tastypod::Pod::open(dir.path().join("a.pod"))?.typed::<i64, i64>();
    /// assert_eq!(numbers.len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        self.pod.len()
    }

    /// Whether the pod has no keys.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let numbers = tastypod::Pod::open(dir.path().join("a.pod"))?.typed::<i64, i64>();
    /// assert!(numbers.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.pod.is_empty()
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Typed<K, V> {
    /// All entries of one instant, in insertion order. An entry with a key that is not a `K` is `InvalidKey`, one with a value that is not a
    /// `V` is `InvalidValue` or `TypeMismatch`. The loop continues after it.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("b", 1), ("a", 2)])?;
    /// let entries: Vec<(String, i64)> = pod.typed().iter().collect::<tastypod::Result<_>>()?;
    /// assert_eq!(entries, [("b".to_owned(), 1), ("a".to_owned(), 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> TypedIter<K, V> {
        TypedIter { entries: self.pod.iter_as(), _key: PhantomData }
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> IntoIterator for &Typed<K, V> {
    type Item = Result<(K, V)>;
    type IntoIter = TypedIter<K, V>;

    fn into_iter(self) -> TypedIter<K, V> {
        self.iter()
    }
}

impl<K, V> Clone for Typed<K, V> {
    fn clone(&self) -> Self {
        Typed { pod: self.pod.clone(), _types: PhantomData }
    }
}

impl<K, V> fmt::Debug for Typed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&self.pod).finish()
    }
}

/// The entries of [`Typed::iter`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// assert!(pod.typed::<String, i64>().iter().next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TypedIter<K, V> {
    entries: IterAs<V>,
    _key: PhantomData<fn() -> K>,
}

fn typed<K: DeserializeOwned, V>((key, value): (Key, V)) -> Result<(K, V)> {
    let read = serde_json::to_value(&key).and_then(serde_json::from_value);
    let key = read.map_err(|error| Error::new(ErrorKind::InvalidKey, format!("key {key} is not of the wanted type: {error}")))?;
    Ok((key, value))
}

impl<K: DeserializeOwned, V: DeserializeOwned> Iterator for TypedIter<K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(|entry| entry.and_then(typed))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> DoubleEndedIterator for TypedIter<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back().map(|entry| entry.and_then(typed))
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> ExactSizeIterator for TypedIter<K, V> {}
impl<K: DeserializeOwned, V: DeserializeOwned> FusedIterator for TypedIter<K, V> {}
