//! A file mapped as an array of 64-bit words that any process may read while one writes.

use crate::sys::atomic::{Ordering, Word};
use crate::sys::map::FileMap;

/// Shared words by number. The index is written against this, so that its steps can be checked on plain memory.
pub(crate) trait Words {
    /// The word's value; everything stored before the word was is visible afterwards.
    fn load(&self, at: u64) -> u64;
    /// Changes the word; everything stored before is visible to whoever loads it.
    fn store(&self, at: u64, value: u64);
    /// Asks for the word's cache line ahead of its use.
    fn prefetch(&self, _at: u64) {}
}

/// The words of a mapped file.
#[derive(Debug)]
pub(crate) struct MappedWords {
    map: FileMap,
}

impl MappedWords {
    pub(crate) fn new(map: FileMap) -> MappedWords {
        MappedWords { map }
    }

    pub(crate) fn map(&self) -> &FileMap {
        &self.map
    }

    /// Changes the word if it is what is expected, for what is written without the mutex too.
    pub(crate) fn exchange_if(&self, at: u64, expected: u64, value: u64) -> bool {
        self.word(at).exchange_if(expected, value)
    }

    #[inline(always)]
    fn word(&self, at: u64) -> &Word {
        assert!(at < self.map.capacity() / 8, "the index's bounds were checked when its descriptor was read");
        // SAFETY: in the mapping by the check above and aligned, since the mapping starts at a page; other threads and
        // processes access these bytes only as `Word`s. That the file reaches so far is kept by the ready counts.
        unsafe { &*self.map.address().cast::<Word>().add(at as usize) }
    }
}

impl Words for MappedWords {
    #[inline(always)]
    fn load(&self, at: u64) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }

    #[inline(always)]
    fn store(&self, at: u64, value: u64) {
        self.word(at).store(value, Ordering::Release);
    }

    #[inline(always)]
    fn prefetch(&self, at: u64) {
        prefetch_address(self.map.address().wrapping_add((at * 8) as usize));
    }
}

/// Asks for a cache line; a wrong address does no harm.
#[inline(always)]
pub(crate) fn prefetch_address(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching is a hint that never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
}
