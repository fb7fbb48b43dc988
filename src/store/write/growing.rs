//! Disk space before it is needed: blocks are allocated and pages brought in ahead, outside the mutex where possible.
//!
//! A store to a page without a block is SIGBUS on a full disk, so nothing is written behind a file's ready count. The
//! count is only raised, after the allocation succeeded; allocating never changes a byte. So it does not matter who does
//! it, how often, how late, or whether he is killed in between: no lock, no state to repair.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::words::MappedWords;
use crate::store::core::files::{INDEX, LOG, ORDER, SEGMENTS, cannot_allocate};
use crate::store::core::shared::Shared;
use crate::sys::atomic::{Ordering, Word};
use crate::sys::file::Kept;
use crate::sys::{file, map::FileMap};

/// Bytes allocated at once: as much as the file has, within these.
pub(crate) const CHUNK_BYTES_MIN: u64 = 64 * 1024;
pub(super) const CHUNK_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// More than this is left to page faults, one huge page each: bringing it in at once would keep others waiting.
const POPULATED_BYTES_MAX: u64 = 2 * CHUNK_BYTES_MAX;

/// One of the growing files.
pub(super) struct Growing<'a> {
    pub(super) name: &'static str,
    pub(super) file: &'a Kept,
    pub(super) map: &'a FileMap,
    pub(super) ready: &'a Word,
}

impl Growing<'_> {
    fn require_mappable(&self, shared: &Shared, needed: u64) -> Result<()> {
        if needed <= self.map.capacity() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Full,
            format!(
                "{}: {} would grow to {needed} bytes, more than the {} that this process can map; raise the limit of its address space (ulimit -v) or split the store",
                shared.directory.display(),
                self.name,
                self.map.capacity()
            ),
        ))
    }

    /// Makes at least the first `needed` bytes ready, and a chunk more.
    pub(super) fn extend(&self, shared: &Shared, needed: u64, ahead: u64, populates: bool) -> Result<()> {
        let ready = self.ready.load(Ordering::Acquire);
        self.require_mappable(shared, needed)?;
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
                file::allocate(self.file, ready, end - ready).map_err(|error| cannot_allocate(&path, error))?;
                end
            }
            Err(error) => return Err(cannot_allocate(&path, error)),
        };
        if populates && end - ready <= POPULATED_BYTES_MAX {
            let start = ready / CHUNK_BYTES_MAX * CHUNK_BYTES_MAX;
            if !self.map.populate(start, end - start) && !self.map.populate(ready, end - ready) {
                return Err(cannot_allocate(&path, std::io::ErrorKind::StorageFull.into()));
            }
        }
        self.ready.raise_to(end);
        Ok(())
    }
}

pub(crate) fn chunk(ready: u64) -> u64 {
    ready.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}

impl Shared {
    pub(super) fn growing_log(&self) -> Growing<'_> {
        Growing { name: LOG, file: &self.files.log, map: self.heap.map(), ready: &self.control.ready.log }
    }

    pub(super) fn growing_order(&self) -> Growing<'_> {
        Growing { name: ORDER, file: &self.files.order, map: MappedWords::map(&self.order), ready: &self.control.ready.order }
    }

    pub(super) fn growing_index(&self) -> Growing<'_> {
        Growing { name: INDEX, file: &self.files.index, map: MappedWords::map(&self.index), ready: &self.control.ready.index }
    }

    pub(super) fn growing_segments(&self) -> Growing<'_> {
        Growing { name: SEGMENTS, file: &self.files.segments, map: self.slots.map(), ready: &self.control.ready.segments }
    }

    /// Makes the first `needed` bytes of the log ready, and more.
    #[cold]
    pub(super) fn extend_log(&self, needed: u64, ahead: u64) -> Result<()> {
        self.growing_log().extend(self, needed, ahead, true)
    }

    pub(super) fn require_mappable(&self, needed: u64) -> Result<()> {
        self.growing_log().require_mappable(self, needed)
    }

    /// Blocks for a piece of the log.
    pub(crate) fn allocate_log(&self, start: u64, length: u64) -> Result<()> {
        file::allocate(&self.files.log, start, length).map_err(|error| cannot_allocate(&self.log_path(), error))
    }
}
