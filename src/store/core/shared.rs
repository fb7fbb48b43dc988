//! One store as one process has it open: the mappings, shared by all handles and threads.

use crate::error::{Error, ErrorKind, Result};
use crate::index::grow::{Fact, Growth, Records};
use crate::index::order;
use crate::index::table::{Descriptor, Table};
use crate::limits::SEGMENT_BYTES;
use crate::log::header::{LogHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::record::Record;
use crate::segment::control::Control;
use crate::segment::counters::Counters;
use crate::segment::heap::{Heap, Position, Segment};
use crate::segment::slots::{Slot, Slots};
use crate::segment::words::MappedWords;
use crate::store::core::canon::Canon;
use crate::store::core::files::{CONTROL, Files, INDEX, LIVE, LOCKS, LOG, ORDER, TaskFiles, integrity};
use crate::store::core::how::Writing;
use crate::store::core::membership::Membership;
use crate::sys::atomic::Ordering;
use crate::sys::file::{Kept, Open as _};
use crate::sys::map::FileMap;
use crate::sys::{file, fork};
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

/// How a process takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads and writes, attached.
    Writer,
    /// Reads what others write, attached, with read-only mappings.
    Reader,
    /// Reads the log as it was at the open, with an index of its own; nobody knows of it.
    Private,
}

/// What may be missing, from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing explains that anything is.
    Nothing,
    /// What was not power-safe when the power failed.
    Unflushed,
    /// Whoever opens said that it may.
    Anything,
}

/// What this process remembers of saving by itself.
#[derive(Debug, Default)]
pub(crate) struct Auto {
    /// Not before so many keys changed, as long as the shards are saved up to `since`.
    pub(crate) at: AtomicU64,
    pub(crate) since: AtomicU64,
    /// Coarse nanoseconds since boot until when another process's hold need not be looked for again.
    pub(crate) held_until: AtomicU64,
    /// Whether a thread is saving. Of a fork's parent, it stays set: the child saves inline.
    pub(crate) is_running: AtomicBool,
}

/// Where a copy comes from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) store: Arc<Shared>,
    /// How it is written to.
    pub(crate) writing: Writing,
    /// By ordinal of the copy. Read and written by the holder of the copy's mutex.
    pub(crate) known: MappedWords,
    pub(crate) known_file: File,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    /// The directory itself, wherever it is by now.
    pub(crate) directory_handle: Kept,
    pub(crate) mode: Mode,
    pub(crate) file_mode: u32,
    pub(crate) control: &'static Control,
    pub(crate) heap: Heap,
    pub(crate) index: MappedWords,
    pub(crate) order: MappedWords,
    pub(crate) slots: Slots,
    pub(crate) files: Files,
    pub(crate) header: LogHeader,
    /// What a recovery may give up.
    pub(crate) loss: Loss,
    pub(crate) membership: Arc<Membership>,
    /// Opened when the store is first seen to be a tracker.
    pub(crate) tasks: OnceLock<TaskFiles>,
    pub(crate) auto: Auto,
    pub(crate) canon: &'static dyn Canon,
    /// Keeps the log of a [`Mode::Private`] as it was.
    pub(crate) private_pin: Option<Kept>,
    /// The mapping behind `control` of a store in memory, which is nobody else's and ends with it.
    pub(crate) own_control: Option<FileMap>,
    /// The locks file of a copy in memory.
    pub(crate) own_locks: Option<Kept>,
    /// Of a copy in memory: what it is a copy of.
    pub(crate) origin: Option<Box<Origin>>,
    /// The log has grown for so long without a flush that somebody should do one.
    pub(crate) wants_flush: AtomicBool,
    /// The fork generation in which this process joined; another value means that a child has yet to join.
    pub(crate) generation: AtomicU64,
}

impl Shared {
    pub(crate) fn live(&self) -> PathBuf {
        self.directory.join(LIVE)
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.live().join(LOG)
    }

    /// Where the locks file is to be opened.
    pub(crate) fn locks_path(&self) -> PathBuf {
        self.own_locks.as_ref().and_then(|locks| locks.file().ok()).map_or_else(|| self.live().join(LOCKS), file::path_of)
    }

