//! A snapshot: one instant of the store, kept readable by a pin.

use crate::error::{Error, ErrorKind, Result};
use crate::log::record::Record;
use crate::segment::counters::Counters;
use crate::store::core::files::CONTROL;
use crate::store::core::membership::LOOPS;
use crate::store::core::shared::{Mode, Shared};
use crate::store::read::copied::Copied;
use crate::sys::atomic::{Ordering, fence};
use crate::sys::fork;
use hashbrown::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// The store as of one transaction. Dropping it gives the pin back.
#[derive(Debug)]
pub(crate) struct Instant<S: Deref<Target = Shared> = Arc<Shared>> {
    shared: S,
    counters: Counters,
    generation: u64,
}

impl<S: Deref<Target = Shared>> Instant<S> {
    /// The newest instant.
    pub(crate) fn take(shared: S) -> Result<Instant<S>> {
        shared.enter()?;
        loop {
            let counters = shared.counters()?;
            shared.membership.pin(counters.sequence)?;
            // Pairs with `Shared::floor`: whoever drops history either saw the pin, or raised the floor before this look.
            fence(Ordering::SeqCst);
            let dropped = shared.control.table.dropped.load(Ordering::Acquire);
            if dropped <= counters.sequence {
                return Ok(Instant { shared, counters, generation: fork::generation() });
            }
            shared.membership.unpin(counters.sequence);
            if dropped > shared.control.commit.newest() {
                return Err(shared.unusable(CONTROL, "it says that transactions are forgotten that are yet to come"));
            }
        }
    }

    /// The store, unless a fork made this a copy of the parent's snapshot.
    #[inline]
    pub(crate) fn shared(&self) -> Result<&S> {
        if self.generation == fork::generation() {
            return Ok(&self.shared);
        }
        Err(Error::new(
            ErrorKind::Closed,
            "this snapshot was taken before the fork and belongs to the parent process; take one of your own",
        ))
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Below it there is no key.
    pub(crate) fn first_ordinal(&self) -> u64 {
        self.shared.first_ordinal(self.counters.sequence)
    }
}

impl<S: Deref<Target = Shared>> Drop for Instant<S> {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            self.shared.membership.unpin(self.counters.sequence);
        }
    }
}

/// A loop over what is there now. It keeps no records, but its place in an order that is compacted meanwhile.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) shared: Arc<Shared>,
    /// The next ordinal to be looked at.
    pub(crate) next: u64,
    /// Hashes of the keys that were looked at: one that is removed and set again gets another ordinal, and comes once all the same.
    seen: HashSet<u64, BuildHasherDefault<AsItIs>>,
    generation: u64,
}

/// Hashes of keys are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Loop {
    pub(crate) fn begin(shared: Arc<Shared>) -> Result<Loop> {
        shared.enter()?;
        shared.membership.pin(LOOPS)?;
        let next = shared.first_ordinal(shared.control.commit.newest());
        Ok(Loop { shared, next, seen: HashSet::default(), generation: fork::generation() })
    }

    /// Looks at the next key that is there; nothing at the end, which may be none when keys are added.
    pub(crate) fn step<R>(&mut self, look: impl Fn(&Shared, Record<'_>) -> Result<R>) -> Result<Option<R>> {
        self.enter()?;
        while self.next < self.shared.counters()?.next_ordinal {
            let ordinal = self.next;
            // On an error it goes on behind.
            self.next += 1;
            match self.look_at(ordinal, &look)? {
                Some(Some(seen)) => return Ok(Some(seen)),
                Some(None) => {}
                None => self.next = self.shared.ordinal_after(ordinal),
            }
        }
        Ok(None)
    }

    /// Looks at the next of those keys whose ordinals are in a set, of which `member` finds the first that is not below its
    /// argument; those between are not looked at. As [`step`](Loop::step) otherwise.
    pub(crate) fn step_among<R>(
        &mut self,
        member: impl Fn(&Shared, u64) -> Result<Option<u64>>,
        look: impl Fn(&Shared, Record<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.enter()?;
        loop {
            let end = self.shared.counters()?.next_ordinal;
            let from = self.shared.ordinal_from(self.next, end);
            let found = member(&self.shared, from)?.filter(|ordinal| *ordinal < end);
            // Keys get other ordinals from the last to the first: while the one at the place has not, none before it has.
            self.next = self.shared.ordinal_from(from, end);
            if self.next != from {
                continue;
            }
            let Some(ordinal) = found else { return Ok(None) };
            self.next = ordinal + 1;
            match self.look_at(ordinal, &look)? {
                Some(Some(seen)) => return Ok(Some(seen)),
                Some(None) => {}
                None => self.next = self.shared.ordinal_after(ordinal),
            }
        }
    }

    /// Looks at the key with an ordinal: nothing where there is none, or where it was looked at before.
    fn look_at<R>(&mut self, ordinal: u64, look: impl Fn(&Shared, Record<'_>) -> Result<R>) -> Result<Option<Option<R>>> {
        let (shared, seen) = (&self.shared, &mut self.seen);
        shared.read_ordinal(ordinal, |record| if seen.insert(record.hash()) { look(shared, record).map(Some) } else { Ok(None) })
    }

    fn enter(&mut self) -> Result<()> {
        if self.generation != fork::generation() {
            // A child goes on where its parent was, in its own name.
            self.shared.enter()?;
            self.shared.membership.pin(LOOPS)?;
            self.generation = fork::generation();
        }
        Ok(())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            self.shared.membership.unpin(LOOPS);
        }
    }
}

impl Shared {
    /// A copy of the value's record of a key, however long it is: what is pinned for it is given back at once.
    pub(crate) fn copy_of(&self, hash: u64, key: &[u8]) -> Result<Option<Copied>> {
        if self.mode == Mode::Private {
            return Ok(self.get(hash, key)?.map(|record| Copied::of_record(&record)));
        }
        let instant = Instant::take(self)?;
        Ok(self.get_at(instant.counters().sequence, hash, key)?.map(|record| Copied::of_record(&record)))
    }

    /// The first ordinal that a snapshot may have a key at.
    pub(crate) fn first_ordinal(&self, commit: u64) -> u64 {
        let order = &self.control.order;
        // Stored in the other order: with a new `first` comes its `since`.
        let (low, first) = (order.low.load(Ordering::Acquire), order.first.load(Ordering::Acquire));
        if commit >= order.since.load(Ordering::Acquire) { low.max(first) } else { low }
    }
}
