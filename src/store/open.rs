//! Opening: what is found, what it means, and what is done about it.
//!
//! Under the `opening` lock. If somebody is attached, the stamps must match and the process joins. If nobody is, the
//! process is alone and decides by what it observes:
//!
//! | control page | its boot, libc, pid namespace, files | closed in good order | action                                |
//! |--------------|-------------------------------------|----------------------|----------------------------------------|
//! | none, or of another layout | –                     | –                    | rebuild index and control from the log |
//! | there        | not ours                            | –                    | rebuild                                |
//! | there        | ours                                | no                   | rebuild; the log must reach the seal   |
//! | there        | ours                                | yes                  | trust, with a fresh mutex              |
//!
//! A store that was left by a kill is rebuilt rather than repaired in place when nobody survived: the whole log is read
//! and checked, which finds what may have been done to it meanwhile.

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{INDEX_BYTES_MAX, LOG_BYTES_MAX, ORDER_BYTES_MAX, SEGMENTS_BYTES_MAX};
use crate::log::header::{LOG_HEADER_BYTES, LogHeader, NotALog};
use crate::segment::control::{self, CONTROL_BYTES, Control, LAYOUT, MAGIC, READY};
use crate::segment::heap::Heap;
use crate::segment::slots::Slots;
use crate::segment::words::MappedWords;
use crate::store::canon::Canon;
use crate::store::create;
use crate::store::hold::Auto;
use crate::store::lasting::lasting_words;
use crate::store::load;
use crate::store::loss::Loss;
use crate::store::membership::{self, Membership, Opening};
use crate::store::settings::Wanted;
use crate::store::shared::{Files, Mode, Shared, integrity};
use crate::sys::file::{Kept, Open};
use crate::sys::map::FileMap;
use crate::sys::{file, fork, process};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Directory of the shared state, inside the store's.
pub(crate) const LIVE: &str = ".live";
pub(crate) const LOCKS: &str = "locks";
pub(crate) const CONTROL: &str = "control";
pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const ORDER: &str = "order";
pub(crate) const SEGMENTS: &str = "segments";

/// How to open.
#[derive(Debug, Clone)]
pub(crate) struct How {
    pub(crate) create: bool,
    pub(crate) read_only: bool,
    pub(crate) file_mode: u32,
    pub(crate) timeout: Duration,
    pub(crate) any_file_system: bool,
    pub(crate) salvage: bool,
    pub(crate) wanted: Wanted,
    pub(crate) canon: &'static dyn Canon,
}

/// Opens the store in `directory`, or makes one there.
pub(crate) fn open(directory: &Path, how: &How) -> Result<Arc<Shared>> {
    let directory = create::locate(directory, how)?;
    let live = directory.join(LIVE);
    let wanted = if how.read_only { Mode::Reader } else { Mode::Writer };
    if let Ok(stamp) = file::stamp_at(&live.join(LOG))
        && let Some(shared) = membership::find_open(stamp.device, stamp.inode, wanted)
    {
        shared.enter()?;
        return Ok(shared);
    }
    membership::watch_forks();
    let shared = if how.read_only { open_reader(&directory, how)? } else { open_writer(&directory, how)? };
    membership::register(Arc::new(shared))
}

fn open_writer(directory: &Path, how: &How) -> Result<Shared> {
    let live = directory.join(LIVE);
    create::shared_directory(&live, how.file_mode)?;
    let path = live.join(LOCKS);
    let mut opening = Opening::acquire(&path, || file::open_or_create(&path, how.file_mode), how.timeout)?;
    let alone = opening.try_alone()?;
    let shared = if alone { load::open_alone(directory, how, None)? } else { join_writers(directory, how)? };
    opening.attach()?;
    shared.membership.join(opening, Some(shared.control))?;
    Ok(shared)
}

fn join_writers(directory: &Path, how: &How) -> Result<Shared> {
    let live = directory.join(LIVE);
    let open = |name: &str| file::open(&live.join(name), true).map_err(|error| cannot("open", &live.join(name), error));
    let kept = |name: &str| kept(&live, name, open(name)?);
    let files = Files { log: kept(LOG)?, index: kept(INDEX)?, order: kept(ORDER)?, segments: kept(SEGMENTS)? };
    let control_file = open(CONTROL)?;
    if file::stamp(&control_file).map_or(0, |stamp| stamp.size) < CONTROL_BYTES {
        return Err(other_layout(directory));
    }
    let control = control::map(&control_file, true).map_err(|error| Error::io("map", &live.join(CONTROL), error))?;
    let shared = assemble(directory, Mode::Writer, how, files, control, true)?;
    shared.require_joinable()?;
    Ok(shared)
}

