//! A file mapped far beyond its end, so that it can grow in place while pointers into it stay.
//!
//! The mapping is shared memory that other processes write: it is handed out as raw addresses only, and never
//! unmapped while anything made from it lives. Pages beyond the file's end raise SIGBUS; the callers bound every
//! access by a count of ready bytes.

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use std::fs::{self, File};
use std::io;

#[derive(Debug)]
pub(crate) struct FileMap {
    map: MmapRaw,
    writable: bool,
}

impl FileMap {
    /// Maps `capacity` bytes of `file`, or less where the address space is limited (`ulimit -v`), but at least `needed`.
    pub(crate) fn new(file: &File, capacity: u64, needed: u64, writable: bool) -> io::Result<FileMap> {
        // The program, its threads and other stores need some too: a quarter of what is left, or twice what is there.
        let share = address_space_left().map_or(capacity, |left| (left / 4 / 4096 * 4096).max(needed.saturating_mul(2)));
        let mut length = capacity.min(share);
        loop {
            let mut options = MmapOptions::new();
            options.len(length as usize);
            let outcome = if writable { options.map_raw(file) } else { options.map_raw_read_only(file) };
            match outcome {
                Ok(map) => {
                    // Refused where the system has no huge pages for files; everything works without.
                    let _ = map.advise(Advice::HugePage);
                    return Ok(FileMap { map, writable });
                }
                // Valgrind, for one, refuses what is too long for it as an invalid argument.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL)) && length > needed => {
                    length = (length / 4).max(needed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn address(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Mapped bytes, whether or not the file reaches that far.
    pub(crate) fn capacity(&self) -> u64 {
        self.map.len() as u64
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Brings pages into this process before they are needed, in huge pages where the system gives them. Changes no
    /// byte, so it may come late or twice. False where a store to one of them would be SIGBUS; any other failure costs only the page
    /// faults that it would have saved.
    pub(crate) fn populate(&self, offset: u64, length: u64) -> bool {
        let end = (offset + length).min(self.capacity());
        if self.writable && offset < end {
            let (offset, length) = (offset as usize, (end - offset) as usize);
            // Reading first lets the page cache allocate huge pages; a write fault takes them as they are.
            let _ = self.map.advise_range(Advice::PopulateRead, offset, length);
            let outcome = self.map.advise_range(Advice::PopulateWrite, offset, length);
            return !outcome.is_err_and(|error| error.raw_os_error() == Some(libc::EFAULT));
        }
        true
    }
}

/// Bytes of address space that this process may still take, where they are limited.
fn address_space_left() -> Option<u64> {
    let (limit, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    if limit == RLIM_INFINITY {
        return None;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    // Without /proc: it cannot be all of it.
    Some(used.map_or(limit / 2, |kilobytes| limit.saturating_sub(kilobytes * 1024)))
}
