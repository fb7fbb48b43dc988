//! The sync lock: whoever holds it may change the files beside the log. Byte 1 of the locks file, on an open file of the
//! holder's own, so that threads exclude each other too, the kernel drops it at death, and a fork hands on nothing.

use crate::error::{Error, ErrorKind, Owner, Result};
use crate::store::core::files::{LOCKS, cannot};
use crate::store::core::membership;
use crate::store::core::shared::Shared;
use crate::sys::{file, locks, process};
use std::fs::File;
use std::time::{Duration, Instant};

const SYNCING: u64 = 1;
/// Where in the file the holder notes who he is.
const NOTE_AT: u64 = 64;

#[derive(Debug)]
pub(crate) struct SyncLock {
    file: File,
}

impl SyncLock {
    /// Waits for the lock, or, unless it `waits`, comes back without where somebody has it.
    pub(crate) fn acquire(shared: &Shared, timeout: Duration, waits: bool) -> Result<Option<SyncLock>> {
        let path = shared.live().join(LOCKS);
        let failed = |error| cannot("lock", &path, error);
        let start = Instant::now();
        let mut pause = Duration::from_micros(50);
        let lock = SyncLock { file: membership::open_lock_file(&path, true)? };
        while !locks::try_exclusive(&lock.file, SYNCING, 1).map_err(failed)? {
            if !waits {
                return Ok(None);
            }
            if start.elapsed() >= timeout {
                return Err(lock.timeout(shared, timeout));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
        let this = process::current();
        let note = format!("{:<63}\n", format!("{} {} {}", this.pid, this.started_ticks, process::program_name()));
        // For the message of whoever waits too long.
        let _ = file::write_at(&lock.file, note.as_bytes(), NOTE_AT);
        Ok(Some(lock))
    }

    #[cold]
    fn timeout(&self, shared: &Shared, timeout: Duration) -> Error {
        let owner: Owner = membership::noted_owner(&self.file, NOTE_AT);
        let message = format!(
            "{}: {owner} has been saving the store for more than {timeout:?}: continue or end it, or wait longer with Options::lock_timeout",
            shared.directory.display()
        );
        Error::new(ErrorKind::LockTimeout { owner, since: timeout }, message)
    }
}

impl Drop for SyncLock {
    fn drop(&mut self) {
        // Closing releases it too, but not while a child made by fork in this moment has a copy.
        let _ = locks::release(&self.file, SYNCING, 1);
        membership::forget_lock_file(&self.file);
    }
}