fn open_reader(directory: &Path, how: &How) -> Result<Shared> {
    let live = directory.join(LIVE);
    let open = |name: &str| file::open(&live.join(name), false).map_err(|error| cannot("open", &live.join(name), error));
    let path = live.join(LOCKS);
    // Held until the log is read, where nobody has the store open: no writer can come meanwhile.
    let opening = if path.exists() { Some(Opening::acquire(&path, || file::open(&path, false), how.timeout)?) } else { None };
    let is_live = opening.as_ref().map_or(Ok(false), Opening::is_live)?;
    if is_live && let Some(mut opening) = opening {
        let kept = |name: &str| kept(&live, name, open(name)?);
        let files = Files { log: kept(LOG)?, index: kept(INDEX)?, order: kept(ORDER)?, segments: kept(SEGMENTS)? };
        let control_file = open(CONTROL)?;
        if file::stamp(&control_file).map_or(0, |stamp| stamp.size) < CONTROL_BYTES {
            return Err(other_layout(directory));
        }
        let control = control::map(&control_file, false).map_err(|error| Error::io("map", &live.join(CONTROL), error))?;
        let shared = assemble(directory, Mode::Reader, how, files, control, false)?;
        shared.require_joinable()?;
        opening.attach()?;
        shared.membership.join(opening, None)?;
        return Ok(shared);
    }
    // Nobody is there who could keep index and control in order for us: build our own, in memory. Without a locks file to pin it
    // in, the log is read from a copy: a writer who comes later may use its space again.
    let copied = if !path.exists() && live.join(LOG).exists() {
        let log = open(LOG)?;
        Some(create::copy_to_memory(&log, LOG).map_err(|error| Error::io("copy", &live.join(LOG), error))?)
    } else {
        None
    };
    let mut shared = load::open_alone(directory, how, copied)?;
    // What was loaded from the shards needs nothing of the log.
    if path.exists() && !shared.heap.map().is_writable() {
        shared.private_pin = Some(shared.membership.lasting_pin(&path, shared.control.commit.newest())?);
    }
    drop(opening);
    Ok(shared)
}

/// Maps the control page of somebody who is alone: a reader's own, in memory, or that of all.
pub(crate) fn map_control(file: &File, path: &Path, in_memory: bool) -> Result<(&'static Control, Option<FileMap>)> {
    file::allocate(file, 0, CONTROL_BYTES).map_err(|error| Error::io("allocate space in", path, error))?;
    let failed = |error| Error::io("map", path, error);
    if in_memory {
        let (own, control) = control::map_own(file).map_err(failed)?;
        return Ok((control, Some(own)));
    }
    Ok((control::map(file, true).map_err(failed)?, None))
}

