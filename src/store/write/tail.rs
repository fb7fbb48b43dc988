//! Where the log ends, and where a batch will lie behind it.

use crate::log::batch::{Cursor, Entered, JUMP_BYTES};
use crate::segment::counters::Counters;
use crate::segment::heap::{Position, Segment};

/// Where the log ends, and what stands there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) cursor: Cursor,
    pub(crate) counters: Counters,
    pub(crate) fingerprint: u64,
}

/// Where a batch will lie.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) entered: Vec<Entered>,
    pub(crate) last: Position,
    pub(crate) end: Cursor,
}

impl Placement {
    /// Bytes of the log that must be there before the batch is written: with the jump by which its end is left.
    pub(crate) fn log_bytes(&self) -> u64 {
        let mut bytes = self.end.at.bytes() + JUMP_BYTES;
        for entered in &self.entered {
            bytes = bytes.max(entered.from.bytes() + JUMP_BYTES);
            let is_last = entered.segment == self.end.segment;
            let last_head = Segment(entered.segment.0 + entered.span - 1).first();
            bytes = bytes.max(if is_last { last_head } else { entered.segment.end(entered.span) }.bytes());
        }
        bytes
    }

    /// The runs of segments that the batch enters.
    pub(crate) fn entered(&self) -> impl Iterator<Item = (Segment, u64)> {
        self.entered.iter().map(|entered| (entered.segment, entered.span))
    }

    /// One more than the highest segment that the batch enters.
    pub(crate) fn segments(&self) -> u64 {
        self.entered.iter().map(|entered| entered.segment.0 + entered.span).max().unwrap_or(0)
    }
}
