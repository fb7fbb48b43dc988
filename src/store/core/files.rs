//! The files of `.live`: their names, what stays open of them, and what is said where one cannot be used.

use crate::error::{Error, ErrorKind, Result};
use crate::log::header::{FORMAT, NotALog};
use crate::segment::words::MappedWords;
use crate::sys::file::{self, Kept};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Directory of the shared state, inside the store's.
pub(crate) const LIVE: &str = ".live";
pub(crate) const LOCKS: &str = "locks";
pub(crate) const CONTROL: &str = "control";
pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const ORDER: &str = "order";
pub(crate) const SEGMENTS: &str = "segments";
/// Those of a tracker.
pub(crate) const TASK_NAMES: [&str; 3] = ["tasks", "queue", "claims"];

/// What file systems give back and allocate.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// Words of a place in the table of claims.
pub(crate) const CLAIM_WORDS: u64 = 8;

/// The files behind the mappings.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) log: Kept,
    pub(crate) index: Kept,
    pub(crate) order: Kept,
    pub(crate) segments: Kept,
}

impl Files {
    pub(crate) fn all(&self) -> [&Kept; 4] {
        [&self.log, &self.index, &self.order, &self.segments]
    }
}

/// The files of a tracker beside index and order.
#[derive(Debug)]
pub(crate) struct TaskFiles {
    pub(crate) bits: MappedWords,
    pub(crate) queue: MappedWords,
    pub(crate) claims: MappedWords,
    pub(crate) files: [Kept; 3],
}

impl TaskFiles {
    pub(crate) fn files(&self) -> [&Kept; 3] {
        self.files.each_ref()
    }
}

/// A file of the store that stays open.
pub(crate) fn kept(live: &Path, name: &str, file: File) -> Result<Kept> {
    Kept::new(file).map_err(|error| Error::io("look at", &live.join(name), error))
}

/// The directory was taken away.
#[cold]
pub(crate) fn removed(directory: &Path) -> Error {
    Error::new(ErrorKind::StoreRemoved, format!("{} was removed or replaced while it was open; open it again", directory.display()))
}

/// A failed system call on a file of the store, where a lack of rights or of what the file system can has an answer.
#[cold]
pub(crate) fn cannot(doing: &str, path: &Path, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        let why = match path.try_exists() {
            Ok(false) => "the directory above belongs to another user, or may not be written",
            _ => "the store belongs to another user, or was made with another file_mode",
        };
        let message = format!("{doing} {}: no permission; {why}", path.display());
        return Error::caused(ErrorKind::Io, message, error);
    }
    if file::is_unsupported(&error) {
        let message = format!(
            "{doing} {}: it lies on a file system that cannot allocate blocks ahead, without which a full disk would kill whoever writes; use one \
             that can, such as ext4, xfs, btrfs or tmpfs",
            path.display()
        );
        return Error::caused(ErrorKind::UnsupportedFilesystem, message, error);
    }
    Error::io(doing, path, error)
}

/// There are no blocks for a file of the store, or none can be had ahead.
#[cold]
pub(crate) fn cannot_allocate(path: &Path, error: std::io::Error) -> Error {
    cannot("allocate space in", path, error)
}

#[cold]
pub(crate) fn other_layout(directory: &Path) -> Error {
    Error::new(
        ErrorKind::VersionMismatch,
        format!(
            "{} is in use by processes with another version of tastypod; close it there first, or use the same version",
            directory.display()
        ),
    )
}

#[cold]
pub(crate) fn not_a_log(path: &Path, reason: NotALog) -> Error {
    match reason {
        NotALog::Damaged(what, offset) => integrity(path.to_owned(), offset, what),
        NotALog::Version(version) => Error::new(
            ErrorKind::VersionMismatch,
            format!(
                "{} has format version {version}, this tastypod reads version {FORMAT}; open it with the version that wrote it",
                path.display()
            ),
        ),
    }
}

/// An integrity error of a binary file.
#[cold]
pub(crate) fn integrity(path: PathBuf, offset: u64, what: &str) -> Error {
    let message = format!(
        "{} is damaged at byte {offset}: {what}; nothing was changed; restore the file from a copy, or move it away to start afresh",
        path.display()
    );
    Error::new(ErrorKind::Integrity { path, line: offset, what: what.to_owned() }, message)
}
