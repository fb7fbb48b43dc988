//! The atomics of shared memory, imported through this one module so that a model checker can stand in.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::crash;

/// A 64-bit word of shared memory. Every change of it is a crash point.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Word(AtomicU64);

impl Word {
    #[cfg(loom)]
    pub(crate) fn new(value: u64) -> Word {
        Word(AtomicU64::new(value))
    }

    #[inline(always)]
    pub(crate) fn load(&self, ordering: Ordering) -> u64 {
        self.0.load(ordering)
    }

    /// For the holder of the store's mutex, which alone writes the word: no ordering needed.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn store(&self, value: u64, ordering: Ordering) {
        self.0.store(value, ordering);
        crash::point("word stored");
    }

    /// For words that only the holder of the mutex writes and whose readers do not depend on earlier stores. Still a
    /// release: after a kill the next owner must see the holder's stores in program order.
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.store(value, Ordering::Release);
    }

    /// For the bytes of records, which are nobody's business before they are sealed: no crash point, no order.
    #[inline(always)]
    pub(crate) fn fill(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn raise_to(&self, value: u64) {
        self.0.fetch_max(value, Ordering::AcqRel);
        crash::point("word raised");
    }

    /// Counts one up; returns what it was before.
    #[inline]
    pub(crate) fn increment(&self) -> u64 {
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        crash::point("word incremented");
        before
    }

    #[inline]
    pub(crate) fn exchange_if(&self, expected: u64, value: u64) -> bool {
        let done = self.0.compare_exchange(expected, value, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        crash::point("word exchanged");
        done
    }
}

/// A 32-bit word of shared memory, as the kernel's futexes are. Every change of it is a crash point.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct HalfWord(AtomicU32);

impl HalfWord {
    #[cfg(loom)]
    pub(crate) fn new(value: u32) -> HalfWord {
        HalfWord(AtomicU32::new(value))
    }

    #[inline(always)]
    pub(crate) fn load(&self, ordering: Ordering) -> u32 {
        self.0.load(ordering)
    }

    #[inline(always)]
    pub(crate) fn store(&self, value: u32, ordering: Ordering) {
        self.0.store(value, ordering);
        crash::point("half word stored");
    }

    #[inline]
    pub(crate) fn increment(&self, ordering: Ordering) {
        self.0.fetch_add(1, ordering);
        crash::point("half word incremented");
    }

    /// For the kernel, which sleeps on it.
    #[cfg(not(loom))]
    pub(super) fn futex(&self) -> &AtomicU32 {
        &self.0
    }
}

/// Between two looks at a word that another thread is changing.
#[inline(always)]
pub(crate) fn pause() {
    #[cfg(not(loom))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
