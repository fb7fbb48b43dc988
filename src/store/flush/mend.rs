//! After a flush that failed, or whose outcome nobody knows: whatever the log got since the horizon is written again.
//!
//! The system may have marked pages as clean that it could not write, and tell nobody who opens the log later. So the bytes are
//! read and written as they are, which makes the pages dirty again, through a file that was opened before: what fails from
//! then on is told to it. What was thrown out of memory before it was on the disk comes back as it was long ago: the records are
//! checked.

use crate::error::{Error, Result};
use crate::log::header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::scan;
use crate::segment::heap::{Position, Segment};
use crate::segment::slots::State;
use crate::store::core::shared::Shared;
use crate::store::write::locked::Locked;
use crate::sys::atomic::Ordering;
use crate::sys::file;
use std::fs::File;
use std::time::Duration;

/// Bytes that are written again under one hold of the mutex.
const PIECE_BYTES: u64 = 256 * 1024;

/// A segment that holds something newer than the horizon.
struct Unsure {
    order: u64,
    segment: Segment,
    span: u64,
    header: SegmentHeader,
}

impl Shared {
    /// Brings everything newer than transaction `horizon` to the disk, whatever became of it before. Returns the open file that
    /// will tell of all failures from then on.
    pub(crate) fn mend(&self, horizon: u64, timeout: Duration) -> Result<File> {
        let opened = self.log_opened_again()?;
        let unsure = {
            let _locked = Locked::new(self, timeout)?;
            self.unsure(horizon)?
        };
        for unsure in &unsure {
            self.write_again(unsure, &opened, timeout)?;
        }
        self.flush_through(&opened)?;
        Ok(opened)
    }

    /// The segments that the log entered since the horizon, and the one before: the jump out of it is as new. Newest first.
    fn unsure(&self, horizon: u64) -> Result<Vec<Unsure>> {
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        let mut orders = Vec::new();
        for segment in (0..self.control.log.segments.get()).map(Segment) {
            if let State::InLog(order) = self.slot(segment)?.state() {
                orders.push((order, segment));
            }
        }
        orders.sort_unstable_by_key(|entry| std::cmp::Reverse(*entry));
        let mut unsure = Vec::new();
        for (order, segment) in orders {
            let head = self.heap.sealed(segment.head(), SEGMENT_HEADER_BYTES as u64, ready).unwrap_or_default();
            let header = SegmentHeader::decode(head, self.header.salt)
                .ok_or_else(|| self.damaged(segment.head(), "a segment of the log has no head"))?;
            let is_last = header.counters.sequence < horizon;
            unsure.push(Unsure { order, segment, span: header.span, header });
            if is_last {
                break;
            }
        }
        Ok(unsure)
    }

    /// Reads and writes a segment, piece by piece, as long as it is the same. One that is taken meanwhile is not needed, and
    /// what it becomes is written anew anyway.
    fn write_again(&self, unsure: &Unsure, opened: &File, timeout: Duration) -> Result<()> {
        let failed = |doing, error| Error::io(doing, &self.log_path(), error);
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        let end = unsure.segment.end(unsure.span).bytes().min(ready);
        let mut at = unsure.segment.start().bytes();
        while at < end {
            let _locked = Locked::new(self, timeout)?;
            if self.slot(unsure.segment)?.order.get() != unsure.order {
                return Ok(());
            }
            let bytes = file::read_at(opened, at, (end - at).min(PIECE_BYTES) as usize).map_err(|error| failed("read", error))?;
            if bytes.is_empty() {
                break;
            }
            file::write_at(opened, &bytes, at).map_err(|error| failed("write", error))?;
            at += bytes.len() as u64;
        }
        let _locked = Locked::new(self, timeout)?;
        let sealed = Position(self.control.log.sealed.get());
        if self.slot(unsure.segment)?.order.get() == unsure.order {
            scan::require_intact(&self.heap, ready, (unsure.segment, unsure.header), sealed)
                .map_err(|at| self.damaged(at, "what could not be written to the disk is not in memory any more"))?;
        }
        Ok(())
    }
}
