//! Which segments the log enters next, and when one is taken back into use. For the holder of the mutex.
//!
//! | order in the slot | mark in the head | the segment is |
//! |-------------------|------------------|----------------|
//! | k > 0             | there            | part of the log, or, if k is higher than that of the newest sealed segment, entered by a transaction that was never sealed |
//! | k > 0             | wiped            | being freed: nothing in it is needed, a kill came in between; freed again |
//! | free              | wiped            | free |
//! | punched           | none             | free, and its blocks were given back (`shrink/space.rs`); a writer that takes it allocates them first, and then it is free |
//! | free              | there            | being entered by a transaction that was never sealed |
//! | punching          | none             | free, and a process is giving its blocks back or getting some; nobody takes it before that or the process has ended |
//! | inside            | any              | a further part of the run before it |
//!
//! `live` counts the bytes of the records that the order or the settings' position names: the newest with each ordinal, the
//! marks of removed keys included. A commit adds before it
//! publishes and subtracts after, so that a kill leaves it too high and the segment in use for longer, never too low.
//!
//! Nothing in a segment with `live` 0 is needed but by snapshots older than `retired`, and none of those can be taken any
//! more once `control.table.dropped` was raised. Late readers without a pin look at the order before and after.

use crate::error::Result;
use crate::index::order;
use crate::limits::SEGMENT_BYTES;
use crate::log::header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::segment::heap::{Position, Segment};
use crate::segment::slots::{INSIDE, PUNCHED, Slot, State};
use crate::store::core::shared::Shared;
use crate::store::write::put::Way;
use crate::sys::atomic::{Ordering, fence};
use crate::sys::process;

/// The log may have this much more than its live data, in tenths, and these segments, before it is cleaned: then a segment that is
/// cleaned has about a third of its bytes in use where keys are set at random.
const SPARE_TENTHS: u64 = 6;
const SPARE_SEGMENTS: u64 = 4;
/// Free segments that keep their blocks, and one for each so many of the log.
const READY_SEGMENTS: u64 = 2;
const READY_ONE_IN: u64 = 64;
/// Ordinals that are looked at with each entered segment: more than a segment has records.
const LOOKED_AT_ORDINALS: u64 = SEGMENT_BYTES / 64;
/// Segments taken out of the log at once.
const FREED_MAX: u64 = 64;

/// What `choose_next` sees of all segments.
struct Survey {
    /// The one that the log ends in.
    current: Segment,
    /// Segments of the log, and bytes in use.
    used: u64,
    live: u64,
    /// Free ones with and without blocks.
    ready: u64,
    punched: u64,
    /// The free one that was used last: the likeliest to be in the cache.
    warmest: Option<(u64, Segment)>,
    first_punched: Option<Segment>,
    /// The highest free ones, whose blocks are the first to be given back.
    highest: [Option<Segment>; 3],
    sparsest: Option<(u64, Segment)>,
    /// The oldest but for runs whose one record is in use: in those no removed key can stand.
    oldest: Option<(u64, Segment)>,
}

