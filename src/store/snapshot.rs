//! A snapshot: one instant of the store, kept readable by a pin.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::counters::Counters;
use crate::store::shared::Shared;
use crate::sys::atomic::{Ordering, fence};
use crate::sys::fork;
use std::sync::Arc;

/// The store as of one transaction. Dropping it gives the pin back.
#[derive(Debug)]
pub(crate) struct Instant {
    shared: Arc<Shared>,
    counters: Counters,
    generation: u64,
}

impl Instant {
    /// The newest instant.
    pub(crate) fn take(shared: &Arc<Shared>) -> Result<Instant> {
        shared.enter()?;
        loop {
            let counters = shared.control.commit.read();
            shared.membership.pin(counters.sequence)?;
            // Pairs with `Shared::floor`: whoever drops history either saw the pin, or raised the floor before this look.
            fence(Ordering::SeqCst);
            if shared.control.table.dropped.load(Ordering::Acquire) <= counters.sequence {
                return Ok(Instant { shared: Arc::clone(shared), counters, generation: fork::generation() });
            }
            shared.membership.unpin(counters.sequence);
        }
    }

    /// The store, unless a fork made this a copy of the parent's snapshot.
    #[inline]
    pub(crate) fn shared(&self) -> Result<&Arc<Shared>> {
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

impl Drop for Instant {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            self.shared.membership.unpin(self.counters.sequence);
        }
    }
}
