//! Insertion order: a word for each ordinal, which names the newest record that has it.
//!
//! ```text
//! bit 63: the key was removed (a hole)   bits 40..63: 0, kept for task states   bits 0..40: position   0: not yet used
//! ```
//!
//! An ordinal belongs to one key from its first word on, for ever: a key that is removed and added again gets a new one.

use crate::segment::heap::Position;
use crate::segment::words::Words;

const POSITION_MASK: u64 = (1 << 40) - 1;
const HOLE: u64 = 1 << 63;

/// The newest record with this ordinal, or nothing where the ordinal was never committed.
#[inline]
pub(crate) fn load(words: &impl Words, ordinal: u64) -> Option<Position> {
    let word = words.load(ordinal);
    (word & POSITION_MASK != 0).then_some(Position(word & POSITION_MASK))
}

/// Whether the newest record with this ordinal says that its key is gone.
pub(crate) fn is_hole(words: &impl Words, ordinal: u64) -> bool {
    words.load(ordinal) & HOLE != 0
}

/// Publishes the newest record with this ordinal. For the holder of the mutex.
#[inline]
pub(crate) fn store(words: &impl Words, ordinal: u64, position: Position, hole: bool) {
    words.store(ordinal, position.0 | if hole { HOLE } else { 0 });
}

/// Bytes of the order file that hold ordinals below `ordinals`.
pub(crate) fn bytes_for(ordinals: u64) -> u64 {
    ordinals * 8
}
