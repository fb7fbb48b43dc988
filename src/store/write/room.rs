//! Room that is kept for what gives room: on a full disk keys can still be removed, however many, and what they took up is used again.
//!
//! A removal makes the log longer, by a mark, and gives nothing back before the segment with what it removed is cleaned: for that what
//! is live in it must be copied elsewhere first. So a batch that takes room leaves as much of the log ready, and unused, as the
//! cleaning of any segment needs: a segment and a little, or as much as there is in the only one ([`Shared::kept`]). What is kept has no
//! place of its own: it is what is ready behind the log's end, and free segments that have their blocks.
//!
//! | a batch that                       | may use                                                                            |
//! |------------------------------------|------------------------------------------------------------------------------------|
//! | sets a value                       | what is left beyond what must be kept                                              |
//! | removes, or only moves and settles | all of it, while the rest suffices to clean the segment with the fewest live bytes |
//!
//! Where that fails, the holder of the mutex cleans the segment that gives most and tries again, as long as one gives anything; at last a
//! removal may use the rest.
//!
//! A log of one segment has no other to be copied to: what it does not use of its segment gives its blocks back, and a segment behind all
//! others gets as many as are needed. The number of a segment that is left so is noted before in `log.holes`: the ready count does not
//! speak for those up to it. While the log ends in one, it is allocated how far `log.limit` lets anybody write, and what is written goes
//! through the file (`put.rs`); when it becomes free it is filled, or counts as punched. So a kill leaves nothing to be put right but blocks that nobody uses, which the next one who needs some
//! gives back.

use crate::error::{ErrorKind, Result};
use crate::limits::SEGMENT_BYTES;
use crate::log::batch::{Batch, Cursor, JUMP_BYTES};
use crate::log::record::{self, FRAME_BYTES, Kind};
use crate::segment::heap::{Position, Segment};
use crate::segment::slots::{PUNCHED, State};
use crate::store::core::files::PAGE_BYTES;
use crate::store::core::shared::Shared;
use crate::store::write::growing::{CHUNK_BYTES_MIN, chunk};
use crate::store::write::locked::Locked;
use crate::store::write::tail::{Placement, Tail};
use crate::sys::file;
use std::cmp::Reverse;
use std::ops::Deref;

/// A whole segment, and marks of some thousand removals, which come before the first cleaning.
const KEPT_BYTES_MAX: u64 = SEGMENT_BYTES + SEGMENT_BYTES / 16;
/// Heads, jumps and settings that cleaning a segment adds, and more.
const ADDED_BYTES: u64 = 8 * 1024;
/// A segment is cleaned for the sake of a batch that takes room when one in so many of its bytes is not live; for one that gives some,
/// when these are.
const DEAD_ONE_IN: u64 = 64;
const DEAD_BYTES_MIN: u64 = 1024;
/// So many segments are cleaned one after the other without more room than before, when no record fits where others were, for one.
pub(super) const CLEANED_IN_VAIN_MAX: usize = 8;
/// The segments with the most to gain are looked at one record after the other.
const LOOKED_AT_SEGMENTS: usize = 8;

/// What a batch may use of the room that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// As much as leaves enough to clean a segment.
    Some,
    /// All.
    All,
}

/// Where the log ends once a batch is there, in bytes.
struct End {
    at: u64,
    segment_end: u64,
    /// Whether no segment stands behind that one, and where those end.
    is_last: bool,
    behind: u64,
    /// Whether blocks may be lacking from `at` on.
    has_holes: bool,
}

/// What can be had by cleaning one segment.
struct Gain {
    segment: Segment,
    dead: u64,
    live: u64,
    /// Where its last record ends.
    end: Position,
}

impl Shared {
    /// Bytes of the log that are kept behind `end`.
    fn kept(&self, end: &Cursor, is_only: bool) -> u64 {
        if is_only { (end.at.bytes() - end.segment.start().bytes() + ADDED_BYTES).min(KEPT_BYTES_MAX) } else { KEPT_BYTES_MAX }
    }

