//! The way up for a read: commit word, table, head, and back where the head is newer than the commit word.
//!
//! A read takes no lock and stores nothing. What it reads may be taken away under its eyes: a segment of which nothing is
//! needed any more is written anew. So it *sights* a record: it notes its segment's number, looks whether the index still
//! names the record (then the segment was in use when its number was noted), reads words, and looks at the number again. A
//! record that is to be looked at for longer is copied between the two looks, or, where it is long, pinned like a snapshot.
//! The holder of the mutex and the owner of a pin borrow records in place: theirs are not taken.

use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::index::order;
use crate::index::table::{Entry, Found};
use crate::log::batch::Hint;
use crate::log::record::{self, HEADER_BYTES, Head, Record};
use crate::segment::heap::Position;
use crate::segment::slots::{Slot, is_in_log};
use crate::segment::words::Words;
use crate::store::core::settings::{KeyDialect, Settings, shown};
use crate::store::core::shared::{Mode, Shared};
use crate::store::read::copied::{COPIED_BYTES_MAX, Copied};
use crate::store::read::snapshot::Instant;
use crate::sys::atomic::{Ordering, fence};
use crate::value::Archive;

/// Looks at a segment that is named and not in the log, before that is believed.
const LOOKS_MAX: usize = 1000;

/// A record's head, read while its segment was in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighted<'a> {
    pub(crate) position: Position,
    pub(crate) head: Head,
    slot: &'a Slot,
    order: u64,
}

impl Sighted<'_> {
    /// Whether all that was read until now was read of the same record.
    #[inline(always)]
    fn is_still_there(&self) -> bool {
        // After what was read, before the segment's number. Pairs with the fence in `Shared::enter_segment`.
        fence(Ordering::Acquire);
        self.slot.order.load(Ordering::Relaxed) == self.order
    }
}

