//! Insertion order: a word for each ordinal, which names the newest record that has it.
//!
//! ```text
//! bit 63: the key was removed (a hole)   bits 45..62: mark   bits 40..45: the task that it is   bits 0..40: position
//! bits 62 and 63: the key has another ordinal by now, a higher one: bits 0..40
//! 0: not yet used, or nobody needs to know any more what became of it
//! ```
//!
//! An ordinal belongs to one key from its first word on, for ever: a key that is removed and added again gets a new one, and so
//! does every key when the order is compacted.

use crate::log::record::Standing;
use crate::segment::heap::Position;
use crate::segment::words::Words;

const POSITION_MASK: u64 = (1 << 40) - 1;
const HOLE: u64 = 1 << 63;
const FORWARD: u64 = 3 << 62;
const STANDING_AT: u32 = 40;
const MARK_AT: u32 = 45;
/// Marks are below this.
pub(crate) const MARKS: u64 = 1 << 17;

/// In a tracker: how a task stands, and its place in the table of claims, or the low bits of its turn in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TaskWord {
    pub(crate) standing: Standing,
    pub(crate) mark: u64,
}

impl TaskWord {
    fn encode(self) -> u64 {
        u64::from(self.standing.0 & 31) << STANDING_AT | (self.mark % MARKS) << MARK_AT
    }
}

/// The task with this ordinal.
#[inline]
pub(crate) fn task(words: &impl Words, ordinal: u64) -> TaskWord {
    let word = words.load(ordinal);
    TaskWord { standing: Standing((word >> STANDING_AT & 31) as u8), mark: word >> MARK_AT & (MARKS - 1) }
}

/// The newest record with this ordinal, or nothing where there is none.
#[inline]
pub(crate) fn load(words: &impl Words, ordinal: u64) -> Option<Position> {
    let word = words.load(ordinal);
    (word & POSITION_MASK != 0 && word & FORWARD != FORWARD).then_some(Position(word & POSITION_MASK))
}

/// The ordinal that took this one's place.
#[inline]
pub(crate) fn forward(words: &impl Words, ordinal: u64) -> Option<u64> {
    let word = words.load(ordinal);
    // Ever higher, so that every walk ends.
    (word & FORWARD == FORWARD && word & POSITION_MASK > ordinal).then_some(word & POSITION_MASK)
}

/// Says that another ordinal took this one's place. For the holder of the mutex.
pub(crate) fn set_forward(words: &impl Words, ordinal: u64, other: u64) {
    words.store(ordinal, FORWARD | other);
}

/// Whether nothing is known of an ordinal.
pub(crate) fn is_empty(words: &impl Words, ordinal: u64) -> bool {
    words.load(ordinal) == 0
}

/// Forgets an ordinal. For the holder of the mutex.
pub(crate) fn clear(words: &impl Words, ordinal: u64) {
    words.store(ordinal, 0);
}

/// Whether the newest record with this ordinal says that its key is gone.
pub(crate) fn is_hole(words: &impl Words, ordinal: u64) -> bool {
    words.load(ordinal) & FORWARD == HOLE
}

/// Publishes the newest record with this ordinal. For the holder of the mutex.
#[inline]
pub(crate) fn store(words: &impl Words, ordinal: u64, position: Position, hole: bool, task: TaskWord) {
    words.store(ordinal, position.0 | task.encode() | if hole { HOLE } else { 0 });
}

/// Bytes of the order file that hold ordinals below `ordinals`.
pub(crate) fn bytes_for(ordinals: u64) -> u64 {
    ordinals * 8
}
