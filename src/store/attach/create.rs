//! Making what is not there yet: directories, the log, memory files. What could not be finished is taken away again.

use crate::error::{Error, ErrorKind, Result};
use crate::limits::SEGMENT_BYTES;
use crate::log::header::{LogHeader, SegmentHeader};
use crate::segment::heap::Segment;
use crate::store::core::files::{LIVE, LOG, cannot};
use crate::store::core::how::How;
use crate::sys::{clock, file, process};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Blocks of a new log.
const FIRST_BYTES: u64 = 64 * 1024;
const _: () = assert!(FIRST_BYTES <= SEGMENT_BYTES);

/// The store's directory with links resolved, made where it is missing and may be made.
pub(crate) fn locate(path: &Path, how: &How) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(ErrorKind::Io, "open a store: the path is empty; name a directory"));
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::WrongKind,
                format!("open {}: it is a file, and a store is a directory; name another path", path.display()),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && how.create && !how.read_only => {
            // Refused before anything is made.
            if !how.any_file_system
                && let Some(above) = Path::new(".").join(path).ancestors().skip(1).find(|above| above.is_dir())
            {
                file::require_coherent(above)?;
            }
            let made = file::create_directories(path, how.file_mode);
            made.map_err(|error| cannot("create", path, error))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::caused(
                ErrorKind::NotFound,
                format!("open {}: no such directory; open it with create(true) and without read_only to make it", path.display()),
                error,
            ));
        }
        Err(error) => return Err(cannot("open", path, error)),
    }
    let path = fs::canonicalize(path).map_err(|error| cannot("open", path, error))?;
    if !how.any_file_system {
        file::require_coherent(&path)?;
    }
    require_store_or_empty(&path, how)?;
    Ok(path)
}

fn require_store_or_empty(path: &Path, how: &How) -> Result<()> {
    if path.join(LIVE).join(LOG).exists() {
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|error| cannot("read", path, error))?;
    let names: Vec<_> = entries.filter_map(|entry| entry.ok()).map(|entry| entry.file_name()).filter(|name| name != LIVE).collect();
    if names.iter().any(|name| how.canon.is_name(name)) {
        return Ok(());
    }
    if let Some(name) = names.first() {
        return Err(Error::new(
            ErrorKind::WrongKind,
            format!("open {}: it is no store and not empty (it holds {}); name an empty or new directory", path.display(), name.display()),
        ));
    }
    if how.create && !how.read_only {
        return Ok(());
    }
    Err(no_store(path))
}

#[cold]
pub(crate) fn no_store(path: &Path) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("open {}: it holds no store; open it with create(true) and without read_only to make one", path.display()),
    )
}

/// A new log under a name that nobody looks for.
pub(crate) fn draft_log(live: &Path, draft: &Path, file_mode: u32) -> io::Result<File> {
    file::create_directories(&live.join("tmp"), file_mode)?;
    if draft.exists() {
        file::remove(draft)?;
    }
    write_log(draft, file_mode)?;
    file::open(draft, true)
}

/// A new log in memory.
pub(crate) fn memory_log(name: &str) -> io::Result<File> {
    let file = file::in_memory(name)?;
    fill_log(&file)?;
    Ok(file)
}

pub(crate) fn shared_directory(live: &Path, file_mode: u32) -> Result<()> {
    file::create_directories(live, file_mode).map_err(|error| cannot("create", live, error))
}

/// Makes the log, whole or not at all: it appears under its name when its head is written. The caller is alone.
pub(crate) fn log_if_absent(live: &Path, file_mode: u32) -> Result<()> {
    let path = live.join(LOG);
    if path.try_exists().map_err(|error| cannot("look for", &path, error))? {
        return Ok(());
    }
    let temporary = live.join("tmp");
    shared_directory(&temporary, file_mode)?;
    let draft = temporary.join(LOG);
    let outcome = write_log(&draft, file_mode).and_then(|()| file::rename(&draft, &path));
    outcome.map_err(|error| {
        let _ = file::remove(&draft);
        let _ = file::remove_directory(&temporary);
        cannot("create", &path, error)
    })
}

fn write_log(path: &Path, file_mode: u32) -> io::Result<()> {
    let file = file::open_or_create(path, file_mode)?;
    fill_log(&file)?;
    file::sync_data(&file)
}

fn fill_log(file: &File) -> io::Result<()> {
    let [one, other, seed, salt] = process::random_words();
    let header = LogHeader { store: [one, other], seed, salt, created_nanoseconds: clock::unix_nanoseconds(), loaded: [0, 0] };
    file::allocate(file, 0, FIRST_BYTES)?;
    file::write_at(file, &header.encode(), 0)?;
    file::write_at(file, &SegmentHeader::first(header.salt).encode(header.salt), Segment(0).head().bytes())
}

/// A copy in memory of what a file holds.
pub(crate) fn copy_to_memory(mut from: &File, name: &str) -> io::Result<File> {
    let mut to = file::in_memory(name)?;
    io::copy(&mut from, &mut to)?;
    Ok(to)
}
