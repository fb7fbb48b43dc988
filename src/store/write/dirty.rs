//! Which keys changed since the shards were saved: those whose newest record is newer than `control.log.saved`.
//!
//! How many they are is counted with each commit: a key is dirtied by the record whose predecessor is not newer. While somebody
//! saves as of a later transaction, `saving`, the same is counted for that, so that when he is done one store makes it the
//! count that holds. A kill leaves the counts too high, never too low, until the next saving ends.

use crate::error::Result;
use crate::log::record::{Kind, Record};
use crate::segment::heap::Position;
use crate::store::core::shared::Shared;
use crate::store::write::locked::Locked;
use crate::sys::atomic::Ordering;
use std::time::Duration;

/// Keys that a batch dirties: since `saved`, and since `saving`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dirtied {
    saved: u64,
    saving: u64,
}

impl Shared {
    /// Counts a key whose newest record has this version; 0 for none.
    #[inline]
    pub(crate) fn count_dirtied(&self, before: u64, dirtied: &mut Dirtied) {
        let log = &self.control.log;
        dirtied.saving += u64::from(before <= log.saving.get());
        dirtied.saved += u64::from(before <= log.saved.get());
    }

    /// Notes what a batch dirties, before it is sealed. For the holder of the mutex.
    #[inline]
    pub(crate) fn note_dirtied(&self, dirtied: Dirtied) {
        if dirtied != Dirtied::default() {
            let log = &self.control.log;
            log.dirty.set(log.dirty.get() + dirtied.saved);
            log.dirty_next.set(log.dirty_next.get() + dirtied.saving);
        }
    }

    /// The same for a single record that replaces one.
    #[inline(always)]
    pub(crate) fn note_changed(&self, before: u64) {
        // What is not newer than `saved` is not newer than `saving`.
        if before <= self.control.log.saving.get() {
            self.note_changed_since_saving(before);
        }
    }

    #[inline(never)]
    fn note_changed_since_saving(&self, before: u64) {
        let mut dirtied = Dirtied::default();
        self.count_dirtied(before, &mut dirtied);
        self.note_dirtied(dirtied);
    }

    /// The transaction up to which the shards are saved.
    pub(crate) fn saved(&self) -> u64 {
        self.control.log.saved.load(Ordering::Acquire)
    }

    /// Whether what stands at a position may be newer than what is saved. A segment that is entered anew gets a higher number.
    #[inline]
    pub(crate) fn may_be_unsaved(&self, position: Position) -> Result<bool> {
        Ok(self.slot(position.segment())?.order.load(Ordering::Acquire) >= self.control.log.saved_order.load(Ordering::Acquire))
    }

    /// How many keys changed since.
    #[inline(always)]
    pub(crate) fn dirty_length(&self) -> u64 {
        self.control.log.dirty.load(Ordering::Relaxed)
    }

    /// Whether a mark of a removed key is all that says that a shard is to lose it. For the holder of the mutex.
    pub(crate) fn is_unsaved_removal(&self, mark: &Record<'_>) -> bool {
        let log = &self.control.log;
        // Where places count from another ordinal since, all shards are written anew.
        mark.version() > log.saved.get() && (self.control.order.first.get()..log.saved_ordinals.get()).contains(&mark.ordinal())
    }

    /// Begins to count what is changed after transaction `saving`, the newest.
    pub(crate) fn begin_saving(&self, _locked: &Locked<&Shared>, saving: u64) -> Result<()> {
        let log = &self.control.log;
        // What comes from here on stands in this segment or in one that is entered later.
        log.saving_order.set(self.slot(self.tail()?.cursor.segment)?.order.get());
        log.saving_ordinals.set(self.counters()?.next_ordinal);
        log.saving.set(saving);
        log.dirty_next.set(0);
        Ok(())
    }

    /// What is not newer than `saving` is saved.
    pub(crate) fn end_saving(&self, _locked: &Locked<&Shared>) {
        let log = &self.control.log;
        log.saved.store(log.saving.get(), Ordering::Release);
        log.saved_order.store(log.saving_order.get(), Ordering::Release);
        log.saved_ordinals.set(log.saving_ordinals.get());
        log.dirty.set(log.dirty_next.get());
        log.marks_kept.set(0);
    }

    /// Says up to which transaction the shards are saved, and counts the rest. The caller holds the mutex or is alone.
    pub(crate) fn note_saved(&self, saved: u64) -> Result<()> {
        let log = &self.control.log;
        if (log.saved.get(), log.saving.get()) == (saved, saved) {
            return Ok(());
        }
        let mut dirty = 0;
        if self.control.commit.newest() > saved {
            self.for_each_changed(saved, |_| {
                dirty += 1;
                Ok(())
            })?;
        }
        log.marks_kept.set(0);
        log.dirty.set(dirty);
        log.dirty_next.set(dirty);
        log.saving.set(saved);
        // Where the log was then is not known, nor which keys there were.
        let ordinals = self.counters()?.next_ordinal;
        log.saved_ordinals.set(ordinals);
        log.saving_ordinals.set(ordinals);
        log.saved_order.set(0);
        log.saving_order.set(0);
        log.saved.store(saved, Ordering::Release);
        Ok(())
    }

    /// The same for what somebody saved who was killed before he said so.
    pub(crate) fn note_saved_by_another(&self, saved: u64, timeout: Duration) -> Result<()> {
        let _locked = Locked::new(self, timeout)?;
        // It is a transaction of this very log: no other is ever saved beside it.
        self.note_saved(saved.min(self.control.commit.newest()))
    }

    /// Looks at the newest record of each ordinal that is newer than a transaction, in order: at values, and at the marks of removed
    /// keys. The caller holds the mutex or is alone.
    pub(crate) fn for_each_changed(&self, since: u64, mut look: impl FnMut(Record<'_>) -> Result<()>) -> Result<()> {
        let counters = self.counters()?;
        for ordinal in self.first_ordinal(counters.sequence)..counters.next_ordinal {
            if let Some(ahead) = self.ordinal_head(ordinal + 8) {
                self.heap.prefetch(ahead);
            }
            let Some(position) = self.ordinal_head(ordinal) else { continue };
            let record = self.record(position)?;
            if record.version() > since && record.kind() != Kind::Settings {
                look(record)?;
            }
        }
        Ok(())
    }
}