    /// Bytes of free segments that have their blocks and are not entered.
    fn free_bytes(&self, placement: &Placement) -> Result<u64> {
        let mut free = 0;
        for segment in (0..self.control.log.segments.get()).map(Segment) {
            let is_entered = placement.entered().any(|(first, span)| (first.0..first.0 + span).contains(&segment.0));
            if !is_entered && self.slot(segment)?.state() == State::Free {
                free += self.control.ready.log.get().saturating_sub(segment.start().bytes()).min(SEGMENT_BYTES);
            }
        }
        Ok(free)
    }

    /// Bytes that may be written once a batch is there, without a block more.
    fn spare(&self, tail: &Tail, placement: &Placement) -> Result<u64> {
        let end = self.end_of(tail, placement)?;
        let ready = self.control.ready.log.get();
        let here = if end.has_holes { end.at } else { ready.min(end.segment_end) };
        Ok(here.saturating_sub(end.at) + ready.saturating_sub(end.behind) + self.free_bytes(placement)?)
    }

    /// Bytes that may be written behind the log's end now, and those that the disk has.
    pub(super) fn room(&self) -> Result<u64> {
        let tail = self.tail()?;
        let spare = self.spare(&tail, &Placement { entered: Vec::new(), last: tail.cursor.at, end: tail.cursor })?;
        Ok(spare + file::disk_left(&self.files.log).unwrap_or(None).unwrap_or(0))
    }

    /// Where the log ends once a batch is there.
    fn end_of(&self, tail: &Tail, placement: &Placement) -> Result<End> {
        let Placement { end, entered, .. } = placement;
        let segments = self.control.log.segments.get().max(placement.segments());
        Ok(End {
            at: end.at.bytes(),
            segment_end: end.segment.end(end.span).bytes(),
            is_last: end.segment.0 + end.span == segments,
            behind: Segment(segments).start().bytes(),
            has_holes: entered.is_empty() && self.may_have_holes(tail.cursor.segment)?,
        })
    }

    /// Whether blocks may be lacking behind the end of the log, whatever is counted ready.
    #[inline]
    pub(super) fn may_have_holes(&self, current: Segment) -> Result<bool> {
        let holes = self.control.log.holes.get();
        Ok(holes != 0 && self.slot(current)?.order.get() <= holes)
    }

    /// Makes the log ready for a batch that lies so, as far as it may use what is kept. Returns the limit from then on.
    pub(crate) fn reserve_room(&self, tail: &Tail, placement: &Placement, batch: &Batch, uses: Use) -> Result<u64> {
        let kept = self.keep_room(tail, placement);
        if batch.takes_room() || !is_full(&kept) {
            return kept;
        }
        self.ready_log(tail, placement, placement.log_bytes(), 0)?;
        if uses == Use::Some {
            let least = self.gains(tail)?.iter().map(|gain| gain.live).min().unwrap_or(0);
            if self.spare(tail, placement)? < least + ADDED_BYTES {
                return kept;
            }
        }
        Ok(if placement.entered.is_empty() { self.control.log.limit.get() } else { 0 })
    }

    /// The same where all is kept that must be.
    fn keep_room(&self, tail: &Tail, placement: &Placement) -> Result<u64> {
        let ready = &self.control.ready.log;
        let end = self.end_of(tail, placement)?;
        let is_only = self.is_only(placement);
        let kept = self.kept(&placement.end, is_only);
        let needed = placement.log_bytes();
        let (base, rest) = if end.is_last { (end.at, 0) } else { (end.behind, end.segment_end - end.at) };
        let free = self.free_bytes(placement)?;
        let goal = if rest + free < kept { needed.max(base + kept - rest - free) } else { needed };
        if goal > ready.get() || self.may_have_holes(tail.cursor.segment)? {
            self.ready_log(tail, placement, goal, chunk(ready.get()))?;
        }
        let here = (if end.has_holes { goal } else { ready.get() }).min(end.segment_end);
        let all = here + free + ready.get().saturating_sub(end.behind);
        let limit = if is_only { (all + placement.end.segment.start().bytes()).saturating_sub(ADDED_BYTES) / 2 } else { 0 };
        let limit = limit.max(all.saturating_sub(KEPT_BYTES_MAX));
        Ok(limit.min(here - JUMP_BYTES).max(end.at) / 8 * 8)
    }

