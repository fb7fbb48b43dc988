//! Which segments the log enters next, and when one is taken back into use. For the holder of the mutex.
//!
//! | order in the slot | mark in the head | the segment is |
//! |-------------------|------------------|----------------|
//! | k > 0             | there            | part of the log, or, if k is higher than that of the newest sealed segment, entered by a transaction that was never sealed |
//! | k > 0             | wiped            | being freed: nothing in it is needed, a kill came in between; freed again |
//! | 0                 | wiped            | free |
//! | 0                 | there            | being entered by a transaction that was never sealed |
//! | inside            | any              | a further part of the run before it |
//!
//! `live` counts the bytes of the records that the order or the settings' position names: the newest with each ordinal, the
//! marks of removed keys included. A commit adds before it
//! publishes and subtracts after, so that a kill leaves it too high and the segment in use for longer, never too low.
//!
//! Nothing in a segment with `live` 0 is needed but by snapshots older than `retired`, and none of those can be taken any
//! more once `control.table.dropped` was raised. Late readers without a pin look at the order before and after.

use crate::error::Result;
use crate::limits::SEGMENT_BYTES;
use crate::log::header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::segment::heap::{Position, Segment};
use crate::segment::slots::{INSIDE, Slot};
use crate::store::shared::Shared;
use crate::sys::atomic::{Ordering, fence};

/// Segments that the log may have beyond twice its live data before it is cleaned.
const SPARE_SEGMENTS: u64 = 4;

impl Shared {
    /// A segment's slot, where its head is ready.
    #[inline(always)]
    pub(crate) fn slot(&self, segment: Segment) -> Result<&Slot> {
        let ready = self.control.ready.segments.load(Ordering::Relaxed);
        self.slots.get(segment, ready).ok_or_else(|| self.damaged(segment.start(), "a place outside of the log's segments is named"))
    }

    /// Takes a run of `span` segments for a batch: those before it in `taken` are taken already. Changes nothing that a
    /// failure or a kill would have to undo.
    pub(crate) fn take_segment(&self, span: u64, taken: &[(Segment, u64)]) -> Result<Segment> {
        let log = &self.control.log;
        let is_taken = |segment: Segment| taken.iter().any(|(first, span)| (first.0..first.0 + span).contains(&segment.0));
        if let Some(next) = log.next.get().checked_sub(1).map(Segment)
            && span == 1
            && !is_taken(next)
            && self.slot(next)?.order.get() == 0
        {
            return Ok(next);
        }
        let segments = log.segments.get();
        let mut run = 0;
        if log.free.get() >= span {
            for candidate in 0..segments {
                let is_free = !is_taken(Segment(candidate)) && self.slot(Segment(candidate))?.order.get() == 0;
                run = if is_free { run + 1 } else { 0 };
                if run == span {
                    return Ok(Segment(candidate + 1 - span));
                }
            }
        }
        let behind = taken.iter().map(|(first, span)| first.0 + span).max().unwrap_or(0);
        Ok(Segment(segments.max(behind)))
    }

    /// Makes a taken run known to be there; its blocks are. What stands in a segment that was never used may be left from
    /// a transaction that was never sealed.
    pub(crate) fn include_segment(&self, segment: Segment, span: u64) -> Result<()> {
        let end = segment.0 + span;
        for new in self.control.log.segments.get()..end {
            self.wipe(Segment(new))?;
            self.control.log.segments.set(new + 1);
        }
        Ok(())
    }

    /// Marks a taken segment as entered.
    pub(crate) fn enter_segment(&self, segment: Segment, header: &SegmentHeader) -> Result<()> {
        let bytes = header.encode(self.header.salt);
        // The mark comes last: a head is whole or none.
        self.heap.write(segment.head().plus(8), &bytes[8..]);
        self.heap.write(segment.head(), &bytes[..8]);
        let slot = self.slot(segment)?;
        slot.live.set(0);
        slot.retired.set(0);
        slot.span.set(header.span);
        slot.order.set(header.order);
        for part in 1..header.span {
            self.slot(Segment(segment.0 + part))?.order.set(INSIDE);
        }
        // Whoever reads one of the bytes that are written from here on, and then looks, sees another order than before.
        // Pairs with the fence in `Sighted::is_still_there`.
        fence(Ordering::Release);
        Ok(())
    }

    /// Counts a record's bytes to its segment. Before it is published.
    #[inline]
    pub(crate) fn count_in(&self, at: Position, bytes: u64) -> Result<()> {
        let slot = self.slot(at.segment())?;
        slot.live.set(slot.live.get() + bytes);
        Ok(())
    }

