//! What the processes of one boot know of each segment of the log. Rebuilt with the index.

use crate::segment::heap::Segment;
use crate::sys::atomic::Word;
use crate::sys::map::FileMap;

/// One segment.
#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct Slot {
    /// The number that the log gave the segment when it entered it, ever higher; [`INSIDE`] in the further segments of a
    /// run; 0 while it is free. Changes before any byte of the segment does.
    pub(crate) order: Word,
    /// Bytes of the records that the order or the settings name, or more: a kill may leave it too high, never too low.
    pub(crate) live: Word,
    /// The transaction with which `live` became 0.
    pub(crate) retired: Word,
    /// Segments of the run that starts here.
    pub(crate) span: Word,
}

/// The order of a segment that belongs to the run before it.
pub(crate) const INSIDE: u64 = u64::MAX;

const SLOT_BYTES: u64 = size_of::<Slot>() as u64;

/// All slots, in a mapped file.
#[derive(Debug)]
pub(crate) struct Slots {
    map: FileMap,
}

impl Slots {
    pub(crate) fn new(map: FileMap) -> Slots {
        Slots { map }
    }

    pub(crate) fn map(&self) -> &FileMap {
        &self.map
    }

    /// Bytes of the file that hold the slots of the first `segments`.
    pub(crate) fn bytes_for(segments: u64) -> u64 {
        segments * SLOT_BYTES
    }

    /// A segment's slot, if it lies in the first `ready` bytes of the file.
    #[inline(always)]
    pub(crate) fn get(&self, segment: Segment, ready: u64) -> Option<&Slot> {
        if segment.0 >= ready.min(self.map.capacity()) / SLOT_BYTES {
            return None;
        }
        // SAFETY: inside the mapping and the file's allocated part by the check above, and aligned, since the mapping starts
        // at a page; other threads and processes access these bytes only as `Word`s.
        Some(unsafe { &*self.map.address().cast::<Slot>().add(segment.0 as usize) })
    }
}
