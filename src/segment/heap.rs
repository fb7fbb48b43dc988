//! The mapped log as memory: sealed records are borrowed in place, new ones are copied in behind the last sealed one.
//!
//! **The rule that makes borrowing sound.** Bytes below the newest seal are never written again, by anybody. Positions
//! reach the index, and through it readers, only after their transaction was sealed (`store/commit.rs`), so whoever
//! follows a position from the index may borrow what stands there. Bytes behind the seal belong to the holder of the
//! mutex, who writes them through [`Heap::write`] and nobody reads them.

use crate::segment::words::prefetch_address;
use crate::sys::crash;
use crate::sys::map::FileMap;

/// A place in the log, counted in units of 8 bytes so that 40 bits name all of it. 0 names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    pub(crate) const NONE: Position = Position(0);

    pub(crate) fn from_bytes(bytes: u64) -> Position {
        debug_assert_eq!(bytes % 8, 0);
        Position(bytes / 8)
    }

    #[inline(always)]
    pub(crate) fn bytes(self) -> u64 {
        self.0.wrapping_mul(8)
    }

    pub(crate) fn plus(self, bytes: u64) -> Position {
        Position::from_bytes(self.bytes() + bytes)
    }
}

#[derive(Debug)]
pub(crate) struct Heap {
    map: FileMap,
}

impl Heap {
    pub(crate) fn new(map: FileMap) -> Heap {
        Heap { map }
    }

    pub(crate) fn map(&self) -> &FileMap {
        &self.map
    }

    /// Borrows `length` sealed bytes, or nothing where that would leave the first `ready` bytes of the log.
    #[inline(always)]
    pub(crate) fn sealed(&self, position: Position, length: u64, ready: u64) -> Option<&[u8]> {
        let start = position.bytes();
        let ready = ready.min(self.map.capacity());
        if start >= ready || length > ready - start {
            return None;
        }
        // SAFETY: inside the mapping and inside the file's allocated part by the check above. The bytes are sealed
        // (the module's rule), so nobody writes them while the borrow lives, which ends before the mapping does.
        Some(unsafe { std::slice::from_raw_parts(self.map.address().add(start as usize), length as usize) })
    }

    /// Copies `bytes` to a place behind the last sealed transaction. The caller holds the mutex, or is alone.
    #[inline]
    pub(crate) fn write(&self, position: Position, bytes: &[u8]) {
        let start = position.bytes();
        assert!(
            self.map.is_writable() && start.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.map.capacity()),
            "the writer reserved the space"
        );
        // SAFETY: inside the mapping by the check above; nobody reads or writes these bytes but the holder of the mutex,
        // since they are not sealed (the module's rule), and the source is this process's own memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.address().add(start as usize), bytes.len()) };
        crash::point("log written");
    }

    /// Asks for the first cache lines of a record ahead of its use.
    #[inline(always)]
    pub(crate) fn prefetch(&self, position: Position) {
        let address = self.map.address().wrapping_add(position.bytes() as usize);
        prefetch_address(address);
        prefetch_address(address.wrapping_add(64));
        prefetch_address(address.wrapping_add(128));
    }
}

impl Heap {
    /// Where bytes borrowed by [`Heap::sealed`] begin.
    pub(crate) fn position_of(&self, bytes: &[u8]) -> Position {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.map.address() as usize);
        assert!((offset as u64) < self.map.capacity(), "the bytes were borrowed from this heap");
        Position::from_bytes(offset as u64)
    }
}