impl Shared {
    /// Reads the head of the record at a position that was just read somewhere. Nothing if `is_named` says that it is not
    /// named there any more: then the read starts again.
    #[inline(always)]
    fn sight(&self, position: Position, is_named: impl Fn() -> bool) -> Result<Option<Sighted<'_>>> {
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        let no_record = || self.damaged(position, "no record where the index says");
        let slot = self.slot(position.segment())?;
        let order = slot.order.load(Ordering::Acquire);
        if !is_named() {
            return Ok(None);
        }
        if !is_in_log(order) {
            return self.taken_or_damaged(slot, position, is_named);
        }
        let head = self.heap.words(position, HEADER_BYTES as u64 / 8, ready).and_then(Head::copy).ok_or_else(no_record)?;
        Ok(Some(Sighted { position, head, slot, order }))
    }

    /// The segment was free, or had no blocks, and was named a moment later. Those states come again, so that nothing read between two looks
    /// at one would be known to be whole: the read starts again. Where it stays so, the index is wrong.
    #[cold]
    fn taken_or_damaged<T>(&self, slot: &Slot, position: Position, is_named: impl Fn() -> bool) -> Result<Option<T>> {
        let is_stuck = || !is_in_log(slot.order.load(Ordering::Acquire)) && is_named();
        if (0..LOOKS_MAX).all(|_| is_stuck()) { Err(self.damaged(position, "no record where the index says")) } else { Ok(None) }
    }

    /// Whether this is the record of a key; nothing if it was taken meanwhile.
    #[inline(always)]
    fn is_of(&self, sighted: &Sighted<'_>, hash: u64, key: &[u8]) -> Option<bool> {
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        let words = self.heap.words(sighted.position.plus(HEADER_BYTES as u64), key.len().div_ceil(8) as u64, ready);
        let is_key =
            sighted.head.hash() == hash && sighted.head.key_length() == key.len() && words.is_some_and(|words| record::is_key(words, key));
        sighted.is_still_there().then_some(is_key)
    }

    /// The newest published record of a key: what the current table says. The caller loaded the commit word before.
    #[inline]
    fn newest(&self, hash: u64, key: &[u8]) -> Result<Option<(Sighted<'_>, Hint)>> {
        'again: loop {
            let (word, table) = self.table()?;
            let mut hit = None;
            let mut was_taken = false;
            let found = table.find_entry(hash, table.place.words(), |slot, entry| {
                // Header, key and value span several cache lines: one wait for all.
                self.heap.prefetch(entry.position());
                let Some(sighted) = self.sight(entry.position(), || table.entry(slot) == entry)? else {
                    was_taken = true;
                    return Ok(true);
                };
                let is_key = self.is_of(&sighted, hash, key);
                was_taken = is_key.is_none();
                if is_key == Some(true) {
                    hit = Some((sighted, Hint { table: word, slot, entry: entry.0 }));
                }
                Ok::<bool, Error>(is_key != Some(false))
            })?;
            if was_taken {
                continue 'again;
            }
            if matches!(found, Found::At { .. }) {
                return Ok(hit);
            }
            // A miss counts only in the table that is current: a late reader of an old one may miss a newer key.
            fence(Ordering::Acquire);
            if self.control.table.current.load(Ordering::Relaxed) == word {
                return Ok(None);
            }
        }
    }

    /// The newest committed record that `newest` leads to, removals included.
    #[inline(always)]
    fn committed<'a>(&'a self, newest: impl Fn() -> Result<Option<Sighted<'a>>>) -> Result<Option<Sighted<'a>>> {
        'again: loop {
            let commit = self.control.commit.newest();
            let Some(mut sighted) = newest()? else { return Ok(None) };
            // A record may be published a moment before its commit; then the one that it replaces counts. That is there
            // for as long as the commit word stays.
            while sighted.head.version() > commit {
                if self.control.commit.newest() != commit {
                    continue 'again;
                }
                if sighted.head.previous() == Position::NONE {
                    return Ok(None);
                }
                let version = sighted.head.version();
                match self.sight(sighted.head.previous(), || self.control.commit.newest() == commit)? {
                    Some(older) if older.is_still_there() => {
                        self.require_older(older.position, older.head.version(), version)?;
                        sighted = older;
                    }
                    _ => continue 'again,
                }
            }
            return Ok(Some(sighted));
        }
    }

    /// Versions fall on the way back, so that every walk ends. Two records of one transaction have the same one.
    #[inline(always)]
    fn require_older(&self, position: Position, older: u64, version: u64) -> Result<()> {
        if older <= version { Ok(()) } else { Err(self.damaged(position, "a record replaces one that is newer")) }
    }

    /// Copies a sighted record; nothing if it was taken meanwhile.
    #[inline]
    fn copy(&self, sighted: &Sighted<'_>) -> Result<Option<Copied>> {
        let size = sighted.head.size();
        let words = self.heap.words(sighted.position, size / 8, self.control.ready.log.load(Ordering::Relaxed));
        let copied = Copied::of(words.filter(|_| size <= COPIED_BYTES_MAX).unwrap_or_default());
        if !sighted.is_still_there() {
            return Ok(None);
        }
        if Record::of(copied.bytes()).is_none() {
            return Err(self.damaged(sighted.position, "no record where the index says"));
        }
        Ok(Some(copied))
    }

    /// Looks at the value's record of a key, newest committed.
    #[inline]
    pub(crate) fn read<R>(&self, hash: u64, key: &[u8], look: impl FnOnce(Option<Record<'_>>) -> Result<R>) -> Result<R> {
        match self.fetch(hash, key)? {
            Fetched::Nothing => look(None),
            Fetched::Copied(copied) => look(Some(copied.record())),
            Fetched::Long if self.mode == Mode::Private => look(self.get(hash, key)?),
            Fetched::Long => {
                let instant = Instant::take(self)?;
                look(self.get_at(instant.counters().sequence, hash, key)?)
            }
        }
    }

    /// Copies the value's record of a key, newest committed, unless it is long.
    #[inline]
    pub(crate) fn fetch(&self, hash: u64, key: &[u8]) -> Result<Fetched> {
        if self.mode == Mode::Private {
            return Ok(if self.get(hash, key)?.is_some() { Fetched::Long } else { Fetched::Nothing });
        }
        loop {
            let Some(sighted) =
                self.committed(|| Ok(self.newest(hash, key)?.map(|(sighted, _)| sighted)))?.filter(|sighted| sighted.head.is_set())
            else {
                return Ok(Fetched::Nothing);
            };
            if sighted.head.size() > COPIED_BYTES_MAX {
                return Ok(Fetched::Long);
            }
            if let Some(copied) = self.copy(&sighted)? {
                return Ok(Fetched::Copied(copied));
            }
        }
    }

    /// Whether a key is there.
    pub(crate) fn contains(&self, hash: u64, key: &[u8]) -> Result<bool> {
        if self.mode == Mode::Private {
            return Ok(self.get(hash, key)?.is_some());
        }
        Ok(self.committed(|| Ok(self.newest(hash, key)?.map(|(sighted, _)| sighted)))?.is_some_and(|sighted| sighted.head.is_set()))
    }

    /// The newest record with an ordinal and a position of the order that names it, for iteration over what is there now.
    pub(crate) fn read_ordinal<R>(&self, ordinal: u64, look: impl FnOnce(Record<'_>) -> Result<R>) -> Result<Option<R>> {
        let there = |head: &Head| head.is_set() && head.ordinal() == ordinal;
        loop {
            let Some(sighted) = self.committed(|| self.newest_of(ordinal))?.filter(|sighted| there(&sighted.head)) else {
                return Ok(None);
            };
            if sighted.head.size() > COPIED_BYTES_MAX || self.mode == Mode::Private {
                let instant = Instant::take(self)?;
                return self.ordinal_at(instant.counters().sequence, ordinal)?.map(look).transpose();
            }
            if let Some(copied) = self.copy(&sighted)? {
                return look(copied.record()).map(Some);
            }
        }
    }

    /// A copy of the settings' record.
    pub(crate) fn read_settings(&self) -> Result<Option<Copied>> {
        let named = || Position(self.control.log.settings.load(Ordering::Acquire));
        loop {
            let position = named();
            if position == Position::NONE {
                return Ok(None);
            }
            if let Some(sighted) = self.sight(position, || named() == position)?
                && let Some(copied) = self.copy(&sighted)?
            {
                return Ok(Some(copied));
            }
        }
    }

    /// The stored options; nothing in a store whose maker was killed before it wrote them.
    pub(crate) fn settings(&self) -> Result<Option<Settings>> {
        self.read_settings()?.map(|copied| Archive::of(&copied.record()).node().read()).transpose()
    }

    /// Fails for a new key that tastypy could not go on with, in a store whose files are in its dialect.
    #[inline]
    pub(crate) fn require_storable(&self, key: &[u8]) -> Result<()> {
        if !crate::key::is_tuple(key) || self.settings()?.is_none_or(|settings| settings.key_dialect != KeyDialect::Tastypy) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidKey,
            format!(
                "{}: key {} is a tuple, and the files are kept so that tastypy can go on with them, which loses what follows a tuple; \
                 convert the store to KeyDialect::Json first (Pod::convert, tastypod convert)",
                self.directory.display(),
                shown(key)
            ),
        ))
    }

    /// The version of the newest record with an ordinal, the mark that its key is gone included.
    #[inline]
    pub(crate) fn ordinal_version(&self, ordinal: u64) -> Result<Option<u64>> {
        Ok(self.newest_of(ordinal)?.map(|sighted| sighted.head.version()))
    }

    /// The key of the newest record with an ordinal as of transaction `commit`, which the caller has pinned, if that is newer than
    /// `since`: of a value, or of the mark that it is gone.
    pub(crate) fn changed_key(&self, commit: u64, since: u64, ordinal: u64) -> Result<Option<Vec<u8>>> {
        let Some(newest) = self.newest_of(ordinal)? else { return Ok(None) };
        let record = self.back_to(commit, newest.position, &newest.head)?;
        Ok(record.filter(|record| record.version() > since && record.ordinal() == ordinal).map(|record| record.key().to_vec()))
    }

    /// Whether the newest record of a key is newer than a transaction, the mark that it is gone included.
    pub(crate) fn is_newer_than(&self, since: u64, hash: u64, key: &[u8]) -> Result<bool> {
        Ok(self.newest(hash, key)?.is_some_and(|(sighted, _)| sighted.head.version() > since))
    }

    #[inline]
    fn newest_of(&self, ordinal: u64) -> Result<Option<Sighted<'_>>> {
        loop {
            let Some(position) = self.ordinal_now(ordinal) else { return Ok(None) };
            if let Some(sighted) = self.sight(position, || self.ordinal_now(ordinal) == Some(position))?
                && sighted.is_still_there()
            {
                return Ok(Some(sighted));
            }
        }
    }

    /// The record of a key as of transaction `commit`, which the caller has pinned.
    pub(crate) fn get_at(&self, commit: u64, hash: u64, key: &[u8]) -> Result<Option<Record<'_>>> {
        if self.mode == Mode::Private {
            return self.get(hash, key);
        }
        let Some((newest, _)) = self.newest(hash, key)? else { return Ok(None) };
        Ok(self.back_to(commit, newest.position, &newest.head)?.filter(Record::is_set))
    }

    /// The record with an ordinal as of transaction `commit`, which the caller has pinned; nothing for a hole.
    #[inline]
    pub(crate) fn ordinal_at(&self, commit: u64, ordinal: u64) -> Result<Option<Record<'_>>> {
        if self.mode == Mode::Private {
            let record = self.ordinal_head(ordinal).map(|position| self.record(position)).transpose()?;
            return Ok(record.filter(Record::is_set));
        }
        let Some(newest) = self.newest_of(ordinal)? else { return Ok(None) };
        // Before this ordinal was given out the key had another, or was removed.
        Ok(self.back_to(commit, newest.position, &newest.head)?.filter(|record| record.is_set() && record.ordinal() == ordinal))
    }

    /// Walks back to the newest record that a pinned transaction covers. What was replaced after it is not taken.
    #[inline]
    fn back_to(&self, commit: u64, position: Position, head: &Head) -> Result<Option<Record<'_>>> {
        if head.version() <= commit {
            return self.record(position).map(Some);
        }
        let (mut position, mut version) = (head.previous(), head.version());
        while position != Position::NONE {
            let record = self.record(position)?;
            self.require_older(position, record.version(), version)?;
            if record.version() <= commit {
                return Ok(Some(record));
            }
            (position, version) = (record.previous(), record.version());
        }
        Ok(None)
    }

    /// The newest published record with an ordinal.
    #[inline]
    pub(crate) fn ordinal_head(&self, ordinal: u64) -> Option<Position> {
        if ordinal < self.order_bytes_ready() / order::bytes_for(1) { order::load(&self.order, ordinal) } else { None }
    }

    /// The same for a key that had the ordinal once, whichever it has now.
    #[inline(always)]
    fn ordinal_now(&self, ordinal: u64) -> Option<Position> {
        self.ordinal_head(ordinal).or_else(|| self.follow(ordinal))
    }

    #[cold]
    fn follow(&self, mut ordinal: u64) -> Option<Position> {
        let ordinals = self.order_bytes_ready() / order::bytes_for(1);
        while ordinal < ordinals {
            match order::load(&self.order, ordinal) {
                Some(position) => return Some(position),
                None => ordinal = order::forward(&self.order, ordinal)?,
            }
        }
        None
    }

    /// Where a loop over what is there now goes on that met no key at an ordinal.
    pub(crate) fn ordinal_after(&self, ordinal: u64) -> u64 {
        let is_there = ordinal < self.order_bytes_ready() / order::bytes_for(1);
        is_there.then(|| order::forward(&self.order, ordinal)).flatten().unwrap_or(ordinal + 1)
    }

    /// The first ordinal that is not below a loop's place and has a key, or is the end; the place may have moved.
    pub(crate) fn ordinal_from(&self, mut ordinal: u64, end: u64) -> u64 {
        fence(Ordering::Acquire);
        while ordinal < end && (self.ordinal_head(ordinal).is_none() || order::is_hole(&self.order, ordinal)) {
            ordinal = self.ordinal_after(ordinal);
        }
        ordinal
    }

    /// The newest record of a key in place. For the holder of the mutex, for whom that is the newest committed one, and for
    /// whoever is alone.
    #[inline]
    pub(crate) fn published(&self, hash: u64, key: &[u8]) -> Result<Option<(Position, Record<'_>)>> {
        let (_, table) = self.table()?;
        let mut hit = None;
        table.find(hash, table.place.words(), |position| {
            let record = self.record(position)?;
            let is_key = record.hash() == hash && record.key() == key;
            if is_key {
                hit = Some((position, record));
            }
            Ok::<bool, Error>(is_key)
        })?;
        Ok(hit)
    }

    /// The value's record of a key in place, under the same conditions.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Result<Option<Record<'_>>> {
        Ok(self.published(hash, key)?.map(|(_, record)| record).filter(Record::is_set))
    }

    /// The same, where a hint says; looked up where it is wrong.
    #[inline]
    pub(crate) fn get_hinted(&self, hint: Option<Hint>, hash: u64, key: &[u8]) -> Result<Option<Record<'_>>> {
        match self.confirm(hint)? {
            Some((_, entry)) => Ok(Some(self.record(entry.position())?).filter(Record::is_set)),
            None => self.get(hash, key),
        }
    }

    /// What a hint says, if it is still right. For the holder of the mutex.
    #[inline]
    pub(crate) fn confirm(&self, hint: Option<Hint>) -> Result<Option<(u64, Entry)>> {
        let Some(hint) = hint else { return Ok(None) };
        let (word, table) = self.table()?;
        Ok((word == hint.table && table.entry(hint.slot).0 == hint.entry).then_some((hint.slot, Entry(hint.entry))))
    }

    /// Brings what a write to this key will need into the cache, before the mutex is taken.
    #[inline]
    pub(crate) fn warm(&self, hash: u64, key: &[u8]) -> Option<Hint> {
        let (sighted, hint) = self.newest(hash, key).ok()??;
        self.order.prefetch(sighted.head.ordinal());
        Some(hint)
    }
}

/// What a read of a key came back with.
#[derive(Debug)]
pub(crate) enum Fetched {
    Nothing,
    Copied(Copied),
    /// Too long to be copied: to be read in place, under a pin.
    Long,
}
