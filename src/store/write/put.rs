//! How records get into the log, behind its seal.

use crate::error::{Error, Result};
use crate::segment::heap::{Position, Segment};
use crate::store::core::shared::Shared;
use crate::sys::file;
use std::ops::Range;

/// Bytes of records that are completed before they are copied to the log: fewer than the nearest cache holds.
const RUN_BYTES_MAX: usize = 16 << 10;

/// How bytes get into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As fast as memory is, where there are blocks for the whole piece of the file that they lie in.
    Mapping,
    /// Where there may be a hole beside them, which may fail but ends no process; and what is going to be flushed, since a store through
    /// the mapping would make a whole huge page dirty.
    File,
}

/// Records that lie side by side in the batch and in the log, to be copied at once.
pub(super) struct Run {
    pub(super) at: Position,
    pub(super) bytes: Range<usize>,
}

impl Run {
    /// Takes the next record in, if it lies behind the others.
    pub(super) fn extend(&mut self, at: Position, bytes: Range<usize>) -> bool {
        let length = self.bytes.len();
        let is_next = length > 0 && self.bytes.end == bytes.start && self.at.plus(length as u64) == at;
        let fits = is_next && length < RUN_BYTES_MAX;
        if fits {
            self.bytes.end = bytes.end;
        }
        fits
    }

    pub(super) fn write(&self, shared: &Shared, batch: &[u8], way: Way) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { shared.put(self.at, &batch[self.bytes.clone()], way) }
    }
}

impl Shared {
    /// How a commit writes while the log ends in a segment.
    #[inline]
    pub(super) fn way(&self, current: Segment, is_durable: bool) -> Result<Way> {
        Ok(if is_durable || self.may_have_holes(current)? { Way::File } else { Way::Mapping })
    }

    /// Writes bytes behind the seal.
    #[inline]
    pub(crate) fn put(&self, at: Position, bytes: &[u8], way: Way) -> Result<()> {
        match way {
            Way::Mapping => self.heap.write(at, bytes),
            Way::File => {
                file::write_at(&self.files.log, bytes, at.bytes()).map_err(|error| Error::io("write", &self.log_path(), error))?;
            }
        }
        Ok(())
    }

    /// Forgets what a commit wrote that failed before its seal.
    #[cold]
    pub(super) fn take_back<R>(&self, error: Error) -> Result<R> {
        self.forget_unsealed(&self.tail()?)?;
        Err(error)
    }
}
