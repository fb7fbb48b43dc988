//! A store over its files: everything is mapped, and nothing that they hold is trusted yet.

use crate::error::{Error, Result};
use crate::limits::{INDEX_BYTES_MAX, LOG_BYTES_MAX, ORDER_BYTES_MAX, SEGMENTS_BYTES_MAX};
use crate::log::header::{LOG_HEADER_BYTES, LogHeader};
use crate::segment::control::{self, CONTROL_BYTES, Control};
use crate::segment::heap::Heap;
use crate::segment::slots::Slots;
use crate::segment::words::MappedWords;
use crate::store::core::files::{Files, INDEX, LIVE, LOG, ORDER, SEGMENTS, cannot, cannot_allocate, not_a_log};
use crate::store::core::how::How;
use crate::store::core::membership::Membership;
use crate::store::core::shared::{Auto, Loss, Mode, Shared};
use crate::sys::file::{Kept, Open as _};
use crate::sys::map::FileMap;
use crate::sys::{file, fork};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Maps the control page of somebody who is alone: a reader's own, in memory, or that of all.
pub(crate) fn map_control(file: &File, path: &Path, in_memory: bool) -> Result<(&'static Control, Option<FileMap>)> {
    file::allocate(file, 0, CONTROL_BYTES).map_err(|error| cannot_allocate(path, error))?;
    let failed = |error| Error::io("map", path, error);
    if in_memory {
        let (own, control) = control::map_own(file).map_err(failed)?;
        return Ok((control, Some(own)));
    }
    Ok((control::map(file, true).map_err(failed)?, None))
}

/// Maps the files and reads the log's head. What the files hold is not trusted yet.
pub(crate) fn assemble(
    directory: &Path,
    mode: Mode,
    how: &How,
    files: Files,
    control: &'static Control,
    index_writable: bool,
) -> Result<Shared> {
    let live = directory.join(LIVE);
    let map = |name: &str, file: &Kept, capacity: u64, writable: bool| {
        let size = file::stamp(file).map_err(|error| Error::io("look at", &live.join(name), error))?.size;
        let mapped = file.file().and_then(|file| FileMap::new(file, capacity, size.max(1), writable));
        mapped.map_err(|error| Error::io("map", &live.join(name), error))
    };
    let log_path = live.join(LOG);
    let head = file::read_at(&files.log, 0, LOG_HEADER_BYTES as usize).map_err(|error| Error::io("read", &log_path, error))?;
    let header = LogHeader::decode(&head).map_err(|reason| not_a_log(&log_path, reason))?;
    Ok(Shared {
        mode,
        file_mode: how.file_mode,
        control,
        heap: Heap::new(map(LOG, &files.log, LOG_BYTES_MAX, mode == Mode::Writer)?),
        index: MappedWords::new(map(INDEX, &files.index, INDEX_BYTES_MAX, index_writable)?),
        order: MappedWords::new(map(ORDER, &files.order, ORDER_BYTES_MAX, index_writable)?),
        slots: Slots::new(map(SEGMENTS, &files.segments, SEGMENTS_BYTES_MAX, index_writable)?),
        files,
        header,
        membership: Membership::new(),
        loss: Loss::Nothing,
        tasks: std::sync::OnceLock::new(),
        private_pin: None,
        auto: Auto::default(),
        canon: how.canon,
        own_control: None,
        own_locks: None,
        origin: None,
        wants_flush: AtomicBool::new(false),
        generation: AtomicU64::new(fork::generation()),
        directory: directory.to_owned(),
        directory_handle: file::open(directory, false).and_then(Kept::new).map_err(|error| cannot("open", directory, error))?,
    })
}
