//! Whether a batch fits everywhere, before the first byte of it is written: into the log, and into what grows beside it.

use crate::error::{Error, ErrorKind, Result};
use crate::index::table::Descriptor;
use crate::index::{bits, order, queue};
use crate::limits::SEGMENT_BYTES;
use crate::log::batch::Batch;
use crate::log::record::Kind;
use crate::segment::heap::Segment;
use crate::segment::slots::{Slots, State};
use crate::segment::words::MappedWords;
use crate::store::core::files::{CLAIM_WORDS, INDEX, ORDER, TASK_NAMES, cannot_allocate};
use crate::store::core::shared::Shared;
use crate::store::write::growing::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Growing, chunk};
use crate::store::write::room::{Use, is_full};
use crate::store::write::tail::{Placement, Tail};
use crate::sys::atomic::{Ordering, fence};
use crate::sys::file;
use std::ops::Range;

/// Ordinals for which a rebuild makes room at once, downwards.
const ORDINALS_AT_ONCE: u64 = CHUNK_BYTES_MIN / 8;
/// Records of one transaction.
const RECORDS_MAX: usize = 1 << 28;

impl Shared {
    /// Sees to it that a batch fits everywhere, before the first byte of it is written. Returns what `log.limit` is behind it.
    #[inline]
    pub(crate) fn reserve(&self, tail: &Tail, placement: &Placement, batch: &Batch, uses: Use) -> Result<u64> {
        let mut beside = self.reserve_beside(tail, placement, batch);
        while is_full(&beside) && self.give_up_free(tail, placement)? {
            beside = self.reserve_beside(tail, placement, batch);
        }
        beside?;
        let limit = self.control.log.limit.get();
        if placement.entered.is_empty() && placement.log_bytes() <= limit.min(self.heap.map().capacity()) {
            return Ok(limit);
        }
        let limit = self.reserve_room(tail, placement, batch, uses)?;
        if !placement.entered.is_empty() {
            // Who writes into a directory that is gone, or through files that are not the store's any more, is told with each segment.
            self.require_linked()?;
        }
        for (segment, span) in placement.entered() {
            self.refill(segment, span)?;
        }
        Ok(limit)
    }

    /// Sees to it that a batch fits into the files beside the log.
    #[inline]
    fn reserve_beside(&self, tail: &Tail, placement: &Placement, batch: &Batch) -> Result<()> {
        let inserts =
            batch.records.iter().filter(|pending| pending.kind == Kind::Set && !pending.is_moved && !pending.is_renumbered).count() as u64;
        let control = self.control;
        // Who takes room leaves the slots of the segments that are kept for who gives some.
        let kept = if batch.takes_room() { control.ready.log.get() / SEGMENT_BYTES + 2 } else { 0 };
        let segments = placement.segments().max(kept);
        if Slots::bytes_for(segments) > control.ready.segments.get() {
            self.reserve_segments(segments)?;
        }
        let renumbered =
            batch.records.first().filter(|first| first.is_renumbered && first.kind == Kind::Set).map(|first| first.ordinal + 1);
        let placed = batch.records.first().filter(|first| first.is_placed).map_or(0, |first| first.ordinal);
        let ordinals = tail.counters.next_ordinal.max(placed);
        let order_bytes = order::bytes_for((ordinals + inserts).max(renumbered.unwrap_or(0)));
        if order_bytes > control.ready.order.get().min(MappedWords::map(&self.order).capacity()) {
            self.growing_order().extend(self, order_bytes, chunk(control.ready.order.get()), true)?;
        }
        for ordinal in tail.counters.next_ordinal..ordinals {
            order::clear(&self.order, ordinal);
        }
        if inserts > 0 {
            self.reserve_slots(tail.counters.length, inserts, batch.records.len())?;
        }
        if self.max_tries_for(batch)?.is_some() {
            self.reserve_for_batch((ordinals + inserts).max(renumbered.unwrap_or(0)), tail.counters.length + inserts, batch)?;
        }
        Ok(())
    }

