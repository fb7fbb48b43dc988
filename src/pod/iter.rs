//! Iteration in insertion order.

use crate::error::{Error, Result};
use crate::key::{AsKey, Key};
use crate::log::record::Record;
use crate::pod::Pod;
use crate::pod::target::Target;
use crate::pod::transaction::listing;
use crate::pod::walk::{End, Walk};
use crate::store::core::shared::Shared;
use crate::store::read::snapshot::{Instant, Loop};
use crate::value::{Archive, Arena, Node, Span};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;

/// Entries of one instant, in insertion order.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("a", 1)?;
/// for entry in &pod {
///     let (key, value) = entry?;
///     assert_eq!((key.to_string(), value), ("a".to_owned(), serde_json::json!(1)));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Iter {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Instant(Arc<Instant>, Walk),
    /// What a transaction in hand has made of the store, read at the call.
    Read(Arena, std::vec::IntoIter<(Key, Span)>),
    /// Why there is nothing to read: the first and only item.
    Failed(Option<Error>),
}

impl Source {
    fn of(instant: Arc<Instant>) -> Source {
        let walk = Walk::through(&instant);
        Source::Instant(instant, walk)
    }

    fn left(&self) -> usize {
        match self {
            Source::Instant(instant, walk) => walk.left(instant),
            Source::Read(_, entries) => entries.len(),
            Source::Failed(error) => usize::from(error.is_some()),
        }
    }
}

fn key_of(shared: &Shared, record: &Record<'_>) -> Result<Key> {
    Key::decode(record.key()).map_err(|_| shared.integrity(0, "a stored key is malformed"))
}

/// An entry; what is wrong with its value names its key.
fn entry<T>(key: Key, value: Archive<'_>, read: impl FnOnce(Node<'_>) -> Result<T>) -> Result<(Key, T)> {
    match read(value.node()) {
        Ok(value) => Ok((key, value)),
        Err(error) => Err(error.about(format_args!("key {key}"))),
    }
}

pub(crate) fn entry_of<T>(shared: &Shared, record: &Record<'_>, read: impl FnOnce(Node<'_>) -> Result<T>) -> Result<(Key, T)> {
    entry(key_of(shared, record)?, Archive::of(record), read)
}

impl Iter {
    pub(crate) fn new(instant: Arc<Instant>) -> Iter {
        Iter { source: Source::of(instant) }
    }

    /// What a call on `target` sees.
    pub(crate) fn on(target: Result<Target<'_>>) -> Iter {
        let source = target.and_then(|target| match target {
            Target::Pod(pod) => Ok(Source::of(Arc::new(Instant::take(Arc::clone(&pod.shared))?))),
            in_hand => listing(&in_hand).map(|(arena, entries)| Source::Read(arena, entries.into_iter())),
        });
        Iter { source: source.unwrap_or_else(|error| Source::Failed(Some(error))) }
    }

    /// The next entry, of whose value `read` takes what is wanted in place.
    pub(crate) fn next_read<T>(&mut self, read: impl FnOnce(Node<'_>) -> Result<T>) -> Option<Result<(Key, T)>> {
        self.next_as(End::Front, read)
    }

    fn next_as<T>(&mut self, from: End, read: impl FnOnce(Node<'_>) -> Result<T>) -> Option<Result<(Key, T)>> {
        match &mut self.source {
            Source::Instant(instant, walk) => {
                walk.step(instant, from).map(|found| found.and_then(|(shared, record)| entry_of(shared, &record, read)))
            }
            Source::Read(arena, entries) => taken(entries, from).map(|(key, span)| entry(key, arena.get(span), read)),
            Source::Failed(error) => error.take().map(Err),
        }
    }
}

fn taken<T>(entries: &mut impl DoubleEndedIterator<Item = T>, from: End) -> Option<T> {
    if from == End::Front { entries.next() } else { entries.next_back() }
}

impl Iterator for Iter {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_as(End::Front, |node| node.to_value())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.source.left(), Some(self.source.left()))
    }
}

impl ExactSizeIterator for Iter {}
impl FusedIterator for Iter {}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_as(End::Back, |node| node.to_value())
    }
}

/// The keys of [`Pod::keys`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// assert!(pod.keys().next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Keys(Iter);

impl Keys {
    pub(crate) fn of(entries: Iter) -> Keys {
        Keys(entries)
    }

    fn next_from(&mut self, from: End) -> Option<Result<Key>> {
        match &mut self.0.source {
            Source::Instant(instant, walk) => {
                walk.step(instant, from).map(|found| found.and_then(|(shared, record)| key_of(shared, &record)))
            }
            Source::Read(_, entries) => taken(entries, from).map(|(key, _)| Ok(key)),
            Source::Failed(error) => error.take().map(Err),
        }
    }
}

impl Iterator for Keys {
    type Item = Result<Key>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_from(End::Front)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_from(End::Back)
    }
}

impl ExactSizeIterator for Keys {}
impl FusedIterator for Keys {}

/// The keys of [`Pod::keys_with_prefix`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// assert!(pod.keys_with_prefix("page").next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct KeysWithPrefix {
    keys: Keys,
    /// Nothing where it is no key, which is the only item.
    prefix: Option<Key>,
}

impl KeysWithPrefix {
    pub(crate) fn of(keys: Keys, prefix: impl AsKey) -> KeysWithPrefix {
        match prefix.to_key() {
            Ok(prefix) => KeysWithPrefix { keys, prefix: Some(prefix) },
            Err(error) => KeysWithPrefix { keys: Keys(Iter { source: Source::Failed(Some(error)) }), prefix: None },
        }
    }

