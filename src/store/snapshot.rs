//! A snapshot: one instant of the store, kept readable by a pin.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::counters::Counters;
use crate::segment::heap::Position;
use crate::store::open::CONTROL;
use crate::store::shared::{Mode, Shared};
use crate::sys::atomic::{Ordering, fence};
use crate::sys::fork;
use std::fs::File;
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
}

impl<S: Deref<Target = Shared>> Drop for Instant<S> {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            self.shared.membership.unpin(self.counters.sequence);
        }
    }
}

impl Shared {
    /// The value's record of a key, with a pin that lasts as long as the file is open in any process; none is needed for
    /// a store that nobody else writes.
    pub(crate) fn hold(&self, hash: u64, key: &[u8]) -> Result<Option<(Position, Option<File>)>> {
        if self.mode == Mode::Private {
            return Ok(self.published(hash, key)?.map(|(at, _)| (at, None)));
        }
        let instant = Instant::take(self)?;
        let commit = instant.counters().sequence;
        let Some(record) = self.get_at(commit, hash, key)? else { return Ok(None) };
        let at = self.heap.position_of(record.bytes());
        Ok(Some((at, Some(self.membership.lasting_pin(&self.live(), commit)?))))
    }
}
