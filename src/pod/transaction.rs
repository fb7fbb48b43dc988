//! Several changes as one: closures, guards, and bulk changes.

use crate::error::{Error, ErrorKind, Result};
use crate::key::{AsKey, Key};
use crate::log::batch::Batch;
use crate::log::record::{Kind, hash_of};
use crate::pod::target::{Hashed, InHand, Open, Target};
use crate::pod::{Iter, Keys, KeysWithPrefix, Pod, Values};
use crate::store::core::shared::Shared;
use crate::store::saving::sync_lock::SyncLock;
use crate::store::write::locked::HeldBy;
use crate::store::write::transaction::{Change, Transaction};
use crate::value::{Archive, Arena, Span};
use serde::Serialize;
use serde_json::Value;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

/// The store inside a transaction: reads see its own writes, and nobody else sees them before the commit.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.extend([("from", 10), ("to", 0)])?;
/// pod.transaction(|txn| {
///     txn.at("from").add(-3)?;
///     txn.at("to").add(3)?;
///     Ok(())
/// })?;
/// assert_eq!(pod.get_as::<i64>("to")?, Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Txn {
    in_hand: InHand,
    seed: u64,
}

/// Holds the store's lock for this thread. Other writers wait, and readers see the state before. Calls on the pod by the same thread
/// are part of it. [`commit`](Guard::commit) makes the changes visible. If the guard is dropped without it, by an early `?` or a panic
/// for example, they are undone.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// let guard = pod.lock()?;
/// pod.set("a", 1)?;
/// pod.set("b", 2)?;
/// guard.commit()?;
/// assert_eq!(pod.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the guard gives the lock back and forgets what was written; `commit` keeps it"]
#[derive(Debug)]
pub struct Guard {
    open: Open,
    pod: Pod,
}

impl Txn {
    #[inline]
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    #[inline]
    pub(crate) fn target(&self) -> Result<Target<'_>> {
        Ok(Target::InHand(Rc::clone(&self.in_hand), self.seed))
    }

    /// The number of keys, with the transaction's own writes.
    ///
    /// # Errors
    /// `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.transaction(|txn| {
    ///     txn.set("k", 1)?;
    ///     assert_eq!(txn.len()?, 1);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> Result<usize> {
        self.target()?.in_hand(|transaction| transaction.length()).unwrap_or(Ok(0)).map(|length| length as usize)
    }

    /// Whether there are no keys, with the transaction's own writes.
    ///
    /// # Errors
    /// `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.transaction(|txn| {
    ///     txn.set("k", 1)?;
    ///     assert!(!txn.is_empty()?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|length| length == 0)
    }

    /// All entries in order, as they are at the call, with the transaction's own writes. An entry that cannot be read is an error of its own,
    /// and the loop continues after it.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// pod.transaction(|txn| {
    ///     for entry in txn.iter() {
    ///         let (key, value) = entry?;
    ///         txn.set(&key, serde_json::json!([value]))?;
    ///     }
    ///     Ok(())
    /// })?;
    /// assert_eq!(pod.get("b")?, Some(serde_json::json!([2])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter {
        Iter::on(self.target())
    }

    /// The keys of [`iter`](Txn::iter).
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// pod.transaction(|txn| {
    ///     assert_eq!(txn.keys().next().unwrap()?, tastypod::Key::from("a"));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self) -> Keys {
        Keys::of(self.iter())
    }

    /// The keys of [`iter`](Txn::iter) that begin with a prefix, as [`Pod::keys_with_prefix`]. It looks at all keys.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("page/1", 1), ("user/1", 2)])?;
    /// pod.transaction(|txn| {
    ///     txn.set("page/2", 3)?;
    ///     assert_eq!(txn.keys_with_prefix("page/").count(), 2);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys_with_prefix(&self, prefix: impl AsKey) -> KeysWithPrefix {
        KeysWithPrefix::of(self.keys(), prefix)
    }

    /// The values of [`iter`](Txn::iter).
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// pod.transaction(|txn| {
    ///     assert_eq!(txn.values().next().unwrap()?, 1);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn values(&self) -> Values {
        Values::of(self.iter())
    }

    /// All of [`iter`](Txn::iter).
    ///
    /// # Errors
    /// The first error of an entry. [`iter`](Txn::iter) continues after it instead.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// pod.transaction(|txn| {
    ///     txn.set("b", 2)?;
    ///     assert_eq!(txn.entries()?.len(), 2);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn entries(&self) -> Result<Vec<(Key, Value)>> {
        self.iter().collect()
    }

    /// Removes every key.
    ///
    /// # Errors
    /// `Full`, `LockTimeout`, `Closed`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// pod.transaction(|txn| txn.clear())?;
    /// assert!(pod.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) -> Result<()> {
        clear(&self.target()?)
    }

    /// Sets many keys. If a key comes twice, the later entry wins.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidValue`, `Full`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.transaction(|txn| txn.extend([("a", 1), ("b", 2)]))?;
    /// assert_eq!(pod.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend<K: AsKey, V: Serialize>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        apply(&self.in_hand, &Drained::new(entries, self.seed)?, false).map(|_| ())
    }

    /// Sets those keys that are absent, and returns how many. If an absent key comes twice, the first entry wins.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidValue`, `Full`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// assert_eq!(pod.transaction(|txn| txn.extend_if_absent([("a", 7), ("b", 7)]))?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend_if_absent<K: AsKey, V: Serialize>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<usize> {
        apply(&self.in_hand, &Drained::new(entries, self.seed)?, true)
    }
}