    fn next_from(&mut self, from: End) -> Option<Result<Key>> {
        loop {
            let key = self.keys.next_from(from)?;
            match (&key, &self.prefix) {
                (Ok(key), Some(prefix)) if !key.starts_with(prefix) => {}
                _ => return Some(key),
            }
        }
    }
}

impl Iterator for KeysWithPrefix {
    type Item = Result<Key>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_from(End::Front)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.keys.size_hint().1)
    }
}

impl DoubleEndedIterator for KeysWithPrefix {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_from(End::Back)
    }
}

impl FusedIterator for KeysWithPrefix {}

/// The values of [`Pod::values`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// assert!(pod.values().next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Values(Iter);

impl Values {
    pub(crate) fn of(entries: Iter) -> Values {
        Values(entries)
    }
}

impl Iterator for Values {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| entry.map(|(_, value)| value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Values {}
impl FusedIterator for Values {}

impl DoubleEndedIterator for Values {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|entry| entry.map(|(_, value)| value))
    }
}

/// The entries of [`Pod::iter_as`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("a", 1)?;
/// assert_eq!(pod.iter_as::<u8>().next().unwrap()?.1, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct IterAs<T> {
    iter: Iter,
    _value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for IterAs<T> {
    type Item = Result<(Key, T)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.iter.next_as(End::Front, |node| node.read())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.iter.size_hint()
    }
}

impl<T: DeserializeOwned> ExactSizeIterator for IterAs<T> {}
impl<T: DeserializeOwned> FusedIterator for IterAs<T> {}

impl<T: DeserializeOwned> DoubleEndedIterator for IterAs<T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.iter.next_as(End::Back, |node| node.read())
    }
}

impl<T> IterAs<T> {
    pub(crate) fn of(iter: Iter) -> IterAs<T> {
        IterAs { iter, _value: PhantomData }
    }
}

/// The entries of [`Pod::iter_live`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set(0, ())?;
/// for (turn, entry) in pod.iter_live().take(5).enumerate() {
///     entry?;
///     pod.set(turn as i64 + 1, ())?;
/// }
/// assert_eq!(pod.len(), 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct IterLive {
    /// Or why it cannot go on, until it said so.
    source: std::result::Result<Loop, Option<Error>>,
}

impl Iterator for IterLive {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        let looped = match &mut self.source {
            Ok(looped) => looped,
            Err(error) => return error.take().map(Err),
        };
        if let Err(error) = looped.shared.require_not_held() {
            self.source = Err(None);
            return Some(Err(error));
        }
        let before = looped.next;
        let entry = looped.step(|shared, record| entry_of(shared, &record, |node| node.to_value()));
        if entry.is_err() && looped.next == before {
            // What it cannot go past is said once.
            self.source = Err(None);
        }
        entry.transpose()
    }
}

impl Pod {
    /// All entries of one instant, in insertion order. Nobody has to wait for the loop.
    ///
    /// Under a guard, the entries are those that the guard sees at the call. An entry that cannot be read is an error that names its key, and
    /// the loop continues after it. If no snapshot can be taken, the only item is the error that says why.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("b", 1), ("a", 2)])?;
    /// let keys: Vec<String> = pod.iter().map(|entry| entry.unwrap().0.to_string()).collect();
    /// assert_eq!(keys, ["b", "a"]);
    /// let newest = pod.iter().rev().next().unwrap()?;
    /// assert_eq!(newest.1, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter {
        Iter::on(self.target())
    }

    /// All keys of one instant, in insertion order.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// assert_eq!(pod.keys().next().unwrap()?, tastypod::Key::from("a"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self) -> Keys {
        Keys::of(self.iter())
    }

    /// The keys of one instant that begin with a prefix, in insertion order: texts that begin with a text, or tuples that begin with the
    /// elements of a tuple. It looks at all keys. See [`Key::starts_with`].
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([(("page", 1), 1), (("user", 1), 2), (("page", 2), 3)])?;
    /// let pages: Vec<tastypod::Key> = pod.keys_with_prefix(("page",)).collect::<tastypod::Result<_>>()?;
    /// assert_eq!(pages, [("page", 1).into(), ("page", 2).into()] as [tastypod::Key; 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys_with_prefix(&self, prefix: impl AsKey) -> KeysWithPrefix {
        KeysWithPrefix::of(self.keys(), prefix)
    }

    /// All values of one instant, in insertion order.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// assert_eq!(pod.values().next().unwrap()?, serde_json::json!(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn values(&self) -> Values {
        Values(self.iter())
    }

    /// Like [`iter`](Pod::iter), with values in a type of your own.
    ///
    /// An entry that is not of that type is `InvalidValue` or `TypeMismatch`, and the loop continues after it.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", [1, 2])?;
    /// assert_eq!(pod.iter_as::<Vec<u8>>().next().unwrap()?.1, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter_as<T: DeserializeOwned>(&self) -> IterAs<T> {
        IterAs::of(self.iter())
    }

    /// The entries as they are when the loop reaches them. Keys that anybody adds during the loop come up too, each once. Under a guard and
    /// inside a transaction, whose writes it does not see, the only item is the error `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// let mut live = pod.iter_live();
    /// assert!(live.next().is_some());
    /// pod.set("b", 2)?;
    /// assert!(live.next().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter_live(&self) -> IterLive {
        IterLive { source: Loop::begin(Arc::clone(&self.shared)).map_err(Some) }
    }
}

impl IntoIterator for &Pod {
    type Item = Result<(Key, Value)>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}
