//! Growth without a pause: the next table is filled beside the current one, a few slots with each commit.
//!
//! Under the mutex, in this order: `begin` fixes the next table's place and the floor below which removed keys may be
//! dropped; each `step` raises `copying`, copies the entries of some slots and then raises `migrated`; whoever changes an entry
//! in a slot below `copying` changes it in both tables; when all slots are copied, the next table becomes [table] the current one
//! by one store. Readers only ever use the current table, which is complete at every moment.
//!
//! A kill between any two stores leaves: a `next` without copied slots (goes on), slots copied but not counted (copied
//! again: the same key is found and overwritten), or the new table current and `next` still set (ended by `settle`).
//!
//! Homes are the hash's top bits, so slots are copied in ascending order of their new homes and the next table is
//! zeroed just ahead of the copy: it may lie on the remains of an old table, of which a late reader may still be
//! looking at entries. Those entries name records that were the newest at some moment after the reader took its
//! commit word, and what it misses it looks for again in the table that is current then.

use super::table::{Descriptor, Entry, Found, SLACK, SLOTS_LOG2_MAX, SLOTS_LOG2_MIN, Table, VOID};
use crate::segment::control;
use crate::segment::heap::Position;
use crate::segment::words::Words;
use crate::sys::atomic::Ordering;

/// Slots copied for each key that was added, and for each commit.
pub(crate) const SLOTS_PER_INSERT: u64 = 16;
/// Words zeroed at once, ahead of the copy.
const ZERO_AHEAD: u64 = 1024;

/// What growing needs to know of a record, read from the log.
pub(crate) struct Fact {
    pub(crate) hash: u64,
    pub(crate) version: u64,
}

/// The records that entries name.
pub(crate) trait Records<E> {
    fn fact(&self, position: Position) -> Result<Fact, E>;
    fn same_key(&self, one: Position, other: Position) -> Result<bool, E>;
    fn prefetch(&self, position: Position);
}

/// The current and the next table of an index. For the holder of the mutex.
#[derive(Debug)]
pub(crate) struct Growth<'a, W> {
    pub(crate) words: &'a W,
    pub(crate) state: &'a control::Table,
}