type InStore = Transaction<Arc<Shared>>;

/// What a transaction has made of the entries that were there before, in order; nothing where it removed one.
#[allow(clippy::type_complexity)]
pub(crate) fn stored(transaction: &InStore) -> Result<impl DoubleEndedIterator<Item = Result<Option<(&[u8], Archive<'_>)>>> + use<'_>> {
    let shared = transaction.shared();
    let tail = shared.tail()?.counters;
    Ok((shared.first_ordinal(tail.sequence)..tail.next_ordinal).map(move |ordinal| {
        let record = shared.ordinal_at(tail.sequence, ordinal)?;
        Ok(record.and_then(|record| transaction.overlay(record).map(|seen| (record.key(), seen.archive()))))
    }))
}

/// What a transaction has added, in order, behind all that was there.
pub(crate) fn added(transaction: &InStore) -> Vec<(&[u8], Archive<'_>)> {
    transaction.added()
}

/// Shows all entries that a transaction sees, in order, until it is enough.
pub(crate) fn visit(target: &Target<'_>, mut look: impl FnMut(&[u8], Archive<'_>) -> Result<ControlFlow<()>>) -> Result<()> {
    let read = |transaction: &InStore| {
        let before = stored(transaction)?.filter_map(Result::transpose);
        for entry in before.chain(added(transaction).into_iter().map(Ok)) {
            let (key, archive) = entry?;
            if look(key, archive)?.is_break() {
                break;
            }
        }
        Ok(())
    };
    target.in_hand(read).unwrap_or(Ok(()))
}