    /// Room for tasks: for so many ordinals, entries of each heap, and claims.
    pub(crate) fn reserve_tasks(&self, ordinals: u64, waiting: u64, claims: u64) -> Result<()> {
        let files = self.task_files()?;
        let tasks = &self.control.tasks;
        let needed = [bits::words_for(ordinals), queue::words_for(waiting), claims * CLAIM_WORDS].map(|words| words * 8);
        let words = [&files.bits, &files.queue, &files.claims];
        for ((((needed, ready), words), file), name) in needed.into_iter().zip(tasks.ready()).zip(words).zip(&files.files).zip(TASK_NAMES) {
            if needed > ready.get().min(words.map().capacity()) {
                Growing { name, file, map: words.map(), ready }.extend(self, needed, ready.get().clamp(4096, CHUNK_BYTES_MAX), true)?;
            }
        }
        // What stands there may be left from before a rebuild.
        let blocks = ordinals.div_ceil(bits::BLOCK);
        if blocks > tasks.blocks.get() {
            let bits = self.bits()?;
            for block in tasks.blocks.get()..blocks {
                bits.clear(block);
            }
            tasks.blocks.set(blocks);
        }
        Ok(())
    }

    /// Room for what a batch does to tasks.
    fn reserve_for_batch(&self, ordinals: u64, length: u64, batch: &Batch) -> Result<()> {
        let tasks = &self.control.tasks;
        let is_new = !self.is_tracker();
        let queued = if is_new { 0 } else { tasks.waiting[0].get() + tasks.waiting[1].get() };
        // Settings may change the turn of every task.
        let turned = if batch.records.iter().any(|pending| pending.kind == Kind::Settings) { length } else { 0 };
        // A removal puts nothing into a queue, and claims nothing.
        let (set, claims) = if batch.takes_room() { (batch.records.len() as u64 + 1, 1) } else { (0, 0) };
        self.reserve_tasks(ordinals, queued + turned + set, tasks.claims_used.get() + claims)
    }

    /// Blocks for the segments of a run that gave theirs back.
    fn refill(&self, segment: Segment, span: u64) -> Result<()> {
        for part in (segment.0..segment.0 + span).map(Segment) {
            if part.0 < self.control.log.segments.get() && self.slot(part)?.state() == State::Punched {
                self.allocate_log(part.start().bytes(), SEGMENT_BYTES)?;
                self.slot(part)?.order.set(0);
            }
        }
        Ok(())
    }

    #[cold]
    pub(crate) fn reserve_segments(&self, segments: u64) -> Result<()> {
        self.growing_segments().extend(self, Slots::bytes_for(segments), 4096, true)
    }

    /// Begins the next table when it is due, and completes it at once where a large batch would not fit without.
    fn reserve_slots(&self, live: u64, inserts: u64, records: usize) -> Result<()> {
        let growth = self.growth();
        let (_, table) = self.table()?;
        if let Some(next) = growth.next() {
            self.allocate_index(next.place)?;
        }
        let has_room = growth.has_room(table.place, inserts);
        if has_room && !growth.must_finish_before(inserts) && (growth.next().is_some() || !growth.is_due(table.place)) {
            return Ok(());
        }
        if records > RECORDS_MAX {
            return Err(Error::new(
                ErrorKind::Full,
                format!("{}: one transaction may change {RECORDS_MAX} keys; use several", self.directory.display()),
            ));
        }
        if !has_room || growth.must_finish_before(inserts) {
            self.fill_at_once()?;
        }
        let (_, table) = self.table()?;
        if !growth.has_room(table.place, inserts) {
            self.begin_table(live + inserts)?;
            self.fill_at_once()?;
        } else if growth.next().is_none() && growth.is_due(table.place) {
            // Without space now there is room for later attempts.
            let _ = self.begin_table(live + inserts);
        }
        let (_, table) = self.table()?;
        if growth.has_room(table.place, inserts) { Ok(()) } else { Err(self.index_full()) }
    }

