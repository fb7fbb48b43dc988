//! Isolated handles: a copy of a store in memory, which only this process and its forks have, and the way back.
//!
//! The copy is a store like any other, with a log, an index, a mutex and locks of its own, all in files in memory: so every call works
//! on it as it does on the original. Beside it stands a word for each ordinal of the copy: the sum of the value that the store had for the
//! key as far as the copy knows, 0 where it had none. The copy is never compacted, so ordinals stay.
//!
//! Publishing, under the mutex of the copy and then that of the store: what was changed since the last time is compared, by these
//! words, with what the store has now, and committed as one transaction. Then the words are brought up to date. A kill leaves all of
//! it published or nothing; forks that live on may then be told of a conflict with what the dead one published.

use crate::error::{Error, ErrorKind, Result};
use crate::limits::ORDER_BYTES_MAX;
use crate::log::batch::Batch;
use crate::log::record::{self, Kind, Record};
use crate::segment::words::{MappedWords, Words as _};
use crate::store::attach::load;
use crate::store::attach::register;
use crate::store::core::canon::{Canon, Rest, Surveyed};
use crate::store::core::how::{How, Writing};
use crate::store::core::membership::Opening;
use crate::store::core::settings::{Settings, shown};
use crate::store::core::shared::{Origin, Shared};
use crate::store::read::snapshot::Instant;
use crate::store::write::locked::Locked;
use crate::sys::file::{self, Kept};
use crate::sys::map::FileMap;
use hashbrown::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// A transaction that fills the copy is at most so large, but for one record.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Nothing stands beside the log of a copy.
#[derive(Debug)]
struct Nothing;

impl Canon for Nothing {
    fn is_name(&self, _name: &OsStr) -> bool {
        false
    }

    fn survey(&self, _directory: &Path, _how: &How) -> Result<Box<dyn Surveyed>> {
        Ok(Box::new(Nothing))
    }

    fn save(&self, _shared: &Shared, _timeout: Duration) -> Result<()> {
        Ok(())
    }

    fn is_behind(&self, _shared: &Shared) -> bool {
        false
    }
}

impl Surveyed for Nothing {
    fn is_empty(&self) -> bool {
        true
    }

    fn is_edited(&self, _loaded: [u64; 2]) -> bool {
        false
    }

    fn checkpoint(&self) -> u64 {
        0
    }

    fn saved_in(&self, _store: [u64; 2], _loaded: [u64; 2]) -> Option<u64> {
        None
    }

    fn fill(&self, shared: &Shared, _rest: &Rest) -> Result<u64> {
        Ok(shared.control.commit.newest())
    }
}

/// Stands for a value: never 0.
fn sum(value: &[u8]) -> u64 {
    xxh3_64(value) | 1
}

/// Copies a store into memory.
pub(crate) fn copy_of(store: Arc<Shared>, how: &How, writing: Writing) -> Result<Arc<Shared>> {
    let failed = |error| Error::io("make a memory file for", &store.directory, error);
    let how = How { read_only: false, canon: &Nothing, ..how.clone() };
    let (mut copy, locks) = load::empty_in_memory(&store.directory, &how)?;
    let mut opening = Opening::acquire(&file::path_of(&locks), || file::open_again(&locks), how.timeout)?;
    opening.attach()?;
    copy.membership.join(opening, Some(copy.control))?;
    copy.own_locks = Some(Kept::of(locks));
    let known_file = file::in_memory("known").map_err(failed)?;
    let known = MappedWords::new(FileMap::new(&known_file, ORDER_BYTES_MAX, 1, true).map_err(failed)?);
    let origin = Origin { store, writing, known, known_file };
    let settings = Settings { is_durable: false, ..origin.store.settings()?.unwrap_or_default() };
    copy.change_settings(how.timeout, |_| settings)?;
    origin.take_over(&copy, how.timeout, BATCH_BYTES)?;
    copy.origin = Some(Box::new(origin));
    register::register(Arc::new(copy))
}

