//! Whether what was left of index and control can be trusted: the stamps, and the note of a close in good order.

use crate::segment::control::{LAYOUT, MAGIC, READY};
use crate::store::core::shared::Shared;
use crate::store::recover::lasting::lasting_words;
use crate::store::write::locked::Locked;
use crate::sys::{file, process};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

impl Shared {
    /// Whether index and control were written in this boot, by this libc, pid namespace and layout, for this very log.
    pub(crate) fn is_ours(&self) -> bool {
        let stamps = &self.control.stamps;
        let (Ok(boot), Ok(namespace), Ok(log)) = (process::boot_id(), process::pid_namespace(), file::stamp(&self.files.log)) else {
            return false;
        };
        stamps.magic.get() == MAGIC
            && stamps.layout.get() == LAYOUT
            && [stamps.boot[0].get(), stamps.boot[1].get()] == boot
            && stamps.libc.get() == process::LIBC
            && stamps.pid_namespace.get() == namespace
            && (stamps.device.get(), stamps.inode.get(), stamps.store.get()) == (log.device, log.inode, self.header.store[0])
    }

    pub(crate) fn was_closed_in_order(&self) -> bool {
        let closed = &self.control.closed;
        closed.commit.get() == self.control.commit.newest().wrapping_add(1)
            && self.control.stamps.state.get() == READY
            && self.lasting_sum() == closed.words.get()
            && self.files_sum().is_some_and(|sum| sum == closed.files.get())
            && self.is_ready_as_counted()
    }

    /// Whether the files reach as far as is counted ready: a page behind a file's end is fatal to whoever touches it.
    fn is_ready_as_counted(&self) -> bool {
        let (files, ready) = (&self.files, &self.control.ready);
        let counted =
            [(&files.log, &ready.log), (&files.index, &ready.index), (&files.order, &ready.order), (&files.segments, &ready.segments)];
        let tasks = if self.is_tracker() { self.task_files().ok() } else { None };
        let tasks = tasks.iter().flat_map(|tasks| tasks.files().into_iter().zip(self.control.tasks.ready()));
        counted.into_iter().chain(tasks).all(|(file, ready)| file::stamp(file).is_ok_and(|stamp| ready.get() <= stamp.size))
    }

    /// Notes that all is in order. The caller is alone but for threads of its own process, and holds `opening`.
    pub(crate) fn close_in_order(&self) {
        // The lock keeps threads of this process out, and repairs what another's death may have left.
        let Ok(locked) = Locked::new(self, Duration::from_millis(500)) else { return };
        if let Some(files) = self.files_sum() {
            let closed = &self.control.closed;
            closed.files.set(files);
            closed.words.set(self.lasting_sum());
            closed.commit.set(self.control.commit.newest() + 1);
        }
        drop(locked);
    }

    fn lasting_sum(&self) -> u64 {
        let bytes: Vec<u8> = lasting_words(self.control).into_iter().flat_map(|word| word.get().to_le_bytes()).collect();
        xxh3_64(&bytes)
    }

    fn files_sum(&self) -> Option<u64> {
        let mut bytes = Vec::new();
        let tasks = if self.is_tracker() { Some(self.task_files().ok()?) } else { None };
        let tasks = tasks.iter().flat_map(|tasks| tasks.files());
        for file in self.files.all().into_iter().chain(tasks) {
            let stamp = file::stamp(file).ok()?;
            for word in [stamp.device, stamp.inode, stamp.size, stamp.modified_nanoseconds, stamp.changed_nanoseconds] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        Some(xxh3_64(&bytes))
    }
}
