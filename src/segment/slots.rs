//! What the processes of one boot know of each segment of the log. Rebuilt with the index.

use crate::segment::heap::Segment;
use crate::sys::atomic::{Ordering, Word};
use crate::sys::map::FileMap;
use crate::sys::process::Identity;

/// One segment.
#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct Slot {
    /// The number that the log gave the segment when it entered it, ever higher; or that it is not in the log, see [`State`].
    /// Changes before any byte of the segment does.
    pub(crate) order: Word,
    /// Bytes of the records that the order or the settings name, or more: a kill may leave it too high, never too low.
    pub(crate) live: Word,
    /// The transaction with which `live` became 0; kept while it is free.
    pub(crate) retired: Word,
    /// Segments of the run that starts here.
    pub(crate) span: Word,
}

/// The order of a segment that belongs to the run before it.
pub(crate) const INSIDE: u64 = u64::MAX;
/// The order of a free segment whose blocks were given back.
pub(crate) const PUNCHED: u64 = u64::MAX - 1;
/// Set in the order of a free segment whose blocks a process is giving back or getting: its pid and start time are below.
const PUNCHING: u64 = 1 << 63;
const TICKS_BITS: u32 = 41;

/// What a segment's order says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing in it is needed; it has its blocks.
    Free,
    /// The same, without blocks.
    Punched,
    /// The same; this process is giving its blocks back, or getting some for it. Nobody takes it meanwhile: a process that is stopped on
    /// the way may go on at any time.
    Punching(Identity),
    /// Part of the log, with this number.
    InLog(u64),
    /// A further part of the run before it.
    Inside,
}

impl State {
    #[inline]
    pub(crate) fn of(order: u64) -> State {
        match order {
            0 => State::Free,
            INSIDE => State::Inside,
            PUNCHED => State::Punched,
            _ if order & PUNCHING != 0 => {
                State::Punching(Identity { pid: (order >> TICKS_BITS & 0x3f_ffff) as u32, started_ticks: order & ((1 << TICKS_BITS) - 1) })
            }
            _ => State::InLog(order),
        }
    }

    /// Whether the log may enter it.
    pub(crate) fn is_free(self) -> bool {
        matches!(self, State::Free | State::Punched)
    }
}

/// Whether it is a number in the log: such a one never comes again.
#[inline(always)]
pub(crate) fn is_in_log(order: u64) -> bool {
    order.wrapping_sub(1) < PUNCHING - 1
}

/// The order of a segment whose blocks this process gives back or gets.
pub(crate) fn punching(process: Identity) -> u64 {
    PUNCHING | u64::from(process.pid) << TICKS_BITS | process.started_ticks & ((1 << TICKS_BITS) - 1)
}

const SLOT_BYTES: u64 = size_of::<Slot>() as u64;

/// All slots, in a mapped file.
#[derive(Debug)]
pub(crate) struct Slots {
    map: FileMap,
}

impl Slot {
    pub(crate) fn state(&self) -> State {
        State::of(self.order.load(Ordering::Acquire))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_in_the_log() {
        for (order, is_number) in [
            (0, false),
            (1, true),
            (PUNCHING - 1, true),
            (PUNCHING, false),
            (punching(Identity { pid: 1, started_ticks: 1 }), false),
            (PUNCHED, false),
            (INSIDE, false),
        ] {
            assert_eq!(is_in_log(order), is_number, "{order:x}");
            assert_eq!(matches!(State::of(order), State::InLog(_)), is_number, "{order:x}");
        }
    }
}
