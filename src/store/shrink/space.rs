//! Space that is not needed any more goes back to the file system: blocks of free segments, of replaced tables and of the order's
//! forgotten ordinals. Outside the mutex, which is held only to say what is given back; the work is bounded.
//!
//! What is punched reads as zeros. No reader takes them for something: a segment is free before, so that its number differs from
//! what a late reader noted (`read/get.rs`; the system call comes after the number was stored, and what it does to another process's
//! mapping it does by an interrupt there); a slot of an old table without an entry is a miss, which counts only in the current
//! table; a forgotten ordinal's word was 0 already.
//!
//! Nobody writes to what is being punched: the segment's state says who punches it (`segment/slots.rs`), and a table that is
//! begun meanwhile is placed elsewhere. Who is stopped on the way keeps others from these places only; who is killed is found out.

use crate::error::Result;
use crate::index::table::Descriptor;
use crate::limits::SEGMENT_BYTES;
use crate::segment::heap::Segment;
use crate::segment::slots::{PUNCHED, State, punching};
use crate::store::core::files::PAGE_BYTES;
use crate::store::core::shared::Shared;
use crate::store::write::locked::Locked;
use crate::sys::atomic::Ordering;
use crate::sys::file::PIECE_BYTES;
use crate::sys::{file, process};
use smallvec::SmallVec;
use std::ops::Range;

/// Less than this is not worth a system call.
const PUNCHED_BYTES_MIN: u64 = 64 * 1024;

impl Shared {
    /// Notes whether something is to be done outside the mutex. For its holder.
    pub(crate) fn note_chores(&self) {
        let (log, table) = (&self.control.log, &self.control.table);
        let is_any = log.bare.get() != 0 || log.excess[0].get() != 0 || table.old.get() != 0 || self.forgotten().is_some();
        log.chores.set(u64::from(is_any));
    }

    /// Gets the next segment ready, and gives back what the last commit that entered a segment found to be too much.
    #[cold]
    pub(crate) fn do_chores(&self) {
        if self.control.log.chores.exchange_if(1, 0) {
            self.prepare_segment();
            self.punch_order();
            // Where others have the mutex, they will come to it.
            if let Ok(Some(locked)) = Locked::attempt(self) {
                let _ = self.give_back(locked);
            }
        }
    }

    /// Gives back the blocks of free segments and of replaced tables, and the mutex before. Returns of how many segments.
    pub(crate) fn give_back(&self, locked: Locked<&Shared>) -> Result<usize> {
        let me = punching(process::current());
        let segments = self.claim_segments(me)?;
        let tables = self.claim_tables(me);
        drop(locked);
        let mut count = 0;
        for segment in segments {
            let is_done = self.punch_segment(segment);
            count += usize::from(is_done);
            // Where the file system cannot, it stays as it was.
            self.slot(segment)?.order.exchange_if(me, if is_done { PUNCHED } else { 0 });
        }
        if let Some((current, end)) = tables {
            let behind = current.first_byte() + current.bytes();
            for (start, end) in [(0, current.first_byte()), (behind, end * PAGE_BYTES)] {
                file::punch_pieces(&self.files.index, start, end);
            }
            self.control.table.punching.exchange_if(end, 0);
        }
        Ok(count)
    }

    fn claim_segments(&self, me: u64) -> Result<SmallVec<[Segment; 2]>> {
        let log = &self.control.log;
        let mut claimed = SmallVec::new();
        for excess in &log.excess {
            if let Some(segment) = excess.get().checked_sub(1).map(Segment) {
                excess.set(0);
                if segment.0 < log.segments.get() && self.slot(segment)?.state() == State::Free {
                    self.slot(segment)?.order.set(me);
                    claimed.push(segment);
                }
            }
        }
        Ok(claimed)
    }

    /// The table that stays, and the page where what is given back ends.
    fn claim_tables(&self, me: u64) -> Option<(Descriptor, u64)> {
        let table = &self.control.table;
        self.forget_dead_puncher();
        if table.old.get() == 0 || table.punching.get() != 0 || table.next.get() != 0 {
            return None;
        }
        table.old.set(0);
        let end = self.control.ready.index.get() / PAGE_BYTES;
        table.puncher.set(me);
        table.punching.set(end);
        Descriptor::decode(table.current.get()).map(|current| (current, end))
    }

    /// A process that died while it gave a table's blocks back does not come to it any more.
    pub(crate) fn forget_dead_puncher(&self) {
        let table = &self.control.table;
        if table.punching.get() != 0 && matches!(State::of(table.puncher.get()), State::Punching(process) if process::is_dead(process)) {
            table.punching.set(0);
        }
    }

    /// Gets blocks for the segment that is entered next, where nobody enters it meanwhile.
    fn prepare_segment(&self) {
        let bare = &self.control.log.bare;
        let next = bare.load(Ordering::Relaxed);
        let me = punching(process::current());
        if let Some(segment) = next.checked_sub(1).map(Segment)
            && bare.exchange_if(next, 0)
            && next <= self.control.log.segments.load(Ordering::Relaxed)
            && let Ok(slot) = self.slot(segment)
            && slot.order.exchange_if(PUNCHED, me)
        {
            let start = segment.start().bytes();
            let is_done = self.allocate_log(start, SEGMENT_BYTES).is_ok();
            if is_done {
                self.heap.map().populate(start, SEGMENT_BYTES);
            }
            slot.order.exchange_if(me, if is_done { 0 } else { PUNCHED });
        }
    }

    /// Bytes of the order file behind those that were given back that hold no word any more.
    fn forgotten(&self) -> Option<(u64, u64)> {
        let order = &self.control.order;
        let (start, end) =
            (order.punched.load(Ordering::Relaxed), order.low.load(Ordering::Relaxed).saturating_mul(8) / PIECE_BYTES * PIECE_BYTES);
        (end >= start.saturating_add(PUNCHED_BYTES_MIN)).then_some((start, end))
    }

    fn punch_order(&self) {
        if let Some((start, end)) = self.forgotten()
            && self.control.order.punched.exchange_if(start, end)
        {
            file::punch_pieces(&self.files.order, start, end);
        }
    }

    /// Gives back the blocks of a range of ordinals, whole pieces without a word.
    pub(crate) fn punch_ordinals(&self, ordinals: Range<u64>) {
        file::punch_pieces(&self.files.order, ordinals.start * 8, ordinals.end * 8);
    }
}
