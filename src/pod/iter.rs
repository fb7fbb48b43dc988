//! Iteration in insertion order.

use crate::error::{Error, Result};
use crate::key::Key;
use crate::log::record::Record;
use crate::pod::Pod;
use crate::pod::target::Target;
use crate::pod::transaction::listing;
use crate::store::core::shared::Shared;
use crate::store::read::snapshot::{Instant, Loop};
use crate::value::{Archive, Arena, Node, Span};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::marker::PhantomData;
use std::sync::Arc;

/// Entries of one instant, in insertion order.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("a", &1)?;
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
    Instant {
        instant: Arc<Instant>,
        next: u64,
    },
    /// What a transaction in hand has made of the store, read at the call.
    Read(Arena, std::vec::IntoIter<(Key, Span)>),
    /// Why there is nothing to read: the first and only item.
    Failed(Option<Error>),
}

impl Source {
    fn of(instant: Arc<Instant>) -> Source {
        let next = instant.first_ordinal();
        Source::Instant { instant, next }
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

fn next_record<R>(instant: &Instant, next: &mut u64, read: impl FnOnce(&Shared, &Record<'_>) -> Result<R>) -> Option<Result<R>> {
    let counters = instant.counters();
    let shared = match instant.shared() {
        Ok(shared) => shared,
        Err(error) if *next < counters.next_ordinal => {
            *next = counters.next_ordinal;
            return Some(Err(error));
        }
        Err(_) => return None,
    };
    while *next < counters.next_ordinal {
        let ordinal = *next;
        *next += 1;
        match shared.ordinal_at(counters.sequence, ordinal) {
            Ok(Some(record)) => return Some(read(shared, &record)),
            Ok(None) => {}
            Err(error) => return Some(Err(error)),
        }
    }
    None
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

    fn next_as<T>(&mut self, read: impl FnOnce(Node<'_>) -> Result<T>) -> Option<Result<(Key, T)>> {
        match &mut self.source {
            Source::Instant { instant, next } => next_record(instant, next, |shared, record| entry_of(shared, record, read)),
            Source::Read(arena, entries) => entries.next().map(|(key, span)| entry(key, arena.get(span), read)),
            Source::Failed(error) => error.take().map(Err),
        }
    }
}

impl Iterator for Iter {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_as(|node| node.to_value())
    }
}

/// The keys of [`Pod::keys`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// assert!(pod.keys().next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Keys(Iter);

impl Keys {
    pub(crate) fn of(entries: Iter) -> Keys {
        Keys(entries)
    }
}

impl Iterator for Keys {
    type Item = Result<Key>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0.source {
            Source::Instant { instant, next } => next_record(instant, next, key_of),
            Source::Read(_, entries) => entries.next().map(|(key, _)| Ok(key)),
            Source::Failed(error) => error.take().map(Err),
        }
    }
}

/// The values of [`Pod::values`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
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
}

/// The entries of [`Pod::iter_as`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("a", &1)?;
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
        self.iter.next_as(|node| node.read())
    }
}

/// The entries of [`Pod::iter_live`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set(0, &())?;
/// for (turn, entry) in pod.iter_live().take(5).enumerate() {
///     entry?;
///     pod.set(turn as i64 + 1, &())?;
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
    /// All entries of one instant in insertion order. Nobody waits for it.
    ///
    /// Under a guard the entries are those that the guard has made at the call. Items fail as [`get`](Pod::get) does, each
    /// for itself, with its key in the error; where no snapshot can be taken, the only item says why.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("b", 1), ("a", 2)])?;
    /// let keys: Vec<String> = pod.iter().map(|entry| entry.unwrap().0.to_string()).collect();
    /// assert_eq!(keys, ["b", "a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter {
        Iter::on(self.target())
    }

    /// The keys of [`iter`](Pod::iter).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", &1)?;
    /// assert_eq!(pod.keys().next().unwrap()?, tastypod::Key::from("a"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self) -> Keys {
        Keys(self.iter())
    }

    /// The values of [`iter`](Pod::iter).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", &1)?;
    /// assert_eq!(pod.values().next().unwrap()?, serde_json::json!(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn values(&self) -> Values {
        Values(self.iter())
    }

    /// As [`iter`](Pod::iter), with values in a type of the caller's.
    ///
    /// Items fail as [`get_as`](Pod::get_as) does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", &[1, 2])?;
    /// assert_eq!(pod.iter_as::<Vec<u8>>().next().unwrap()?.1, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter_as<T: DeserializeOwned>(&self) -> IterAs<T> {
        IterAs { iter: self.iter(), _value: PhantomData }
    }

    /// The entries as they are when their turn comes: keys that anybody adds during the loop come up too, each once. Under a guard and
    /// in a transaction's closure, whose writes it does not see, the only item is `Reentrant`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", &1)?;
    /// let mut live = pod.iter_live();
    /// assert!(live.next().is_some());
    /// pod.set("b", &2)?;
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