    /// Fills the next table to its end.
    fn fill_at_once(&self) -> Result<()> {
        let growth = self.growth();
        if let Some(next) = growth.next() {
            MappedWords::map(&self.index).populate(next.place.first_byte(), next.place.end_byte() - next.place.first_byte());
        }
        growth.step(u64::MAX / 2, self)
    }

    /// Room for what a rebuild publishes next: ordinals from `lowest` to below `ordinals`. Those of which it finds nothing are
    /// holes; below the lowest of all the file has no blocks.
    pub(crate) fn reserve_for_rebuild(&self, lowest: u64, ordinals: u64, inserts: u64) -> Result<()> {
        let (ready, low) = (&self.control.ready.order, &self.control.order.low);
        let lowest = lowest / ORDINALS_AT_ONCE * ORDINALS_AT_ONCE;
        if ready.get() == 0 {
            ready.set(order::bytes_for(lowest));
            low.set(lowest);
        }
        let clear = |ordinals: Range<u64>| ordinals.for_each(|ordinal| order::clear(&self.order, ordinal));
        let before = ready.get();
        self.growing_order().extend(self, order::bytes_for(ordinals), chunk(before), true)?;
        clear(before / 8..ready.get() / 8);
        if lowest < low.get() {
            let (start, end) = (order::bytes_for(lowest), order::bytes_for(low.get()));
            file::allocate(&self.files.order, start, end - start).map_err(|error| cannot_allocate(&self.live().join(ORDER), error))?;
            clear(lowest..low.get());
            low.set(lowest);
        }
        let counted = self.control.table.occupied.get();
        self.reserve_slots(counted, inserts, 0)
    }

    /// Blocks for a table, but for those that an older one in its place gave back.
    pub(crate) fn allocate_index(&self, place: Descriptor) -> Result<()> {
        self.growing_index().extend(self, place.end_byte(), 0, false)
    }

    /// Makes the table large enough for so many keys at once. For the holder of the mutex.
    pub(crate) fn expect_keys(&self, keys: u64) -> Result<()> {
        let (_, table) = self.table()?;
        if keys <= table.place.slots() / 2 {
            return Ok(());
        }
        self.begin_table(keys)?;
        self.fill_at_once()
    }

    pub(crate) fn begin_table(&self, live: u64) -> Result<()> {
        let (_, table) = self.table()?;
        let growth = self.growth();
        let floor = self.floor()?;
        // Marks of removed keys that a snapshot may still need are kept; they are not counted apart.
        let kept = if floor < self.control.commit.newest() { live.max(self.control.table.occupied.get()) } else { live };
        self.forget_dead_puncher();
        let next = growth.plan(table.place, kept).ok_or_else(|| self.index_full())?;
        self.allocate_index(next)?;
        // With what older tables gave back of the pieces that it begins and ends in.
        let (start, end) = (next.first_byte(), next.end_byte());
        file::allocate_pieces(&self.files.index, start, end, self.control.ready.index.get())
            .map_err(|error| cannot_allocate(&self.live().join(INDEX), error))?;
        growth.begin(next, floor);
        Ok(())
    }

    /// The newest transaction that no reader needs the past of: the commit word, or the oldest snapshot where one is older.
    pub(crate) fn floor(&self) -> Result<u64> {
        let commit = self.control.commit.newest();
        // A snapshot that is being taken sees this before it counts, or its pin is seen below.
        self.control.table.dropped.raise_to(commit);
        // Pairs with the fence in `snapshot::Instant::take`.
        fence(Ordering::SeqCst);
        Ok(self.membership.oldest_pin(&self.live())?.map_or(commit, |pin| pin.min(commit)))
    }
}