    /// Makes the first `needed` bytes of the log ready, but for what lies between the last that were and a segment behind them that the batch
    /// enters: nobody writes there any more. In a segment with holes that the log ends in all that is written is allocated.
    fn ready_log(&self, tail: &Tail, placement: &Placement, needed: u64, ahead: u64) -> Result<()> {
        let ready = &self.control.ready.log;
        let here = match placement.entered.first() {
            None => needed.min(placement.end.segment.end(placement.end.span).bytes()),
            Some(entered) => entered.from.bytes() + JUMP_BYTES,
        };
        if self.may_have_holes(tail.cursor.segment)? {
            // In pieces for which it does not matter how much the disk has: most may be there.
            let from = tail.cursor.at.bytes();
            for start in (from..here).step_by(CHUNK_BYTES_MIN as usize) {
                self.allocate_log(start, CHUNK_BYTES_MIN.min(here - start))?;
            }
        } else {
            self.extend_log(here, if placement.entered.is_empty() { ahead } else { 0 })?;
        }
        let behind = placement.entered().filter(|(first, span)| first.end(*span).bytes() > ready.get()).min();
        if let Some((first, _)) = behind.filter(|(first, _)| (ready.get()..needed).contains(&first.start().bytes())) {
            let from = first.start().bytes();
            self.require_mappable(needed)?;
            self.pass_over(ready.get(), first)?;
            self.allocate_log(from, needed - from)?;
            ready.raise_to(needed);
        }
        self.extend_log(needed, ahead)
    }

    /// Notes that segments before `end` have no blocks behind `ready`, and gives back what they have.
    fn pass_over(&self, ready: u64, end: Segment) -> Result<()> {
        for segment in (ready / SEGMENT_BYTES..end.0.min(self.control.log.segments.get())).map(Segment) {
            let slot = self.slot(segment)?;
            match slot.state() {
                State::InLog(order) => self.control.log.holes.raise_to(order),
                State::Free => slot.order.set(PUNCHED),
                _ => {}
            }
        }
        file::punch(&self.files.log, ready, end.start().bytes() - ready);
        Ok(())
    }

    /// What can be had from each segment of the log, and what no record fits into at its end.
    fn gains(&self, tail: &Tail) -> Result<Vec<Gain>> {
        let mut gains = Vec::new();
        for segment in (0..self.control.log.segments.get()).map(Segment) {
            let slot = self.slot(segment)?;
            if matches!(slot.state(), State::InLog(_)) && slot.span.get() == 1 {
                let end = if segment == tail.cursor.segment { tail.cursor.at } else { segment.end(1) };
                let live = slot.live.get();
                gains.push(Gain { segment, dead: (end.bytes() - segment.first().bytes()).saturating_sub(live), live, end });
            }
        }
        Ok(gains)
    }

    /// The segment whose records are dead to the most bytes, where that is enough.
    fn best_gain(&self, tail: &Tail, takes: bool) -> Result<Option<Gain>> {
        let mut gains = self.gains(tail)?;
        gains.sort_by_key(|gain| Reverse(gain.dead));
        let ready = self.control.ready.log.get();
        for gain in gains.into_iter().take(LOOKED_AT_SEGMENTS) {
            let least = DEAD_BYTES_MIN.max(if takes { (gain.dead + gain.live) / DEAD_ONE_IN } else { 0 });
            if gain.dead < least {
                break;
            }
            let mut at = gain.segment.first();
            while at < gain.end
                && let Some((size, kind)) = self.heap.sealed(at, FRAME_BYTES as u64, ready).and_then(record::frame)
                && kind != Kind::Jump
            {
                at = at.plus(size);
            }
            let dead = (at.bytes() - gain.segment.first().bytes()).saturating_sub(gain.live);
            // Two that are half empty make one, whatever there is no room for at their ends.
            if dead >= least || gain.live <= SEGMENT_BYTES / 2 && gain.segment != tail.cursor.segment {
                return Ok(Some(Gain { end: at, ..gain }));
            }
        }
        Ok(None)
    }

