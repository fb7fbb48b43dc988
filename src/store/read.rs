//! The way up for a read: commit word, table, head, then back to the newest version that the commit word covers.

use crate::error::Result;
use crate::index::order;
use crate::index::table::Found;
use crate::limits::VERSION_WALK_MAX;
use crate::log::record::Record;
use crate::segment::heap::Position;
use crate::store::shared::Shared;
use crate::sys::atomic::{Ordering, fence};

impl Shared {
    /// The newest committed record of a key, removals included.
    #[inline]
    pub(crate) fn head(&self, hash: u64, key: &[u8]) -> Result<Option<Record<'_>>> {
        loop {
            let commit = self.control.commit.newest();
            let Some((_, newest)) = self.published(hash, key)? else { return Ok(None) };
            let mut record = newest;
            let mut walked = 0;
            // A head may be published a moment before its commit; then an older version counts.
            loop {
                if record.version() <= commit {
                    return Ok(Some(record));
                }
                if record.previous() == Position::NONE {
                    return Ok(None);
                }
                walked += 1;
                if walked > VERSION_WALK_MAX && self.control.commit.newest() != commit {
                    break;
                }
                record = self.older(&record)?;
            }
        }
    }

    /// The record that a record replaces. It stands before it, so that every walk ends.
    #[inline]
    fn older<'a>(&'a self, record: &Record<'a>) -> Result<Record<'a>> {
        if record.previous() >= self.heap.position_of(record.bytes()) {
            return Err(self.damaged(record.previous(), "a record names one behind it as the one that it replaces"));
        }
        self.record(record.previous())
    }

    /// The value's record of a key, newest committed.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Result<Option<Record<'_>>> {
        Ok(self.head(hash, key)?.filter(Record::is_set))
    }

    /// The record of a key as of transaction `commit`.
    pub(crate) fn get_at(&self, commit: u64, hash: u64, key: &[u8]) -> Result<Option<Record<'_>>> {
        let Some((_, mut record)) = self.published(hash, key)? else { return Ok(None) };
        while record.version() > commit {
            if record.previous() == Position::NONE {
                return Ok(None);
            }
            record = self.older(&record)?;
        }
        Ok(Some(record).filter(Record::is_set))
    }

    /// The record with an ordinal as of transaction `commit`; nothing for a hole.
    #[inline]
    pub(crate) fn ordinal_at(&self, commit: u64, ordinal: u64) -> Result<Option<Record<'_>>> {
        let Some(position) = self.ordinal_head(ordinal) else { return Ok(None) };
        let mut record = self.record(position)?;
        while record.version() > commit {
            if record.previous() == Position::NONE {
                return Ok(None);
            }
            record = self.older(&record)?;
            if record.ordinal() != ordinal {
                // Before this ordinal was given out the key had another, or was removed.
                return Ok(None);
            }
        }
        Ok(Some(record).filter(Record::is_set))
    }

    /// The newest published record with an ordinal.
    #[inline]
    pub(crate) fn ordinal_head(&self, ordinal: u64) -> Option<Position> {
        let ready = self.control.ready.order.load(Ordering::Relaxed).min(crate::segment::words::MappedWords::map(&self.order).capacity());
        if order::bytes_for(ordinal + 1) > ready { None } else { order::load(&self.order, ordinal) }
    }

    /// The newest published record of a key, with its position: what the current table says. The caller loaded the commit
    /// word before; if a table was replaced in between and the key was missed, it is looked for again.
    #[inline]
    pub(crate) fn published(&self, hash: u64, key: &[u8]) -> Result<Option<(Position, Record<'_>)>> {
        loop {
            let (word, table) = self.table()?;
            let mut hit = None;
            let found = table.find(hash, table.place.words(), |position| {
                // Header, key and value span several cache lines: one wait for all.
                self.heap.prefetch(position);
                let record = self.record(position)?;
                let is_key = record.hash() == hash && record.key() == key;
                if is_key {
                    hit = Some((position, record));
                }
                Ok::<bool, crate::Error>(is_key)
            })?;
            if matches!(found, Found::At { .. }) {
                return Ok(hit);
            }
            fence(Ordering::Acquire);
            if self.control.table.current.load(Ordering::Relaxed) == word {
                return Ok(None);
            }
        }
    }

    /// Brings what a write to this key will need into the cache, before the mutex is taken.
    #[inline]
    pub(crate) fn warm(&self, hash: u64, key: &[u8]) {
        use crate::segment::words::Words;
        if let Ok(Some((_, record))) = self.published(hash, key) {
            self.order.prefetch(record.ordinal());
        }
    }
}