    /// To be called first by every operation: in a child made by fork, joins the store in its own name.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Result<()> {
        if self.generation.load(Ordering::Relaxed) == fork::generation() { Ok(()) } else { self.join_after_fork() }
    }

    /// Whether a segment has a head, as the file says: to look through the mapping may need a block.
    pub(crate) fn has_head(&self, segment: Segment) -> bool {
        file::read_at(&self.files.log, segment.head().bytes(), SEGMENT_HEADER_BYTES).is_ok_and(|head| SegmentHeader::is_marked(&head))
    }

    /// The record at a position that the index or another record names, in place: for the holder of the mutex, for the owner
    /// of a pin that covers it, and for whoever is alone.
    #[inline(always)]
    pub(crate) fn record(&self, position: Position) -> Result<Record<'_>> {
        Record::at(&self.heap, position, self.control.ready.log.load(Ordering::Relaxed))
            .ok_or_else(|| self.damaged(position, "no record where the index says"))
    }

    /// A segment's slot, where its head is ready.
    #[inline(always)]
    pub(crate) fn slot(&self, segment: Segment) -> Result<&Slot> {
        let ready = self.control.ready.segments.load(Ordering::Relaxed);
        self.slots.get(segment, ready).ok_or_else(|| self.damaged(segment.start(), "a place outside of the log's segments is named"))
    }

    /// What stands at a position contradicts what names it, or is not there for this process.
    #[cold]
    pub(crate) fn damaged(&self, position: Position, what: &str) -> Error {
        if self.is_in_reach(position) { self.integrity(position.bytes(), what) } else { self.out_of_reach() }
    }

    #[cold]
    pub(crate) fn integrity(&self, offset: u64, what: &str) -> Error {
        integrity(self.log_path(), offset, what)
    }

    /// The counters of the newest transaction. Every ordinal below the next one has its word in what this process mapped.
    #[inline]
    pub(crate) fn counters(&self) -> Result<Counters> {
        let Some(counters) = self.control.commit.read() else {
            return Err(self.unusable(CONTROL, "the counters are not those of the newest transaction"));
        };
        // Ordinals are reserved before they are committed.
        if counters.next_ordinal > self.order_bytes_ready() / order::bytes_for(1) {
            return Err(self.unusable(ORDER, "it ends before the newest ordinal"));
        }
        Ok(counters)
    }

    /// How far the order file can be read.
    #[inline]
    pub(crate) fn order_bytes_ready(&self) -> u64 {
        self.control.ready.order.load(Ordering::Acquire).min(self.order.map().capacity())
    }

    /// The table that is complete. Readers load it after the commit word.
    #[inline(always)]
    pub(crate) fn table(&self) -> Result<(u64, Table<'_, MappedWords>)> {
        // Pairs with [table] in `index/grow.rs`.
        let word = self.control.table.current.load(Ordering::Acquire);
        match Descriptor::decode(word) {
            Some(place) if place.fits(self.control.ready.index.load(Ordering::Relaxed).min(self.index.map().capacity())) => {
                Ok((word, Table { words: &self.index, place }))
            }
            _ => Err(self.unusable(INDEX, "its table lies outside of it")),
        }
    }

    /// A file that is made anew from the log, and cannot be used as it is.
    #[cold]
    pub(crate) fn unusable(&self, file: &str, what: &str) -> Error {
        if let Err(error) = self.require_reach() {
            return error;
        }
        let path = self.live().join(file);
        let message = format!("{}: {what}; close the store in all processes and open it again to rebuild it", path.display());
        Error::new(ErrorKind::Integrity { path, line: 0, what: what.to_owned() }, message)
    }

    /// Whether the segment of a position lies in what this process has mapped. Another process may have mapped more, and made
    /// the files longer than that.
    fn is_in_reach(&self, position: Position) -> bool {
        let ready = &self.control.ready;
        let (segments, log) = (ready.segments.load(Ordering::Relaxed), ready.log.load(Ordering::Relaxed));
        if log <= self.heap.map().capacity() && segments <= self.slots.map().capacity() {
            return true;
        }
        let span = self.slots.get(position.segment(), segments).map(|slot| slot.span.load(Ordering::Relaxed).max(1));
        span.is_some_and(|span| (position.segment().0.saturating_add(span)).saturating_mul(SEGMENT_BYTES) <= self.heap.map().capacity())
    }

    /// Fails where the files are longer than what this process has mapped. Who writes may meet any part of them.
    #[inline]
    pub(crate) fn require_reach(&self) -> Result<()> {
        let ready = &self.control.ready;
        let mapped = [
            (&ready.log, self.heap.map()),
            (&ready.index, self.index.map()),
            (&ready.order, self.order.map()),
            (&ready.segments, self.slots.map()),
        ];
        let is_mapped = mapped.iter().all(|(ready, map)| ready.load(Ordering::Relaxed) <= map.capacity());
        if is_mapped { Ok(()) } else { Err(self.out_of_reach()) }
    }

    #[cold]
    fn out_of_reach(&self) -> Error {
        let message = "the store is larger than this process can map; raise the limit of its address space (ulimit -v) and open it again";
        Error::new(ErrorKind::Full, format!("{}: {message}", self.directory.display()))
    }

    /// The tables, for the holder of the mutex.
    pub(crate) fn growth(&self) -> Growth<'_, MappedWords> {
        Growth { words: &self.index, state: &self.control.table }
    }

    /// Fails where the handle may not write.
    pub(crate) fn require_writer(&self) -> Result<()> {
        if self.mode == Mode::Writer {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ReadOnly,
            format!("{} was opened with read_only(true): open it without to change it", self.directory.display()),
        ))
    }
}

impl Records<Error> for Shared {
    fn fact(&self, position: Position) -> Result<Fact> {
        let record = self.record(position)?;
        Ok(Fact { hash: record.hash(), version: record.version() })
    }

    fn same_key(&self, one: Position, other: Position) -> Result<bool> {
        let (one, other) = (self.record(one)?, self.record(other)?);
        Ok(one.hash() == other.hash() && one.key() == other.key())
    }

    fn prefetch(&self, position: Position) {
        self.heap.prefetch(position);
    }
}
