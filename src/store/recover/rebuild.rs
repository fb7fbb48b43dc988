//! Rebuilding index and control from the log: every transaction is read, checked and published again.
//!
//! In the boot that wrote it a log is whole up to the seal, of which the control page knows, and what stands behind is an unfinished
//! transaction and means nothing; else it is damaged. After another boot it is recovered (`power_cut.rs`).

use crate::error::{Error, ErrorKind, Result};
use crate::index::table::{Descriptor, Entry, SLOTS_LOG2_MIN, Table};
use crate::limits::{ORDER_BYTES_MAX, SEGMENT_BYTES};
use crate::log::batch::{Claiming, JUMP_BYTES};
use crate::log::header::{LOG_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::record::{self, HEADER_BYTES, Kind, Record};
use crate::log::scan::{Ended, Scan, Transaction};
use crate::segment::control::{LAYOUT, MAGIC};
use crate::segment::counters::Counters;
use crate::segment::heap::{Position, Segment};
use crate::segment::slots::{INSIDE, PUNCHED};
use crate::store::core::files::PAGE_BYTES;
use crate::store::core::shared::{Loss, Mode, Shared};
use crate::store::recover::aside;
use crate::store::write::publishing::By;
use crate::store::write::room::is_full;
use crate::sys::{file, process};
use crate::value;
use std::io;
use std::path::Path;

/// Slots of the table whose records are asked for ahead.
const PREFETCHED: u64 = 16;

impl Shared {
    /// Makes index and control anew. The caller is alone. On an error the log is as it was.
    pub(crate) fn rebuild(&self) -> Result<()> {
        let size = file::stamp(&self.files.log).map_err(|error| Error::io("look at", &self.log_path(), error))?.size;
        let readable = size.min(self.heap.map().capacity()) / 8 * 8;
        if readable < size / 8 * 8 {
            return Err(
                self.integrity(readable, "the log is longer than this process can map; raise the limit of its address space (ulimit -v)")
            );
        }
        // Where this boot's processes had sealed: kept until the rebuild succeeded, also over a kill.
        let is_ours = self.is_ours();
        let sealed = if is_ours { self.control.log.sealed.get() } else { 0 };
        self.control.stamps.state.set(0);
        if !is_ours {
            let flush = &self.control.flush;
            for word in [&flush.asked, &flush.horizon, &flush.order, &flush.failed, &flush.mended, &flush.leader] {
                word.set(0);
            }
        }
        if sealed == 0 {
            self.control.stamps.recovering.set(u64::from(self.loss != Loss::Nothing));
        }
        self.stamp(sealed)?;
        let last = match sealed {
            0 => self.recover(readable, size, None)?,
            _ => {
                let mut outcome = self.replay_all(readable, sealed);
                if is_full(&outcome) && self.mode == Mode::Writer {
                    self.give_up_headless(readable, Position(sealed));
                    outcome = self.replay_all(readable, sealed);
                }
                outcome.or_else(|error| self.replay_around(readable, size, sealed, error))?
            }
        };
        self.rebuild_kind()?;
        self.control.log.sealed.set(last.map_or(0, |last| last.at.0));
        self.control.stamps.recovering.set(0);
        Ok(())
    }

    /// Gives back what this boot's processes had kept of the log to write to (`write/room.rs`): the index that is built may lie elsewhere than
    /// the one before, and there may be no more than that.
    #[cold]
    fn give_up_headless(&self, readable: u64, sealed: Position) {
        let mut in_run = 0;
        for segment in (0..readable.div_ceil(SEGMENT_BYTES)).map(Segment) {
            let (start, end) = (segment.head().bytes(), segment.end(1).bytes().min(readable));
            let head = file::read_at(&self.files.log, start, SEGMENT_HEADER_BYTES).unwrap_or_default();
            if SegmentHeader::is_marked(&head) {
                in_run = SegmentHeader::decode(&head, self.header.salt).map_or(1, |header| header.span);
            } else if in_run == 0 && start < end {
                file::punch(&self.files.log, start, end - start);
            }
            in_run = u64::saturating_sub(in_run, 1);
        }
        if let Some(last) = Record::at(&self.heap, sealed, readable) {
            let from = sealed.plus(last.bytes().len() as u64 + JUMP_BYTES).bytes().next_multiple_of(PAGE_BYTES);
            let end = sealed.segment().end(1).bytes().min(readable);
            if from < end {
                file::punch(&self.files.log, from, end - from);
            }
        }
    }

    /// Replays what is readable of a damaged log: what is not may be needed no more.
    #[cold]
    fn replay_around(&self, readable: u64, size: u64, sealed: u64, error: Error) -> Result<Option<Ended>> {
        if !matches!(error.kind(), ErrorKind::Integrity { .. }) {
            return Err(error);
        }
        match self.recover(readable, size, Some(Position(sealed))) {
            Err(_) if self.loss == Loss::Anything => self.recover(readable, size, None),
            outcome => outcome.map_err(|_| error),
        }
    }

    /// Replays a log that this boot's processes have written up to the seal.
    fn replay_all(&self, readable: u64, sealed: u64) -> Result<Option<Ended>> {
        self.reset(readable)?;
        let mut scan = Scan::new(&self.heap, readable, self.header.salt, |segment| self.has_head(segment));
        for (segment, header) in scan.found() {
            self.count_segment(*segment, header)?;
        }
        let mut last = None;
        let mut reaches_seal = false;
        let end = loop {
            let transaction = match scan.next() {
                Ok(transaction) => transaction,
                Err(end) => break end,
            };
            self.replay(&transaction, |position, record| self.publish(position, record, By::Rebuild, Claiming::Keep).map(|_| ()))?;
            if let Some(end) = transaction.end {
                reaches_seal |= end.at.0 == sealed;
                last = Some(end);
                self.control.commit.publish(&end.counters);
            }
        };
        if !reaches_seal {
            let newest = last.map_or(0, |last| last.counters.sequence);
            let what = format!("{}, and later ones were committed; transaction {newest} is the last one before it", end.why);
            return Err(self.damaged(end.at, &what));
        }
        self.require_whole(last, end.at)?;
        if self.mode == Mode::Writer {
            self.forget_segments_behind(&scan)?;
            self.count_free(last, readable)?;
        }
        Ok(last)
    }

    /// Checks what is left of a transaction and publishes each record.
    pub(super) fn replay(&self, transaction: &Transaction<'_>, mut publish: impl FnMut(Position, &Record<'_>) -> Result<()>) -> Result<()> {
        let inserts = transaction.records.len() as u64;
        let mut ordinals = ORDER_BYTES_MAX / 8;
        if let Some(end) = &transaction.end {
            let counters = end.counters;
            if counters.next_ordinal > ordinals || counters.length > counters.next_ordinal {
                return Err(self.damaged(end.at, "a transaction counts more keys than there can be"));
            }
            ordinals = counters.next_ordinal;
        }
        for (position, record) in &transaction.records {
            if record.kind() != Kind::Remove {
                value::validate(record.value()).map_err(|what| self.damaged(*position, &what))?;
            }
            if record.ordinal() >= ordinals + u64::from(record.kind() == Kind::Settings) {
                return Err(self.damaged(*position, "a record's ordinal was never given out"));
            }
        }
        let with_ordinals = || transaction.records.iter().filter(|(_, record)| record.kind() != Kind::Settings);
        let given = with_ordinals().map(|(_, record)| record.ordinal() + 1).max().unwrap_or(0);
        let lowest = with_ordinals().map(|(_, record)| record.ordinal()).min();
        let next = transaction.end.map_or(given, |end| end.counters.next_ordinal);
        self.reserve_for_rebuild(lowest.unwrap_or(next), next, inserts)?;
        for (position, record) in &transaction.records {
            publish(*position, record)?;
        }
        self.growth().step(crate::index::grow::SLOTS_PER_INSERT * (inserts + 1), self)
    }

    /// Notes a segment that was found in the log.
    pub(super) fn count_segment(&self, segment: Segment, header: &SegmentHeader) -> Result<()> {
        let slot = self.slot(segment)?;
        slot.span.set(header.span);
        slot.order.set(header.order);
        for part in 1..header.span.min(self.control.log.segments.get().saturating_sub(segment.0)) {
            self.slot(Segment(segment.0 + part))?.order.set(INSIDE);
        }
        Ok(())
    }

    /// Frees the segments that stand behind the last transaction.
    fn forget_segments_behind(&self, scan: &Scan<'_>) -> Result<()> {
        for (segment, header) in scan.behind() {
            for part in 0..header.span.min(self.control.log.segments.get().saturating_sub(segment.0)) {
                self.wipe(Segment(segment.0 + part))?;
            }
        }
        Ok(())
    }

    /// Allocates what is written next, the rest of the last segment, where the disk has so much: the log may be a copy that has holes
    /// where there were zeros. Free segments may have none of their blocks.
    pub(super) fn count_free(&self, last: Option<Ended>, readable: u64) -> Result<()> {
        for segment in (0..self.control.log.segments.get()).map(Segment) {
            let slot = self.slot(segment)?;
            if slot.order.get() == 0 {
                slot.order.set(PUNCHED);
            }
        }
        let segment = last.map_or(Segment(0), |last| last.at.segment());
        let slot = self.slot(segment)?;
        let (start, end) = (segment.start().bytes(), segment.end(slot.span.get().max(1)).bytes().min(readable));
        let allocated = self.allocate_log(start, end - start);
        let (order, is_full) = (slot.order.get(), is_full(&allocated));
        self.control.log.holes.set(if last.is_none() {
            0
        } else if is_full {
            order
        } else {
            order - 1
        });
        if is_full { Ok(()) } else { allocated }
    }

    /// Fails where the records that were found are not those that the last transaction left: where a segment is missing or
    /// is one of another time.
    pub(super) fn require_whole(&self, last: Option<Ended>, end: Position) -> Result<()> {
        let (_, table) = self.table()?;
        let (mut length, mut sum) = (0, 0u64);
        let words = table.place.words();
        for slot in 0..words {
            let ahead = if slot + PREFETCHED < words { table.entry(slot + PREFETCHED) } else { Entry(0) };
            if ahead.0 != 0 {
                self.heap.prefetch(ahead.position());
            }
            let entry = table.entry(slot);
            if entry.0 != 0 && !entry.is_dead() {
                let record = self.record(entry.position())?;
                if record.ordinal() < self.control.order.first.get() {
                    return Err(self.damaged(entry.position(), "a key stands before the first place in order"));
                }
                length += 1;
                sum = sum.wrapping_add(record::fingerprint(record.hash(), record.version()));
            }
        }
        let expected = last.map_or((0, 0), |last| (last.counters.length, last.fingerprint));
        if (length, sum) == expected {
            return Ok(());
        }
        Err(self.damaged(end, "the records that are left are not those that its last transaction left"))
    }

    fn stamp(&self, sealed: u64) -> Result<()> {
        let failed = |error| Error::io("look at", &self.directory, error);
        let log = file::stamp(&self.files.log).map_err(failed)?;
        let boot = process::boot_id().map_err(failed)?;
        let stamps = &self.control.stamps;
        self.control.log.sealed.set(sealed);
        stamps.layout.set(LAYOUT);
        stamps.libc.set(process::LIBC);
        stamps.pid_namespace.set(process::pid_namespace().map_err(failed)?);
        for (word, value) in stamps.boot.iter().zip(boot) {
            word.set(value);
        }
        stamps.device.set(log.device);
        stamps.inode.set(log.inode);
        stamps.store.set(self.header.store[0]);
        stamps.magic.set(MAGIC);
        Ok(())
    }

    /// Empties the index. Blocks are counted anew: the files may have been cut off.
    pub(super) fn reset(&self, readable: u64) -> Result<()> {
        let (table, ready, order) = (&self.control.table, &self.control.ready, &self.control.order);
        ready.log.set(readable);
        ready.index.set(0);
        ready.order.set(0);
        ready.segments.set(0);
        ready.log_claim.set(0);
        ready.index_ahead.set(0);
        for word in [
            &order.low,
            &order.punched,
            &order.first,
            &order.since,
            &order.before,
            &order.fill,
            &order.cut,
            &order.start,
            &table.next,
            &table.old,
            &table.punching,
            &table.puncher,
            &table.migrated,
            &table.copying,
            &table.zeroed,
            &table.occupied,
            &table.next_occupied,
            &table.floor,
            &table.dropped,
            &self.control.log.settings,
            &self.control.log.next,
            &self.control.log.free,
            &self.control.log.victim,
            &self.control.log.victim_at,
            &self.control.log.noted,
            &self.control.log.drops,
            &self.control.log.marks,
            &self.control.log.marks_kept,
            &self.control.log.limit,
            &self.control.log.holes,
            &self.control.log.chores,
            &self.control.log.bare,
            &self.control.log.excess[0],
            &self.control.log.excess[1],
            &self.control.log.saved,
            &self.control.log.saved_order,
            &self.control.log.saving_order,
            &self.control.log.saving,
            &self.control.log.dirty,
            &self.control.log.dirty_next,
            &self.control.log.saved_ordinals,
            &self.control.log.saving_ordinals,
        ] {
            word.set(0);
        }
        // What is reserved of the order later is taken for empty, and the file may be that of an older log.
        let ordinals = file::stamp(&self.files.order).map_or(0, |stamp| stamp.size) / 8;
        if ordinals > 0 && !file::punch(&self.files.order, 0, ordinals * 8) {
            (0..ordinals.min(self.order.map().capacity() / 8)).for_each(|ordinal| crate::index::order::clear(&self.order, ordinal));
        }
        // Every segment whose head could be there.
        let segments = (readable + SEGMENT_BYTES).saturating_sub(Segment(0).first().bytes()) / SEGMENT_BYTES;
        self.reserve_segments(segments)?;
        for segment in (0..segments).map(Segment) {
            let slot = self.slot(segment)?;
            for word in [&slot.order, &slot.live, &slot.retired, &slot.span] {
                word.set(0);
            }
        }
        self.control.log.segments.set(segments);
        // The commit word too: floors are taken from it while tables grow.
        self.control.commit.publish(&Counters::default());
        let place = Descriptor::first(SLOTS_LOG2_MIN);
        self.allocate_index(place)?;
        let first = Table { words: &self.index, place };
        for slot in 0..place.words() {
            first.set(slot, Entry(0));
        }
        table.current.set(place.encode());
        Ok(())
    }

    /// Nothing of a log could be read: an empty log is fresh, one with content is not taken for it.
    pub(super) fn require_unused(&self, at: Position, size: u64, why: &'static str) -> Result<()> {
        let mut offset = LOG_HEADER_BYTES;
        while offset < size {
            let bytes = file::read_at(&self.files.log, offset, 1 << 20).map_err(|error| Error::io("read", &self.log_path(), error))?;
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|byte| *byte != 0) && self.has_record_like(&bytes) {
                return Err(self.damaged(at, why));
            }
            // The next piece overlaps, for what lies across.
            offset += (bytes.len() as u64).saturating_sub(HEADER_BYTES as u64).max(8) / 8 * 8;
        }
        Ok(())
    }

    /// Whether the last record of some transaction stands in these bytes.
    fn has_record_like(&self, bytes: &[u8]) -> bool {
        (0..bytes.len().saturating_sub(HEADER_BYTES - 1)).step_by(8).any(|at| {
            let bytes = &bytes[at..];
            let size = record::frame(bytes).map_or(0, |(size, _)| (size as usize).min(bytes.len()));
            Record::of(&bytes[..size]).is_some_and(|record| {
                record.is_last() && record.version() > 0 && record.hash() == record::hash_of(record.key(), self.header.seed)
            })
        })
    }

    /// Copies the log to a file beside it, before what stands behind its last transaction is written over.
    pub(super) fn put_aside(&self, size: u64) -> Result<()> {
        let path = aside::next_name(&self.live());
        let failed = |error| Error::io("put the damaged end of the log aside in", &path, error);
        self.copy_log(size, &path).map_err(failed).inspect_err(|_| {
            // A part of it takes room and is of no use.
            let _ = file::remove(&path);
        })?;
        aside::forget_old(&self.live());
        Ok(())
    }

    fn copy_log(&self, size: u64, path: &Path) -> io::Result<()> {
        let copy = file::open_or_create(path, self.file_mode)?;
        let mut offset = 0;
        while offset < size {
            let bytes = file::read_at(&self.files.log, offset, ((size - offset) as usize).min(1 << 20))?;
            if bytes.is_empty() {
                break;
            }
            file::write_at(&copy, &bytes, offset)?;
            offset += bytes.len() as u64;
        }
        file::sync_data(&copy)
    }
}
