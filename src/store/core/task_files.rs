//! The files that a tracker has beside index and order, opened when the store is first seen to be one.

use crate::error::{Error, Result};
use crate::index::bits::{BLOCK, BLOCK_WORDS, Bits};
use crate::index::queue::Queue;
use crate::limits::TASKS_BYTES_MAX;
use crate::segment::words::MappedWords;
use crate::store::core::files::{TASK_NAMES, TaskFiles, cannot, kept};
use crate::store::core::shared::{Mode, Shared};
use crate::sys::atomic::Ordering;
use crate::sys::file::{self, Kept, Open as _};
use crate::sys::map::FileMap;
use std::fs::File;

impl Shared {
    #[inline(always)]
    pub(crate) fn is_tracker(&self) -> bool {
        self.control.tasks.is_tracker.get() != 0
    }

    /// The files of a tracker, opened at the first call.
    #[inline]
    pub(crate) fn task_files(&self) -> Result<&TaskFiles> {
        match self.tasks.get() {
            Some(files) => Ok(files),
            None => self.open_task_files(),
        }
    }

    #[cold]
    fn open_task_files(&self) -> Result<&TaskFiles> {
        let path = |name: &str| self.live().join(name);
        let open = |name: &str| {
            let file = match self.mode {
                // While a reader's private copy is filled.
                _ if self.own_control.is_some() => file::in_memory(name),
                Mode::Writer => file::open_or_create(&path(name), self.file_mode),
                Mode::Reader => file::open(&path(name), false),
                Mode::Private => file::in_memory(name),
            };
            file.map_err(|error| cannot("open", &path(name), error))
        };
        let map = |name: &str, file: &Kept| {
            let size = file::stamp(file).map_err(|error| Error::io("look at", &path(name), error))?.size;
            let map = file.file().and_then(|file| FileMap::new(file, TASKS_BYTES_MAX, size.max(1), self.mode != Mode::Reader));
            map.map(MappedWords::new).map_err(|error| Error::io("map", &path(name), error))
        };
        let files = [open(TASK_NAMES[0])?, open(TASK_NAMES[1])?, open(TASK_NAMES[2])?];
        let kept = |name: &str, file: File| kept(&self.live(), name, file);
        let [bits, queue, claims] = files;
        let files = [kept(TASK_NAMES[0], bits)?, kept(TASK_NAMES[1], queue)?, kept(TASK_NAMES[2], claims)?];
        let files = TaskFiles {
            bits: map(TASK_NAMES[0], &files[0])?,
            queue: map(TASK_NAMES[1], &files[1])?,
            claims: map(TASK_NAMES[2], &files[2])?,
            files,
        };
        // Another thread may have been faster.
        let _ = self.tasks.set(files);
        self.tasks.get().ok_or_else(|| self.unusable(TASK_NAMES[0], "it could not be mapped"))
    }

    /// The sets of tasks.
    #[inline]
    pub(crate) fn bits(&self) -> Result<Bits<'_, MappedWords>> {
        let words = &self.task_files()?.bits;
        let ready = self.control.tasks.bits_ready.load(Ordering::Acquire).min(words.map().capacity());
        Ok(Bits { words, limit: ready / 8 / BLOCK_WORDS * BLOCK })
    }

    /// The queue, for the holder of the mutex.
    pub(crate) fn queue(&self) -> Result<Queue<'_, MappedWords>> {
        Ok(Queue { words: &self.task_files()?.queue, state: &self.control.tasks })
    }
}