impl Origin {
    /// Makes room for the words of ordinals below `ordinals`.
    fn reserve(&self, ordinals: u64) -> Result<()> {
        let failed = |error| Error::io("get memory for a copy of", &self.store.directory, error);
        let ready = file::stamp(&self.known_file).map_err(failed)?.size;
        let needed = ordinals * 8;
        if needed > self.known.map().capacity() {
            return Err(failed(std::io::ErrorKind::OutOfMemory.into()));
        }
        // Well ahead, so that it is rarely done.
        let wanted = needed.next_multiple_of(1 << 20).min(self.known.map().capacity());
        if needed > ready { file::allocate(&self.known_file, 0, wanted).map_err(failed) } else { Ok(()) }
    }

    /// Makes the copy what the store is now, in transactions of so many bytes. What it had, it has no more.
    fn take_over(&self, copy: &Shared, timeout: Duration, bytes_max: usize) -> Result<()> {
        let locked = Locked::new(copy, timeout)?;
        let first = copy.counters()?.next_ordinal;
        let mut there: HashMap<Vec<u8>, u64> = HashMap::new();
        for ordinal in 0..first {
            if let Some(record) = copy.ordinal_head(ordinal).map(|position| copy.record(position)).transpose()?
                && record.is_set()
            {
                there.insert(record.key().to_vec(), record.hash());
            }
        }
        let instant = Instant::take(&*self.store)?;
        let counters = instant.counters();
        self.reserve(first + counters.length)?;
        let mut batch = Batch { is_copied: true, ..Batch::default() };
        let mut sums = Vec::new();
        let commit = |batch: &mut Batch, sums: &mut Vec<u64>| {
            // Each entry gets the next ordinal.
            let next = copy.counters()?.next_ordinal;
            if !batch.is_empty() {
                locked.commit(batch)?;
            }
            debug_assert_eq!(copy.counters()?.next_ordinal, next + sums.len() as u64);
            (next..).zip(sums.drain(..)).for_each(|(ordinal, sum)| self.known.store(ordinal, sum));
            batch.clear();
            Ok::<(), Error>(())
        };
        for ordinal in instant.first_ordinal()..counters.next_ordinal {
            let Some(entry) = self.store.ordinal_at(counters.sequence, ordinal)? else { continue };
            let hash = record::hash_of(entry.key(), copy.header.seed);
            let was_there = there.remove(entry.key()).is_some();
            if was_there {
                batch.push(Kind::Remove, hash, entry.key(), false, |_| Ok::<(), Error>(()))?;
            }
            push_set(&mut batch, hash, &entry, was_there)?;
            sums.push(sum(entry.value()));
            if batch.bytes.len() >= bytes_max {
                commit(&mut batch, &mut sums)?;
            }
        }
        for (key, hash) in there {
            batch.push(Kind::Remove, hash, &key, false, |_| Ok::<(), Error>(()))?;
        }
        commit(&mut batch, &mut sums)?;
        (0..first).for_each(|ordinal| self.known.store(ordinal, 0));
        copy.begin_saving(&locked, copy.control.commit.newest())?;
        copy.end_saving(&locked);
        locked.finish(copy.control.commit.newest())
    }

    /// Goes back to what the store is now.
    pub(crate) fn refresh(&self, copy: &Shared, timeout: Duration) -> Result<()> {
        self.take_over(copy, timeout, usize::MAX)
    }

    /// Commits to the store what was changed in the copy since the last time, as one transaction; or nothing where somebody else
    /// changed one of the keys, unless that is `overwritten`.
    pub(crate) fn publish(&self, copy: &Shared, overwritten: Overwritten) -> Result<()> {
        let locked = Locked::new(copy, self.writing.timeout)?;
        let changes = Changes::of(self, copy)?;
        self.reserve(copy.counters()?.next_ordinal)?;
        let store = Locked::for_writing(&*self.store, self.writing)?;
        if overwritten == Overwritten::Refuse {
            changes.require_unchanged(&self.store)?;
        }
        let mut batch = changes.batch(&self.store)?;
        let sequence = if batch.is_empty() { self.store.control.commit.newest() } else { store.commit(&mut batch)? };
        store.release();
        for record in &changes.records {
            self.known.store(record.ordinal(), if record.is_set() { sum(record.value()) } else { 0 });
        }
        copy.begin_saving(&locked, copy.control.commit.newest())?;
        copy.end_saving(&locked);
        drop(locked);
        store.finish(sequence)
    }
}

