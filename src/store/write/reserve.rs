//! Disk space before it is needed: blocks are allocated and pages brought in ahead, outside the mutex where possible.
//!
//! A store to a page without a block is SIGBUS on a full disk, so nothing is written behind a file's ready count. The
//! count is only raised, after the allocation succeeded; allocating never changes a byte. So it does not matter who does
//! it, how often, how late, or whether he is killed in between: no lock, no state to repair.

use crate::error::{Error, ErrorKind, Result};
use crate::index::table::Descriptor;
use crate::index::{bits, order, queue};
use crate::log::batch::Batch;
use crate::log::record::Kind;
use crate::segment::heap::Segment;
use crate::segment::slots::{Slots, State};
use crate::segment::words::MappedWords;
use crate::store::core::files::{CLAIM_WORDS, INDEX, LOG, ORDER, SEGMENTS, TASK_NAMES};
use crate::store::core::shared::Shared;
use crate::store::write::tail::{Placement, Tail};
use crate::sys::atomic::{Ordering, Word, fence};
use crate::sys::file::Kept;
use crate::sys::{file, map::FileMap};
use std::ops::Range;

/// Bytes allocated at once: as much as the file has, within these.
const CHUNK_BYTES_MIN: u64 = 64 * 1024;
const CHUNK_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Chunks that are ready behind the tail of a large log.
const CHUNKS_AHEAD: u64 = 4;
/// More than this is left to page faults, one huge page each: bringing it in at once would keep others waiting.
const POPULATED_BYTES_MAX: u64 = 2 * CHUNK_BYTES_MAX;
/// Ordinals for which a rebuild makes room at once, downwards.
const ORDINALS_AT_ONCE: u64 = CHUNK_BYTES_MIN / 8;
/// Records of one transaction.
const RECORDS_MAX: usize = 1 << 28;

/// One of the growing files.
struct Growing<'a> {
    name: &'static str,
    file: &'a Kept,
    map: &'a FileMap,
    ready: &'a Word,
}

impl Growing<'_> {
    /// Makes at least the first `needed` bytes ready, and a chunk more.
    fn extend(&self, shared: &Shared, needed: u64, ahead: u64, populates: bool) -> Result<()> {
        let ready = self.ready.load(Ordering::Acquire);
        if needed > self.map.capacity() {
            return Err(Error::new(
                ErrorKind::Full,
                format!(
                    "{}: {} would grow to {needed} bytes, more than the {} that this process can map; raise the limit of its address space (ulimit -v) or split the store",
                    shared.directory.display(),
                    self.name,
                    self.map.capacity()
                ),
            ));
        }
        if needed <= ready {
            return Ok(());
        }
        let wanted = needed.max(ready + ahead);
        // Whole huge pages, once the file is large enough to have one.
        let wanted = wanted.next_multiple_of(if wanted > CHUNK_BYTES_MAX / 2 { CHUNK_BYTES_MAX } else { 4096 }).min(self.map.capacity());
        let path = shared.live().join(self.name);
        let end = match file::allocate(self.file, ready, wanted - ready) {
            Ok(()) => wanted,
            // The chunk did not fit; what is needed may.
            Err(_) if needed < wanted => {
                let end = needed.next_multiple_of(8);
                file::allocate(self.file, ready, end - ready).map_err(|error| Error::io("allocate space in", &path, error))?;
                end
            }
            Err(error) => return Err(Error::io("allocate space in", &path, error)),
        };
        if populates && end - ready <= POPULATED_BYTES_MAX {
            self.map.populate(ready / CHUNK_BYTES_MAX * CHUNK_BYTES_MAX, end - ready / CHUNK_BYTES_MAX * CHUNK_BYTES_MAX);
        }
        self.ready.raise_to(end);
        Ok(())
    }
}

fn chunk(ready: u64) -> u64 {
    ready.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}

/// How near the end of what is ready the log's tail may come before more is made ready. In a large log several chunks: beside
/// a bulk load the tail runs through one while the next is allocated, and then all wait for that under the mutex.
fn ahead(ready: u64) -> u64 {
    if ready < CHUNKS_AHEAD * CHUNK_BYTES_MAX { chunk(ready) } else { CHUNKS_AHEAD * CHUNK_BYTES_MAX }
}