    /// Counts a replaced record's bytes out of its segment. After the one that replaces it was published.
    #[inline]
    pub(crate) fn count_out(&self, at: Position, bytes: u64, version: u64) -> Result<()> {
        let slot = self.slot(at.segment())?;
        let live = slot.live.get().saturating_sub(bytes);
        if live == 0 {
            slot.retired.set(version);
        }
        slot.live.set(live);
        Ok(())
    }

    /// Chooses the segment that the log enters after the current one, so that whoever enters it finds it ready, and one to be
    /// cleaned if too little of the log is live. After a commit that entered a segment.
    #[cold]
    pub(crate) fn choose_next(&self, current: Segment) -> Result<()> {
        let log = &self.control.log;
        let pin = self.floor()?;
        let victim = log.victim.get().checked_sub(1).map(Segment);
        let (mut next, mut sparsest) = (None, None);
        let (mut used, mut free, mut live) = (0, 0, 0);
        for segment in (0..log.segments.get()).map(Segment) {
            let slot = self.slot(segment)?;
            let (order, bytes) = (slot.order.get(), slot.live.get());
            if order == INSIDE {
                used += 1;
                continue;
            }
            let is_dead = bytes == 0 && slot.retired.get() <= pin;
            if segment != current && Some(segment) != victim && (order == 0 || is_dead) {
                free += 1;
                // The one that was used last is the likeliest to be in the cache.
                if next.is_none_or(|(_, retired)| slot.retired.get() > retired) {
                    next = Some((segment, slot.retired.get()));
                }
                continue;
            }
            used += 1;
            live += bytes;
            if segment != current && bytes > 0 && slot.span.get() == 1 && sparsest.is_none_or(|(_, least)| bytes < least) {
                sparsest = Some((segment, bytes));
            }
        }
        if let Some((segment, _)) = next
            && self.slot(segment)?.order.get() != 0
        {
            self.free(segment)?;
        }
        log.free.set(free);
        log.next.set(next.map_or(0, |(segment, _)| segment.0 + 1));
        let is_sparse = used * SEGMENT_BYTES > 2 * live + SPARE_SEGMENTS * SEGMENT_BYTES;
        // While a snapshot is held for long, what is cleaned does not become free.
        let is_held = pin < log.noted.get();
        log.noted.set(self.control.commit.newest());
        if let Some((segment, bytes)) = sparsest
            && is_sparse
            && !is_held
            && log.victim.get() == 0
            && bytes < SEGMENT_BYTES / 4 * 3
        {
            log.victim_at.set(segment.first().0);
            log.victim.set(segment.0 + 1);
        }
        Ok(())
    }

    /// Takes a segment out of the log. Of a long record's run every part becomes free on its own.
    fn free(&self, segment: Segment) -> Result<()> {
        // From here on a rebuild passes it by. A kill leaves a shorter run without a mark, and at most a part that nobody
        // uses before the next rebuild.
        self.heap.write(segment.head(), &[0; 8]);
        let slot = self.slot(segment)?;
        while slot.span.get() > 1 {
            let rest = slot.span.get() - 1;
            slot.span.set(rest);
            self.wipe(Segment(segment.0 + rest))?;
        }
        self.wipe(segment)
    }

    /// Makes a segment's head one of a free segment.
    pub(crate) fn wipe(&self, segment: Segment) -> Result<()> {
        if self.heap.map().is_writable() {
            self.heap.write(segment.head(), &[0; 8]);
        }
        let slot = self.slot(segment)?;
        slot.order.set(0);
        slot.live.set(0);
        slot.retired.set(0);
        Ok(())
    }

    /// Forgets the segments that a transaction entered which was never sealed. After an owner's death.
    pub(crate) fn forget_unsealed_segments(&self, newest: Segment) -> Result<()> {
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        let newest_order = self.slot(newest)?.order.get();
        // Whether the parts of a run that come now belong to the log.
        let mut keeps = true;
        for segment in (0..self.control.log.segments.get()).map(Segment) {
            let order = self.slot(segment)?.order.get();
            if order != INSIDE {
                keeps = order > 0 && order <= newest_order;
            }
            let head = self.heap.sealed(segment.head(), SEGMENT_HEADER_BYTES as u64, ready).unwrap_or_default();
            if !keeps && (order != 0 || SegmentHeader::is_marked(head)) {
                self.wipe(segment)?;
            }
        }
        Ok(())
    }
}