    /// Gives the blocks behind the last record of a segment back, which the log has left or is about to leave, and those that somebody who was
    /// killed may have left in punched segments.
    fn give_up_rest(&self, segment: Segment, end: Position) -> Result<()> {
        let log = &self.control.log;
        log.limit.set(0);
        log.holes.raise_to(self.slot(segment)?.order.get());
        let from = (end.bytes() + JUMP_BYTES).next_multiple_of(PAGE_BYTES);
        let segment_end = segment.end(1).bytes().min(self.control.ready.log.get());
        if from < segment_end {
            file::punch(&self.files.log, from, segment_end - from);
        }
        for segment in (0..log.segments.get()).map(Segment) {
            if self.slot(segment)?.state() == State::Punched {
                self.punch_segment(segment);
            }
        }
        Ok(())
    }

    /// Gives the blocks of a free segment back for the sake of other files, where there is more than must be kept: that is got ready
    /// behind all segments first. False where there is none.
    pub(crate) fn give_up_free(&self, tail: &Tail, placement: &Placement) -> Result<bool> {
        let kept = self.kept(&placement.end, self.is_only(placement));
        if self.spare(tail, placement)? < kept + CHUNK_BYTES_MIN {
            return Ok(false);
        }
        for segment in (0..self.control.log.segments.get()).rev().map(Segment) {
            let slot = self.slot(segment)?;
            if slot.state() == State::Free {
                slot.order.set(PUNCHED);
                self.punch_segment(segment);
                return Ok(self.keep_room(tail, placement).is_ok());
            }
        }
        Ok(false)
    }

    /// Whether the log has one segment once a batch is there.
    fn is_only(&self, placement: &Placement) -> bool {
        placement.entered.is_empty() && self.control.log.segments.get().saturating_sub(self.control.log.free.get()) <= 1
    }

    /// Gives a free segment's blocks back: nobody looks at it before it has some again. The first one starts behind the file's head.
    pub(crate) fn punch_segment(&self, segment: Segment) -> bool {
        let start = segment.head().bytes();
        file::punch(&self.files.log, start, segment.end(1).bytes() - start)
    }
}

/// What is kept at most of a log of which so much is ready.
pub(crate) fn kept_at_most(ready: u64) -> u64 {
    (ready / 2).min(KEPT_BYTES_MAX)
}

pub(crate) fn is_full<T>(outcome: &Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Full)
}

impl<S: Deref<Target = Shared>> Locked<S> {
    /// Cleans the segment that gives most, and frees it. False where that gave too little already, or nothing, since a snapshot needs it.
    pub(crate) fn make_room(&self, takes: bool) -> Result<bool> {
        let shared = self.shared();
        let log = &shared.control.log;
        let tail = shared.tail()?;
        if shared.floor()? < shared.control.commit.newest() {
            return Ok(false);
        }
        let Some(gain) = shared.best_gain(&tail, takes)? else { return Ok(false) };
        shared.clean_next(gain.segment)?;
        let mut batch = Batch { looks: SEGMENT_BYTES as usize / 64, leaves: gain.segment == tail.cursor.segment, ..Batch::default() };
        if !shared.push_settings(&mut batch, shared.control.order.first.get())? {
            return Ok(false);
        }
        let is_cleaned = match self.commit_in_place(&mut batch, Use::All) {
            Err(error) if error.kind() == ErrorKind::Full => {
                shared.give_up_rest(gain.segment, gain.end)?;
                self.commit_in_place(&mut batch, Use::All)
            }
            outcome => outcome,
        };
        if is_full(&is_cleaned) {
            log.victim.set(0);
            return Ok(false);
        }
        is_cleaned?;
        if shared.control.flush.asked.get() != 0 {
            shared.wait_until_durable(shared.control.commit.newest(), self.writing.timeout)?;
        }
        shared.choose_next(shared.tail()?.cursor.segment, false)?;
        Ok(true)
    }
}

const _: () = assert!(CHUNK_BYTES_MIN >= ADDED_BYTES);
