//! Rebuilding index and control from the log: every transaction is read, checked and published again.
//!
//! The longest valid prefix counts. What stands behind it is an unfinished transaction and means nothing, unless it is
//! known to have been committed: the control page of this boot says how far the log was sealed, and a later transaction
//! that is whole shows that something was written in between. In the boot that wrote it, that is damage and an error;
//! after another boot it is what a power cut leaves, and the rest is put aside in a file before it is written over.

use crate::error::{Error, Result};
use crate::index::table::{Descriptor, Entry, SLOTS_LOG2_MIN, Table};
use crate::limits::ORDER_BYTES_MAX;
use crate::log::footer::FOOTER_BYTES;
use crate::log::header::LOG_HEADER_BYTES;
use crate::log::record::Kind;
use crate::log::scan::Scan;
use crate::segment::control::{LAYOUT, MAGIC};
use crate::segment::counters::Counters;
use crate::segment::heap::Position;
use crate::store::shared::{Mode, Shared};
use crate::sys::{clock, file, process};
use crate::value;
use std::fs::File;

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
        let sealed = if self.is_ours() { self.control.log.sealed.get() } else { 0 };
        self.control.stamps.state.set(0);
        self.stamp(sealed)?;
        self.reset(readable)?;
        let mut scan = Scan::new(&self.heap, readable, self.header.salt);
        let mut last = (Position::NONE, Counters { chain: self.header.salt, ..Counters::default() });
        let end = loop {
            let transaction = match scan.next() {
                Ok(transaction) => transaction,
                Err(end) => break end,
            };
            let counters = transaction.footer.counters;
            if counters.next_ordinal > ORDER_BYTES_MAX / 8 || counters.length > counters.next_ordinal {
                return Err(self.damaged(transaction.footer_at, "a transaction counts more keys than there can be"));
            }
            let inserts = transaction.records.iter().filter(|(_, record)| record.kind() == Kind::Set).count() as u64;
            self.reserve_for_rebuild(&transaction.footer.counters, inserts)?;
            for (position, record) in &transaction.records {
                if record.kind() != Kind::Remove {
                    value::validate(record.value()).map_err(|what| self.damaged(*position, &what))?;
                }
                if record.version() != counters.sequence || record.previous() >= *position {
                    return Err(self.damaged(*position, "a record belongs to another transaction"));
                }
                if record.ordinal() >= transaction.footer.counters.next_ordinal && record.kind() != Kind::Settings {
                    return Err(self.damaged(*position, "a record's ordinal was never given out"));
                }
                self.publish(*position, record.kind(), record.hash(), record.ordinal(), record.key(), None)?;
            }
            self.growth().step(crate::index::grow::SLOTS_PER_INSERT * (inserts + 1), self)?;
            last = (transaction.footer_at, transaction.footer.counters);
            self.control.commit.publish(&last.1);
        };
        if last.0.0 < sealed {
            return Err(self.damaged(end.at, end.why));
        }
        let later = if sealed == 0 && self.mode != Mode::Private { scan.finds_later_transaction() } else { None };
        if later.is_some() {
            self.put_aside(end.at.bytes(), size)?;
        }
        if sealed == 0 && last.0 == Position::NONE && self.mode == Mode::Writer {
            self.require_unused(end.at, size, end.why)?;
        }
        let aligned = end.at.bytes().next_multiple_of(4096).min(readable);
        if self.mode == Mode::Writer {
            self.control.ready.log.set(aligned);
        }
        self.control.log.sealed.set(last.0.0);
        self.control.commit.publish(&last.1);
        Ok(())
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
    fn reset(&self, readable: u64) -> Result<()> {
        let (table, ready) = (&self.control.table, &self.control.ready);
        ready.log.set(readable);
        ready.index.set(0);
        ready.order.set(0);
        ready.log_claim.set(0);
        for word in [
            &table.next,
            &table.migrated,
            &table.zeroed,
            &table.occupied,
            &table.next_occupied,
            &table.floor,
            &table.dropped,
            &self.control.log.settings,
        ] {
            word.set(0);
        }
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
    fn require_unused(&self, at: Position, size: u64, why: &'static str) -> Result<()> {
        let mut offset = LOG_HEADER_BYTES;
        while offset < size {
            let bytes = file::read_at(&self.files.log, offset, 1 << 20).map_err(|error| Error::io("read", &self.log_path(), error))?;
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|byte| *byte != 0) && self.has_footer_like(offset, &bytes) {
                return Err(self.damaged(at, why));
            }
            // The next piece overlaps, for what lies across.
            offset += (bytes.len() as u64).saturating_sub(FOOTER_BYTES as u64).max(8) / 8 * 8;
        }
        Ok(())
    }

    /// Whether some transaction was once finished in these bytes.
    fn has_footer_like(&self, offset: u64, bytes: &[u8]) -> bool {
        (0..bytes.len().saturating_sub(FOOTER_BYTES - 1)).step_by(8).any(|at| {
            crate::log::footer::Footer::decode(&bytes[at..]).is_some_and(|footer| {
                footer.counters.sequence > 0
                    && footer.start.bytes() <= offset + at as u64
                    && footer.counters.length <= footer.counters.next_ordinal
            })
        })
    }

    /// Copies what will be written over to a file beside the log.
    fn put_aside(&self, from: u64, to: u64) -> Result<()> {
        let path = self.live().join(format!("log.cut-{}", clock::unix_nanoseconds()));
        let failed = |error| Error::io("put the damaged end of the log aside in", &path, error);
        let copy = file::open_or_create(&path, self.file_mode).map_err(failed)?;
        let mut offset = from;
        while offset < to {
            let bytes = file::read_at(&self.files.log, offset, ((to - offset) as usize).min(1 << 20)).map_err(failed)?;
            if bytes.is_empty() {
                break;
            }
            file::write_at(&copy, &bytes, offset - from).map_err(failed)?;
            offset += bytes.len() as u64;
        }
        sync(&copy).map_err(failed)
    }
}

fn sync(file: &File) -> std::io::Result<()> {
    file::sync_data(file)
}