impl Shared {
    fn growing_log(&self) -> Growing<'_> {
        Growing { name: LOG, file: &self.files.log, map: self.heap.map(), ready: &self.control.ready.log }
    }

    fn growing_order(&self) -> Growing<'_> {
        Growing { name: ORDER, file: &self.files.order, map: MappedWords::map(&self.order), ready: &self.control.ready.order }
    }

    fn growing_index(&self) -> Growing<'_> {
        Growing { name: INDEX, file: &self.files.index, map: MappedWords::map(&self.index), ready: &self.control.ready.index }
    }

    fn growing_segments(&self) -> Growing<'_> {
        Growing { name: SEGMENTS, file: &self.files.segments, map: self.slots.map(), ready: &self.control.ready.segments }
    }

    /// Sees to it that a batch fits everywhere, before the first byte of it is written.
    #[inline]
    pub(crate) fn reserve(&self, tail: &Tail, placement: &Placement, batch: &Batch) -> Result<()> {
        let inserts =
            batch.records.iter().filter(|pending| pending.kind == Kind::Set && !pending.is_moved && !pending.is_renumbered).count() as u64;
        let control = self.control;
        let log_bytes = placement.log_bytes();
        if log_bytes > control.ready.log.get().min(self.heap.map().capacity()) {
            self.reserve_log(log_bytes)?;
        }
        if Slots::bytes_for(placement.segments()) > control.ready.segments.get() {
            self.reserve_segments(placement.segments())?;
        }
        if placement.entered().next().is_some() {
            // Who writes into a directory that is gone, or through files that are not the store's any more, is told with each segment.
            self.require_linked()?;
        }
        for (segment, span) in placement.entered() {
            self.refill(segment, span)?;
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
        self.reserve_tasks(ordinals, queued + turned + batch.records.len() as u64 + 1, tasks.claims_used.get() + 1)
    }

    #[cold]
    fn reserve_log(&self, bytes: u64) -> Result<()> {
        self.growing_log().extend(self, bytes, chunk(self.control.ready.log.get()), true)
    }

    /// Blocks for the segments of a run that gave theirs back.
    fn refill(&self, segment: Segment, span: u64) -> Result<()> {
        for part in (segment.0..segment.0 + span).map(Segment) {
            if part.0 < self.control.log.segments.get() && self.slot(part)?.state() == State::Punched {
                let (start, end) = (part.start().bytes(), part.end(1).bytes());
                file::allocate(&self.files.log, start, end - start)
                    .map_err(|error| Error::io("allocate space in", &self.log_path(), error))?;
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
            file::allocate(&self.files.order, start, end - start)
                .map_err(|error| Error::io("allocate space in", &self.live().join(ORDER), error))?;
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
        file::allocate(&self.files.index, next.first_byte(), next.end_byte() - next.first_byte())
            .map_err(|error| Error::io("allocate space in", &self.live().join(INDEX), error))?;
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

    /// Gets ready ahead what the next commits will need: the log's next chunk, when the tail comes near the end of what is
    /// ready, and the next table. Outside the mutex.
    #[inline]
    pub(crate) fn prepare(&self) {
        let control = self.control;
        let ready = control.ready.log.load(Ordering::Relaxed);
        let tail = control.log.sealed.load(Ordering::Relaxed) * 8;
        if tail + ahead(ready) > ready {
            self.prepare_log(ready);
        }
        if control.log.chores.load(Ordering::Relaxed) != 0 {
            self.do_chores();
        }
        if control.table.next.load(Ordering::Relaxed) != 0 || self.is_nearly_due() {
            self.prepare_index();
        }
    }

    /// The byte of the log where its last record stands.
    pub(crate) fn log_end(&self) -> u64 {
        self.control.log.sealed.load(Ordering::Relaxed) * 8
    }

    /// For whoever keeps a snapshot for long, as a checkpoint does: writers then enter new segments all the time. Gets the log ready further
    /// ahead than they do, so that it is not they who wait for it. `seen`: where the log ended before; where it ends now.
    pub(crate) fn prepare_for_others(&self, seen: u64) -> u64 {
        let tail = self.log_end();
        for _ in 0..CHUNKS_AHEAD {
            let ready = self.control.ready.log.load(Ordering::Relaxed);
            if tail / CHUNK_BYTES_MAX == seen / CHUNK_BYTES_MAX || tail + 2 * ahead(ready) <= ready {
                break;
            }
            self.prepare_log(ready);
        }
        tail
    }

    /// Whether a next table will be begun soon: at nine sixteenths, one before it is.
    #[inline]
    fn is_nearly_due(&self) -> bool {
        let (state, table) = (&self.control.table, Descriptor::decode(self.control.table.current.load(Ordering::Relaxed)));
        table.is_some_and(|table| state.occupied.load(Ordering::Relaxed) * 16 > table.slots() * 9)
    }

    /// Brings the part of the next table into memory that is filled next, as huge pages where the system has them: written
    /// to without, it would get small ones.
    #[cold]
    fn prepare_index(&self) {
        let (state, ahead) = (&self.control.table, &self.control.ready.index_ahead);
        let Some(current) = Descriptor::decode(state.current.load(Ordering::Relaxed)) else { return };
        let next = Descriptor::decode(state.next.load(Ordering::Relaxed));
        let Some(place) = next.or_else(|| self.growth().plan(current, state.occupied.get())) else { return };
        if place.end_byte() - place.first_byte() < CHUNK_BYTES_MAX || next.is_none() && self.allocate_index(place).is_err() {
            return;
        }
        let zeroed = if next.is_some() { state.zeroed.load(Ordering::Relaxed) * 8 } else { 0 };
        let wanted = (place.first_byte() + zeroed + CHUNK_BYTES_MAX).min(place.end_byte());
        let done = ahead.load(Ordering::Relaxed);
        let done_here = if (place.first_byte()..=place.end_byte()).contains(&done) { done } else { place.first_byte() };
        if done_here < wanted && ahead.exchange_if(done, done_here + CHUNK_BYTES_MAX) {
            MappedWords::map(&self.index).populate(done_here, CHUNK_BYTES_MAX.min(place.end_byte() - done_here));
        }
    }

    #[cold]
    fn prepare_log(&self, ready: u64) {
        let claim = &self.control.ready.log_claim;
        let claimed = claim.load(Ordering::Relaxed);
        if claimed != ready && claim.exchange_if(claimed, ready) {
            // Whoever needs the space meets the error himself.
            let _ = self.growing_log().extend(self, ready + 1, chunk(ready), true);
        }
    }
}