/// A file of the store that stays open.
pub(crate) fn kept(live: &Path, name: &str, file: File) -> Result<Kept> {
    Kept::new(file).map_err(|error| Error::io("look at", &live.join(name), error))
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

impl Shared {
    /// Gets index, control and mutex ready for the first process. The caller is alone.
    pub(crate) fn prepare_alone(&self) -> Result<()> {
        let trusted = self.is_ours() && self.was_closed_in_order();
        // From here on a kill leaves a store that was not closed in good order.
        self.control.closed.commit.set(0);
        let flush = &self.control.flush;
        if flush.leader.get() != 0 {
            flush.failed.increment();
            flush.leader.set(0);
        }
        if !trusted {
            self.rebuild()?;
        }
        for entry in &self.control.processes {
            if entry.pid.get() != 0 {
                entry.pid.set(0);
            }
        }
        self.initialise_mutex()?;
        self.repair()?;
        self.control.stamps.state.set(READY);
        Ok(())
    }

    #[allow(unsafe_code)]
    fn initialise_mutex(&self) -> Result<()> {
        // SAFETY: the caller of `prepare_alone` holds `attached` exclusively under the `opening` lock, so no other
        // process uses the mutex, and this process's threads have no handle yet (or are joining behind a lock).
        let outcome = unsafe { self.control.lock.mutex.initialise() };
        outcome.map_err(|error| Error::io("initialise the mutex of", &self.directory, error))
    }

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
        let Ok(locked) = crate::store::locked::Locked::new(self, Duration::from_millis(500)) else { return };
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

    /// Whether the state that other processes use can be used by this one.
    fn require_joinable(&self) -> Result<()> {
        let stamps = &self.control.stamps;
        if stamps.magic.get() != MAGIC || stamps.layout.get() != LAYOUT {
            return Err(other_layout(&self.directory));
        }
        if !self.is_ours() {
            return Err(Error::new(
                ErrorKind::ForeignState,
                format!(
                    "{} is in use by processes of another pid namespace or libc, with which a mutex cannot be shared; open it from the same container and build, or after they closed it",
                    self.directory.display()
                ),
            ));
        }
        if stamps.state.get() == READY {
            Ok(())
        } else {
            Err(self.integrity(0, "the processes that have it open found it damaged; close it in all of them and open it again"))
        }
    }

    /// Whether the program has left the descriptors alone.
    pub(crate) fn has_its_files(&self) -> bool {
        self.files.all().into_iter().all(Kept::is_there) && self.directory_handle.is_there()
    }

    /// Fails where the program has closed descriptors that it does not know.
    pub(crate) fn require_files(&self) -> Result<()> {
        if self.has_its_files() { Ok(()) } else { Err(self.closed_descriptors()) }
    }

    #[cold]
    fn closed_descriptors(&self) -> Error {
        Error::new(
            ErrorKind::Closed,
            format!(
                "{}: descriptors of the store were closed by this program, which must leave those alone that it has not opened; open the store again",
                self.directory.display()
            ),
        )
    }

    /// Fails where the log has no name any more: cheaper than [`require_in_place`](Shared::require_in_place), which also finds another
    /// store at the path.
    pub(crate) fn require_linked(&self) -> Result<()> {
        if self.mode == Mode::Private || self.own_control.is_some() || self.origin.is_some() {
            return Ok(());
        }
        match file::stamp(&self.files.log) {
            Ok(stamp) if stamp.links > 0 => Ok(()),
            Ok(_) => Err(removed(&self.directory)),
            Err(_) => Err(self.closed_descriptors()),
        }
    }

    /// Fails where another store, or none, stands at the path by now.
    pub(crate) fn require_in_place(&self) -> Result<()> {
        if self.origin.is_some() {
            return Ok(());
        }
        self.require_files()?;
        let (Ok(ours), Ok(theirs)) = (file::stamp(&self.files.log), file::stamp_at(&self.log_path())) else {
            return Err(removed(&self.directory));
        };
        if (ours.device, ours.inode) == (theirs.device, theirs.inode) && ours.links > 0 { Ok(()) } else { Err(removed(&self.directory)) }
    }
}

/// The directory was taken away.
#[cold]
pub(crate) fn removed(directory: &Path) -> Error {
    Error::new(ErrorKind::StoreRemoved, format!("{} was removed or replaced while it was open; open it again", directory.display()))
}

/// A failed system call on a file of the store, where a lack of rights has an answer.
#[cold]
pub(crate) fn cannot(doing: &str, path: &Path, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        let message =
            format!("{doing} {}: no permission; the store belongs to another user, or was made with another file_mode", path.display());
        return Error::caused(ErrorKind::Io, message, error);
    }
    Error::io(doing, path, error)
}

#[cold]
fn other_layout(directory: &Path) -> Error {
    Error::new(
        ErrorKind::VersionMismatch,
        format!(
            "{} is in use by processes with another version of tastypod; close it there first, or use the same version",
            directory.display()
        ),
    )
}

#[cold]
fn not_a_log(path: &Path, reason: NotALog) -> Error {
    match reason {
        NotALog::Damaged(what, offset) => integrity(path.to_owned(), offset, what),
        NotALog::Version(version) => Error::new(
            ErrorKind::VersionMismatch,
            format!(
                "{} has format version {version}, this tastypod reads version {}; open it with the version that wrote it",
                path.display(),
                crate::log::header::FORMAT
            ),
        ),
    }
}
