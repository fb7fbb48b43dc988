//! Holds on automatic saving, and what a process remembers of it. A hold is a flag in the holder's place in the process table, so it
//! ends with him.

use crate::store::core::shared::Shared;
use crate::sys::{clock, process};
use std::sync::atomic::Ordering;

/// For how long a hold of another process is taken for granted.
const SEEN_NANOSECONDS: u64 = 10_000_000;

impl Shared {
    /// Begins or ends this process's hold.
    pub(crate) fn set_hold(&self, holds: bool) {
        if let Some(entry) = self.control.processes.get(self.membership.slot() as usize) {
            entry.holds.set(u64::from(holds));
        }
    }

    /// Whether any living process holds. The end of another one's hold is seen a moment late: to look at all processes takes its time.
    pub(crate) fn is_saving_held(&self) -> bool {
        let own = self.control.processes.get(self.membership.slot() as usize);
        if own.is_some_and(|entry| entry.holds.get() != 0) {
            return true;
        }
        let now = clock::coarse_nanoseconds();
        if now < self.auto.held_until.load(Ordering::Relaxed) {
            return true;
        }
        let is_held = self.is_held_by_others();
        if is_held {
            self.auto.held_until.store(now + SEEN_NANOSECONDS, Ordering::Relaxed);
        }
        is_held
    }

    fn is_held_by_others(&self) -> bool {
        let entries = self.control.processes.iter().enumerate();
        entries
            .filter(|(_, entry)| entry.holds.get() != 0)
            .any(|(slot, _)| self.membership.identity_in(self.control, slot as u64).is_some_and(|identity| !process::is_dead(identity)))
    }
}