impl<W: Words> Growth<'_, W> {
    pub(crate) fn current(&self) -> Option<Table<'_, W>> {
        Descriptor::decode(self.state.current.get()).map(|place| Table { words: self.words, place })
    }

    /// The table being filled, if there is one.
    pub(crate) fn next(&self) -> Option<Table<'_, W>> {
        Descriptor::decode(self.state.next.get()).map(|place| Table { words: self.words, place })
    }

    /// Whether the current table is so full that the next should be begun: five eighths, so that it is complete before
    /// seven tenths are full. Denser tables cost a few more looks into the same cache line, sparser ones a cache miss more.
    #[inline]
    pub(crate) fn is_due(&self, place: Descriptor) -> bool {
        self.state.occupied.get() * 8 >= place.slots() * 5
    }

    /// Whether `more` new keys fit, whatever becomes of the next table: up to three quarters.
    #[inline]
    pub(crate) fn has_room(&self, place: Descriptor, more: u64) -> bool {
        (self.state.occupied.get() + more) * 4 <= place.slots() * 3
    }

    /// Where the next table for `kept` entries would lie.
    pub(crate) fn plan(&self, current: Descriptor, kept: u64) -> Option<Descriptor> {
        // At least two slots an entry: filled to a half, it is not due again soon. And at least a quarter of the
        // current size: until all slots are copied, a sixteenth of them may come in new keys, which is a quarter again.
        let wanted = (kept.max(1) * 2).next_power_of_two().trailing_zeros().max(SLOTS_LOG2_MIN).max(current.slots_log2 - 2);
        (wanted <= SLOTS_LOG2_MAX).then(|| current.successor(wanted, self.state.punching.get()))
    }

    /// Whether a batch of `inserts` is too large to be taken into a next table that is still being filled.
    pub(crate) fn must_finish_before(&self, inserts: u64) -> bool {
        self.next().is_some_and(|next| inserts > next.place.slots() / 16)
    }

    /// Starts to fill the next table. `floor`: no reader needs a key that was removed at or before this version.
    pub(crate) fn begin(&self, next: Descriptor, floor: u64) {
        self.state.old.set(0);
        self.state.floor.set(floor);
        self.state.migrated.set(0);
        self.state.copying.set(0);
        self.state.zeroed.set(0);
        self.state.next_occupied.set(0);
        self.state.next.set(next.encode());
    }

    /// Copies up to `count` slots.
    pub(crate) fn step<E>(&self, count: u64, records: &impl Records<E>) -> Result<(), E> {
        let (Some(current), Some(next)) = (self.current(), self.next()) else { return Ok(()) };
        let first = self.state.migrated.get();
        let end = (first + count).min(current.place.words());
        for slot in first..(end + SLOTS_PER_INSERT).min(current.place.words()) {
            let entry = current.entry(slot);
            if entry.0 != 0 && entry != VOID {
                records.prefetch(entry.position());
            }
        }
        // After a kill in the middle, what was copied already follows every change.
        self.state.copying.set(end);
        let floor = self.state.floor.get();
        for slot in first..end {
            let entry = current.entry(slot);
            if entry.0 == 0 || entry == VOID {
                continue;
            }
            let Fact { hash, version } = records.fact(entry.position())?;
            if !(entry.is_dead() && version <= floor) {
                self.copy(&next, hash, entry, |one, other| records.same_key(one, other))?;
            }
        }
        self.state.migrated.set(end);
        if end == current.place.words() {
            self.finish(&next);
        }
        Ok(())
    }

    fn finish(&self, next: &Table<'_, W>) {
        self.zero_to(next, next.place.words());
        self.state.occupied.set(self.state.next_occupied.get());
        let old = self.state.current.get();
        // [table]
        self.state.current.store(next.place.encode(), Ordering::Release);
        self.state.old.set(old);
        self.state.next.set(0);
    }

    /// Ends what a kill interrupted between the stores that end a growth.
    pub(crate) fn settle(&self) {
        if self.state.next.get() == self.state.current.get() {
            self.state.next.set(0);
        } else if let (Some(current), Some(next)) = (self.current(), self.next())
            && self.state.migrated.get() == current.place.words()
        {
            self.finish(&next);
        }
    }

    /// Puts an entry into the next table. Another entry for the same key may stand there, from a step that was killed
    /// before it was counted: it is overwritten, since the current table may have changed in between.
    fn copy<E>(
        &self,
        next: &Table<'_, W>,
        hash: u64,
        entry: Entry,
        mut same_key: impl FnMut(Position, Position) -> Result<bool, E>,
    ) -> Result<(), E> {
        match self.find_zeroed(next, hash, |position| same_key(position, entry.position()))? {
            Found::At { slot, .. } => next.set(slot, entry),
            Found::Vacant { slot } => {
                self.state.next_occupied.set(self.state.next_occupied.get() + 1);
                next.set(slot, entry);
            }
            Found::Limit => unreachable!("the next table has room and its hashes are seeded"),
        }
        Ok(())
    }

    /// Looks in the next table, zeroing it as far as the probe goes.
    pub(crate) fn find_zeroed<E>(
        &self,
        next: &Table<'_, W>,
        hash: u64,
        mut is_key: impl FnMut(Position) -> Result<bool, E>,
    ) -> Result<Found, E> {
        self.zero_to(next, (next.place.home(hash) + 1).min(next.place.words()));
        loop {
            let zeroed = self.state.zeroed.get();
            match next.find(hash, zeroed, &mut is_key)? {
                Found::Limit if zeroed < next.place.words() => self.zero_to(next, zeroed + 1),
                found => return Ok(found),
            }
        }
    }

    fn zero_to(&self, next: &Table<'_, W>, needed: u64) {
        let zeroed = self.state.zeroed.get();
        if needed <= zeroed {
            return;
        }
        let end = (needed + ZERO_AHEAD).min(next.place.words());
        for slot in zeroed..end {
            next.set(slot, Entry(0));
        }
        self.state.zeroed.set(end);
    }
}

const _: () = assert!(SLACK < ZERO_AHEAD);
