//! The way through the entries of one instant, in insertion order and from both ends.

use crate::error::Result;
use crate::log::record::Record;
use crate::store::core::shared::Shared;
use crate::store::read::snapshot::Instant;

/// From which end the next entry is taken.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Front,
    Back,
}

/// How many places of the order are asked for ahead.
const AHEAD: u64 = 16;

/// What is left of the way.
#[derive(Debug)]
pub(super) struct Walk {
    next: u64,
    /// Behind the last place that was not given out from the back.
    end: u64,
    /// Keys between them.
    left: u64,
}

impl Walk {
    pub(super) fn through(instant: &Instant) -> Walk {
        let counters = instant.counters();
        Walk { next: instant.first_ordinal(), end: counters.next_ordinal, left: counters.length }
    }

    /// How many items are left.
    pub(super) fn left(&self, instant: &Instant) -> usize {
        match instant.shared() {
            Ok(_) => self.left as usize,
            // The error is the only one.
            Err(_) => usize::from(self.next < self.end),
        }
    }

    /// The next record of a key from one of the ends, and its store.
    #[inline]
    pub(super) fn step<'i>(&mut self, instant: &'i Instant, from: End) -> Option<Result<(&'i Shared, Record<'i>)>> {
        let shared = match instant.shared() {
            Ok(shared) => &**shared,
            Err(error) => return (std::mem::replace(&mut self.next, self.end) < self.end).then_some(Err(error)),
        };
        while self.next < self.end {
            let (ordinal, ahead) = match from {
                End::Front => {
                    self.next += 1;
                    (self.next - 1, Some(self.next - 1 + AHEAD))
                }
                End::Back => {
                    self.end -= 1;
                    (self.end, self.end.checked_sub(AHEAD))
                }
            };
            if let Some(ahead) = ahead.and_then(|ordinal| shared.ordinal_head(ordinal)) {
                shared.heap.prefetch(ahead);
            }
            match shared.ordinal_at(instant.counters().sequence, ordinal) {
                Ok(None) => {}
                found => {
                    self.left = self.left.saturating_sub(1);
                    return found.transpose().map(|record| record.map(|record| (shared, record)));
                }
            }
        }
        None
    }
}