/// All entries that a transaction sees.
pub(crate) fn listing(target: &Target<'_>) -> Result<(Arena, Vec<(Key, Span)>)> {
    let (mut arena, mut entries) = (Arena::default(), Vec::new());
    visit(target, |key, archive| {
        let key = Key::decode(key).map_err(|what| Error::new(ErrorKind::InvalidKey, what))?;
        entries.push((key, arena.push(archive)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((arena, entries))
}

fn clear(target: &Target<'_>) -> Result<()> {
    let mut keys = Vec::new();
    visit(target, |key, _| {
        keys.push(Hashed::of_encoded(key, hash_of(key, target.seed())));
        Ok(ControlFlow::Continue(()))
    })?;
    keys.iter().try_for_each(|key| target.change(key, |_, _| Ok((Change::Remove, ()))))
}

/// An iterator's entries, encoded before anything is locked.
struct Drained {
    arena: Arena,
    entries: Vec<(Hashed, Span)>,
}

impl Drained {
    fn new<K: AsKey, V: Serialize>(entries: impl IntoIterator<Item = (K, V)>, seed: u64) -> Result<Drained> {
        let mut arena = Arena::default();
        let encode = |(key, value): (K, V)| {
            let key = Hashed::new(&key, seed)?;
            let span = arena.encode(&value).map_err(|error| key.name(error))?;
            Ok((key, span))
        };
        let entries = entries.into_iter().map(encode).collect::<Result<Vec<_>>>()?;
        Ok(Drained { arena, entries })
    }

    fn archive(&self, index: usize) -> Archive<'_> {
        self.arena.get(self.entries[index].1.clone())
    }
}

fn apply(in_hand: &InHand, drained: &Drained, only_absent: bool) -> Result<usize> {
    let mut transaction = in_hand.borrow_mut();
    let Some(transaction) = transaction.as_mut() else {
        return Err(Error::new(ErrorKind::Closed, "the transaction has ended; begin a new one"));
    };
    let mut count = 0;
    for (index, (key, _)) in drained.entries.iter().enumerate() {
        if !only_absent || transaction.get(key.hash, &key.key)?.is_none() {
            transaction.set(key.hash, &key.key, drained.archive(index))?;
            count += 1;
        }
    }
    Ok(count)
}

impl Pod {
    /// Several changes in one commit: all of them, or none. Other writers wait until the closure returns. Readers see the state before.
    /// When the closure returns `Ok`, all changes become visible at once. If it returns `Err` or panics, nothing has changed.
    ///
    /// While a thread is inside a transaction, its calls on the same store, through any handle, do this:
    ///
    /// | calls on the pod | in a closure that runs under the lock | under a [`Guard`] |
    /// |---|---|---|
    /// | that read or write entries: `get`, `view`, `set`, `remove`, `at`, `update`, `extend`, `clear`, `mark_dirty`, …, a tracker's calls on tasks | `Reentrant`: use the closure's argument | see the guard's writes, and are part of it |
    /// | `iter`, `keys`, `values`, `iter_as` | `Reentrant`, as the only item | see the guard's writes |
    /// | `len`, `is_empty`, a tracker's `num_…`, `fraction_…`, `percent_…` | with the transaction's writes | with the guard's writes |
    /// | `transaction` | `Reentrant` | is part of the guard, as are calls on the pod in its closure; only the guard's end commits or rolls back |
    /// | of what is committed: `snapshot`, `iter_live`, `stats`, `verify`, `dirty`, `wait`, `wait_key`, `version_of`; `lock`, `sync`, `revert`, `compact`, `convert`; a tracker's claims, loops over tasks and settings | `Reentrant` | `Reentrant`: commit or drop the guard first |
    /// | `version`, `dirty_len`, a tracker's `progress` | what is committed | what is committed |
    /// | `path`, `hold`, `unhold`, `close`; a snapshot, a view or an iterator from before | as ever | as ever |
    ///
    /// # Errors
    /// The closure's; `LockTimeout`, `Full`, `Reentrant`, `ReadOnly`; `Closed` in a child made by a fork inside the closure.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// let count = pod.transaction(|txn| {
    ///     txn.set("a", 1)?;
    ///     txn.set("b", 2)?;
    ///     txn.len()
    /// })?;
    /// assert_eq!(count, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transaction<R>(&self, body: impl FnOnce(&Txn) -> Result<R>) -> Result<R> {
        self.try_transaction(body)
    }

    /// Like [`transaction`](Pod::transaction), with an error type of your own. As the last expression of a function it takes that function's
    /// error type. Elsewhere, with `?` behind it, the compiler asks for the type: end the closure with `Ok::<_, YourError>(…)`.
    ///
    /// # Errors
    /// The closure's; `LockTimeout`, `Full`, `Reentrant`, `ReadOnly`; `Closed` in a child made by a fork inside the closure.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// let outcome: Result<(), Box<dyn std::error::Error>> = pod.try_transaction(|txn| {
    ///     txn.set("a", 1)?;
    ///     Err("changed my mind".into())
    /// });
    /// assert!(outcome.is_err() && pod.is_empty());
    ///
    /// fn transfer(pod: &tastypod::Pod) -> Result<(), Box<dyn std::error::Error>> {
    ///     pod.try_transaction(|txn| {
    ///         let amount: i64 = std::env::var("AMOUNT")?.parse()?;
    ///         txn.at("from").add(-amount)?;
    ///         txn.at("to").add(amount)?;
    ///         Ok(())
    ///     })
    /// }
    /// assert!(transfer(&pod).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_transaction<R, E: From<Error>>(&self, body: impl FnOnce(&Txn) -> std::result::Result<R, E>) -> std::result::Result<R, E> {
        // Joins the guard of this thread, if it holds one: then the guard's end decides.
        if let Target::InHand(in_hand, seed) = self.target()? {
            return body(&Txn { in_hand, seed });
        }
        let open = Open::begin(self, HeldBy::Closure)?;
        let result = body(&Txn { in_hand: Rc::clone(&open.in_hand), seed: self.shared.header.seed })?;
        open.commit()?;
        self.after_write();
        Ok(result)
    }

    /// Takes the store's lock for this thread, until the guard is committed, rolled back or dropped. Changes that are not committed are
    /// undone. Calls by the same thread are part of it. The table at [`transaction`](Pod::transaction) lists those that fail instead.
    ///
    /// # Errors
    /// `LockTimeout`, `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// let moved = || -> tastypod::Result<()> {
    ///     let guard = pod.lock()?;
    ///     pod.set("to", 1)?;
    ///     pod.at("from").add(-1)?; // Absent: the guard is dropped here.
    ///     guard.commit()
    /// };
    /// assert!(moved().is_err() && pod.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock(&self) -> Result<Guard> {
        Ok(Guard { open: Open::begin(self, HeldBy::Guard)?, pod: self.clone() })
    }

    /// Sets many keys in one transaction. If a key comes twice, the later entry wins. The iterator is read to its end before anything is locked.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend((0..100).map(|n| (n, n * n)))?;
    /// assert_eq!(pod.get_as::<i64>(9)?, Some(81));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend<K: AsKey, V: Serialize>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        self.extend_with(entries, false).map(|_| ())
    }

    /// Sets those keys that are absent, in one transaction, and returns how many. If an absent key comes twice, the first entry wins.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// assert_eq!(pod.extend_if_absent([("a", 7), ("b", 7)])?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend_if_absent<K: AsKey, V: Serialize>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<usize> {
        self.extend_with(entries, true)
    }

    fn extend_with<K: AsKey, V: Serialize>(&self, entries: impl IntoIterator<Item = (K, V)>, only_absent: bool) -> Result<usize> {
        self.require_writable()?;
        let seed = self.shared.header.seed;
        if let Target::InHand(in_hand, _) = self.target()? {
            return apply(&in_hand, &Drained::new(entries, seed)?, only_absent);
        }
        let mut batch = Batch::default();
        for (key, value) in entries {
            let key = Hashed::new(&key, seed)?;
            batch.push(Kind::Set, key.hash, &key.key, false, |out| crate::value::encode(&value, out)).map_err(|error| key.name(error))?;
        }
        let count = self.shared.commit_many(self.options.writing(), &mut batch, only_absent)?;
        self.after_write();
        Ok(count)
    }

    /// Removes every key in one transaction, and gives their space back. If the disk is too full for that, the keys are removed in several
    /// transactions, and each makes room for the next.
    ///
    /// # Errors
    /// `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([(1, 1), (2, 2)])?;
    /// pod.clear()?;
    /// assert!(pod.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) -> Result<()> {
        match self.transaction(Txn::clear) {
            Err(error) if error.kind() == ErrorKind::Full && !self.shared.is_held_here() => self.clear_in_steps()?,
            outcome => outcome?,
        }
        if self.shared.is_held_here() { Ok(()) } else { self.shared.tidy(self.options.lock_timeout) }
    }

    fn clear_in_steps(&self) -> Result<()> {
        const KEYS: usize = 256;
        let keys = self.keys().collect::<Result<Vec<Key>>>()?;
        keys.chunks(KEYS).try_for_each(|keys| {
            self.transaction(|txn| keys.iter().try_for_each(|key| if txn.contains_key(key)? { txn.remove(key).map(drop) } else { Ok(()) }))
        })
    }

    /// Makes the store small: closes the gaps that removals left in the order, and gives unused space of log and index back. All processes
    /// can read and write meanwhile. Snapshots stay as they are, and a running loop continues at its place.
    ///
    /// Space that a snapshot needs is given back by later writes, once the snapshot is gone. The gaps in the order stay if somebody still
    /// has a snapshot from before the last `compact`, or is in a loop over [`iter_live`](Pod::iter_live).
    ///
    /// # Errors
    /// `LockTimeout`, `Full`, `Reentrant`, `ReadOnly`. What was compacted until then stays so, and the store is in order.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend((0..1000).map(|n| (n, n)))?;
    /// for n in 0..999 {
    ///     pod.remove(n)?;
    /// }
    /// pod.compact()?;
    /// assert_eq!(pod.get_as::<i64>(999)?, Some(999));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(&self) -> Result<()> {
        self.require_writable()?;
        self.shared.require_not_held()?;
        if self.origin().is_some() {
            // Its entries keep their places until they are published.
            return Ok(());
        }
        // Nobody saves in the middle of it, when entries have two sets of places.
        let _lock = SyncLock::acquire(&self.shared, self.options.lock_timeout, true)?;
        self.shared.compact(self.options.lock_timeout)
    }
}

impl Guard {
    /// Makes the changes visible and releases the lock.
    ///
    /// # Errors
    /// `Full`; `Reentrant` inside a closure of a call that is part of it; `Closed` in a child made by a fork since. Nothing was written then.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.lock()?.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit(self) -> Result<()> {
        self.open.commit()?;
        self.pod.after_write();
        Ok(())
    }

    /// Undoes the changes and releases the lock, as dropping the guard does.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.lock()?.rollback();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rollback(self) {
        drop(self);
    }
}