/// Whether changes of others are published over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overwritten {
    Refuse,
    Allow,
}

fn push_set(batch: &mut Batch, hash: u64, record: &Record<'_>, afresh: bool) -> Result<()> {
    batch.push(Kind::Set, hash, record.key(), afresh, |out| {
        out.extend_from_slice(record.value());
        Ok::<(), Error>(())
    })
}

/// What was changed in a copy.
struct Changes<'a> {
    /// The newest record of each ordinal that was changed, in order: values, and the marks of removed keys.
    records: Vec<Record<'a>>,
    /// For each of their keys, what the store had: a key that was removed and added again has several ordinals.
    known: HashMap<&'a [u8], u64>,
    removed: HashSet<&'a [u8]>,
}

impl<'a> Changes<'a> {
    /// The caller holds the copy's mutex.
    fn of(origin: &Origin, copy: &'a Shared) -> Result<Changes<'a>> {
        let (since, ordinals) = (copy.saved(), copy.counters()?.next_ordinal);
        let mut changes = Changes { records: Vec::new(), known: HashMap::new(), removed: HashSet::new() };
        origin.reserve(ordinals)?;
        for ordinal in copy.control.order.low.get()..ordinals {
            let Some(record) = copy.ordinal_head(ordinal).map(|position| copy.record(position)).transpose()? else { continue };
            if record.version() <= since || record.kind() == Kind::Settings {
                continue;
            }
            *changes.known.entry(record.key()).or_default() |= origin.known.load(ordinal);
            if !record.is_set() {
                changes.removed.insert(record.key());
            }
            changes.records.push(record);
        }
        Ok(changes)
    }

    /// Fails where the store has another value than is known. The caller holds the store's mutex.
    fn require_unchanged(&self, store: &Shared) -> Result<()> {
        let set: HashSet<&[u8]> = self.records.iter().filter(|record| record.is_set()).map(Record::key).collect();
        let mut others = Vec::new();
        for (key, known) in &self.known {
            // Added and removed again: nothing is published.
            let is_nothing = *known == 0 && !set.contains(key);
            let now = store.get(record::hash_of(key, store.header.seed), key)?.map_or(0, |record| sum(record.value()));
            if now != *known && !is_nothing {
                others.push(*key);
            }
        }
        let Some(first) = others.iter().min() else { return Ok(()) };
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{}: somebody else changed {} of the keys that were changed here, {} for one; nothing was published; revert() takes the store as it is now and forgets what was changed here, sync_overwrite() publishes over what others changed",
                store.directory.display(),
                others.len(),
                shown(first)
            ),
        ))
    }

    /// What is to be committed. The caller holds the store's mutex.
    fn batch(&self, store: &Shared) -> Result<Batch> {
        let mut batch = Batch::default();
        let mut removed = self.removed.clone();
        for record in self.records.iter().filter(|record| record.is_set()) {
            let hash = record::hash_of(record.key(), store.header.seed);
            let afresh = removed.remove(record.key()) && store.get(hash, record.key())?.is_some();
            if afresh {
                batch.push(Kind::Remove, hash, record.key(), false, |_| Ok::<(), Error>(()))?;
            }
            push_set(&mut batch, hash, record, afresh)?;
        }
        for record in self.records.iter().filter(|record| !record.is_set()) {
            let hash = record::hash_of(record.key(), store.header.seed);
            if removed.remove(record.key()) && store.get(hash, record.key())?.is_some() {
                batch.push(Kind::Remove, hash, record.key(), false, |_| Ok::<(), Error>(()))?;
            }
        }
        Ok(batch)
    }
}