impl Shared {
    /// Takes a run of `span` segments for a batch: those before it in `taken` are taken already. Changes nothing that a
    /// failure or a kill would have to undo.
    pub(crate) fn take_segment(&self, span: u64, taken: &[(Segment, u64)], only_behind: bool) -> Result<Segment> {
        let log = &self.control.log;
        let behind = taken.iter().map(|(first, span)| first.0 + span).fold(log.segments.get(), u64::max);
        if only_behind {
            return Ok(Segment(behind));
        }
        let is_taken = |segment: Segment| taken.iter().any(|(first, span)| (first.0..first.0 + span).contains(&segment.0));
        if let Some(next) = log.next.get().checked_sub(1).map(Segment)
            && span == 1
            && !is_taken(next)
            && self.slot(next)?.state() == State::Free
        {
            return Ok(next);
        }
        let segments = log.segments.get();
        let (mut run, mut bare) = (0, None);
        if log.free.get() >= span {
            for candidate in 0..segments {
                let state = self.slot(Segment(candidate))?.state();
                run = if state.is_free() && !is_taken(Segment(candidate)) { run + 1 } else { 0 };
                if run == span {
                    if span > 1 || state == State::Free {
                        return Ok(Segment(candidate + 1 - span));
                    }
                    bare = bare.or(Some(Segment(candidate)));
                    run = 0;
                }
            }
        }
        if let Some(bare) = bare {
            return Ok(bare);
        }
        Ok(Segment(behind))
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

    /// Whether a segment of the log may be taken out of it: written anew, or its blocks given back. Nothing in it is live, and
    /// no snapshot needs what was, nor what is on the disk; `floor` is [`Shared::reusable`]'s. The only place that decides it.
    fn may_be_taken(&self, slot: &Slot, floor: u64) -> bool {
        slot.live.get() == 0 && slot.retired.get() <= floor
    }

    /// Chooses the segment that the log enters after the current one, so that whoever enters it finds it ready, those that can
    /// give their blocks back, and one to be cleaned if too little of the log is live. After a commit that entered a segment, or has cleaned one.
    #[cold]
    pub(crate) fn choose_next(&self, current: Segment, is_entered: bool) -> Result<()> {
        self.choose(current, None)?;
        if is_entered {
            self.control.log.noted.set(self.control.commit.newest());
            if self.is_flush_due() {
                self.wants_flush.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The same; where all is to be cleaned that can be, with the transaction when that was begun.
    pub(crate) fn choose(&self, current: Segment, tidies: Option<u64>) -> Result<()> {
        let log = &self.control.log;
        let floor = self.floor()?;
        let survey = self.survey(current, floor, self.reusable(floor))?;
        let next = survey.warmest.map(|(_, segment)| segment).or(survey.first_punched);
        log.free.set(survey.ready + survey.punched);
        log.next.set(next.map_or(0, |segment| segment.0 + 1));
        let is_bare = survey.warmest.is_none() && next.is_some();
        log.bare.set(if is_bare { log.next.get() } else { 0 });
        let kept = if tidies.is_some() { 1 } else { READY_SEGMENTS + survey.used / READY_ONE_IN };
        let mut highest = survey.highest.into_iter().flatten().filter(|segment| Some(*segment) != next);
        for (word, ready) in log.excess.iter().zip((0..survey.ready).rev()) {
            let segment = highest.next().filter(|_| ready >= kept);
            word.set(segment.map_or(0, |segment| segment.0 + 1));
        }
        self.choose_victim(&survey, floor, tidies)?;
        self.raise_low()?;
        self.note_chores();
        Ok(())
    }

    /// Looks at all segments, and takes those out of the log that may be. `reusable` is below `floor` by what is not on the disk.
    fn survey(&self, current: Segment, floor: u64, reusable: u64) -> Result<Survey> {
        let log = &self.control.log;
        let victim = log.victim.get().checked_sub(1).map(Segment);
        let mut survey = Survey {
            current,
            used: 0,
            live: 0,
            ready: 0,
            punched: 0,
            warmest: None,
            first_punched: None,
            highest: [None; 3],
            sparsest: None,
            oldest: None,
        };
        let mut freed = 0;
        for segment in (0..log.segments.get()).map(Segment) {
            let slot = self.slot(segment)?;
            if freed < FREED_MAX
                && segment != current
                && Some(segment) != victim
                && matches!(slot.state(), State::InLog(_))
                && self.may_be_taken(slot, reusable)
            {
                self.free(segment)?;
                freed += 1;
            }
            match slot.state() {
                State::Free => {
                    survey.ready += 1;
                    survey.highest = [Some(segment), survey.highest[0], survey.highest[1]];
                    survey.warmest = survey.warmest.max(Some((slot.retired.get(), segment)));
                }
                State::Punched => {
                    survey.punched += 1;
                    survey.first_punched = survey.first_punched.or(Some(segment));
                }
                // Killed on the way: it may have its blocks or not.
                State::Punching(process) if process::is_dead(process) => slot.order.set(PUNCHED),
                State::Punching(_) => {}
                State::Inside => survey.used += 1,
                State::InLog(order) => {
                    // What only waits for a flush will soon be free.
                    survey.used += u64::from(!self.may_be_taken(slot, floor));
                    let (live, is_single) = (slot.live.get(), slot.span.get() == 1);
                    survey.live += live;
                    if segment != current && live > 0 && is_single && survey.sparsest.is_none_or(|(least, _)| live < least) {
                        survey.sparsest = Some((live, segment));
                    }
                    if (is_single || live == 0) && survey.oldest.is_none_or(|(oldest, _)| order < oldest) {
                        survey.oldest = Some((order, segment));
                    }
                }
            }
        }
        Ok(survey)
    }

    /// Chooses a segment to be cleaned: the sparsest, where too much of the log is not in use; the oldest, where too much of what
    /// is in use are marks of removed keys that can be dropped there. They are needed for as long as an older segment may hold a record of
    /// their key.
    fn choose_victim(&self, survey: &Survey, floor: u64, tidies: Option<u64>) -> Result<()> {
        let log = &self.control.log;
        // While a snapshot is held for long, what is cleaned does not become free.
        let is_held = floor < tidies.unwrap_or(log.noted.get());
        if is_held || log.victim.get() != 0 {
            return Ok(());
        }
        let marks = log.marks.get().saturating_sub(log.marks_kept.get()).min(survey.live);
        let used = survey.used * SEGMENT_BYTES;
        let (is_sparse, is_marked) = if tidies.is_some() {
            (used > survey.live + survey.live / 8 + SEGMENT_BYTES, marks > 0)
        } else {
            (
                used > survey.live + survey.live / 10 * SPARE_TENTHS + SPARE_SEGMENTS * SEGMENT_BYTES,
                marks * 4 > survey.live - marks + SPARE_SEGMENTS * SEGMENT_BYTES,
            )
        };
        let oldest = survey.oldest.map(|(_, segment)| segment);
        let victim = if is_marked {
            oldest.filter(|segment| self.slot(*segment).is_ok_and(|slot| slot.live.get() > 0))
        } else {
            survey.sparsest.filter(|(live, _)| is_sparse && *live < SEGMENT_BYTES / 4 * 3).map(|(_, segment)| segment)
        };
        if let Some(segment) = victim.filter(|segment| *segment != survey.current) {
            self.clean_from_now(segment, survey.oldest, floor)?;
        }
        Ok(())
    }

    /// Makes a segment the one that is cleaned. `oldest` is the oldest in which a removed key can stand, with its number.
    fn clean_from_now(&self, segment: Segment, oldest: Option<(u64, Segment)>, floor: u64) -> Result<()> {
        let log = &self.control.log;
        let is_oldest = match oldest {
            Some((order, oldest)) => oldest == segment && self.all_older_live(order)?,
            None => false,
        };
        log.victim_at.set(segment.first().0);
        log.drops.set(if is_oldest { floor } else { 0 });
        log.victim.set(segment.0 + 1);
        Ok(())
    }

    /// The same, for a segment that must be cleaned at once.
    pub(crate) fn clean_next(&self, segment: Segment) -> Result<()> {
        let floor = self.floor()?;
        let mut oldest = None;
        for other in (0..self.control.log.segments.get()).map(Segment) {
            let slot = self.slot(other)?;
            if let State::InLog(order) = slot.state()
                && (slot.span.get() == 1 || slot.live.get() == 0)
                && oldest.is_none_or(|(least, _)| order < least)
            {
                oldest = Some((order, other));
            }
        }
        self.clean_from_now(segment, oldest, floor)
    }

    /// Whether the one record of each run that is older than `order` is in use. What a kill left counted of one that is not is
    /// put right.
    fn all_older_live(&self, order: u64) -> Result<bool> {
        let mut all = true;
        for segment in (0..self.control.log.segments.get()).map(Segment) {
            let slot = self.slot(segment)?;
            if matches!(slot.state(), State::InLog(older) if older < order)
                && !self.is_live(segment.first(), &self.record(segment.first())?)
            {
                slot.retired.set(self.control.commit.newest());
                slot.live.set(0);
                all = false;
            }
        }
        Ok(all)
    }

    /// Raises the mark below which the order has no words: every removed key's went when its mark was dropped.
    pub(crate) fn raise_low(&self) -> Result<()> {
        let order = &self.control.order;
        let first = order.low.get();
        let end = self.counters()?.next_ordinal.min(first + LOOKED_AT_ORDINALS);
        let low = (first..end).find(|ordinal| !order::is_empty(&self.order, *ordinal)).unwrap_or(end);
        if low > first {
            order.low.set(low);
        }
        Ok(())
    }

    /// Takes a segment out of the log. Of a long record's run every part becomes free on its own.
    fn free(&self, segment: Segment) -> Result<()> {
        // From here on a rebuild passes it by. A kill leaves a shorter run without a mark, and at most a part that nobody
        // uses before the next rebuild.
        self.unmark(segment)?;
        let slot = self.slot(segment)?;
        let may_have_holes = slot.order.get() <= self.control.log.holes.get();
        let wipe = |segment: Segment| {
            if may_have_holes && self.allocate_log(segment.start().bytes(), SEGMENT_BYTES).is_err() {
                self.wipe_to(segment, PUNCHED)?;
                self.punch_segment(segment);
                return Ok(());
            }
            self.wipe(segment)
        };
        while slot.span.get() > 1 {
            let rest = slot.span.get() - 1;
            slot.span.set(rest);
            wipe(Segment(segment.0 + rest))?;
        }
        wipe(segment)
    }

    /// Makes a segment's head one of a free segment.
    pub(crate) fn wipe(&self, segment: Segment) -> Result<()> {
        self.wipe_to(segment, 0)
    }

    /// Takes the mark of a segment's head away. Through the file: what gave blocks back near it may be punched.
    fn unmark(&self, segment: Segment) -> Result<()> {
        self.put(segment.head(), &[0; 8], Way::File)
    }

    fn wipe_to(&self, segment: Segment, order: u64) -> Result<()> {
        if self.heap.map().is_writable() {
            self.unmark(segment)?;
        }
        let slot = self.slot(segment)?;
        slot.order.set(order);
        slot.live.set(0);
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
            let state = State::of(order);
            match state {
                State::Inside => {}
                State::InLog(_) => keeps = order <= newest_order,
                State::Free => keeps = false,
                State::Punched | State::Punching(_) => {
                    // Nobody enters it before it has blocks, and is free.
                    keeps = false;
                    continue;
                }
            }
            let head = self.heap.sealed(segment.head(), SEGMENT_HEADER_BYTES as u64, ready).unwrap_or_default();
            if !keeps && (!state.is_free() || SegmentHeader::is_marked(head)) {
                self.wipe(segment)?;
            }
        }
        Ok(())
    }
}
