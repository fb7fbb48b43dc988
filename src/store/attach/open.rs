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
use crate::segment::control::{self, CONTROL_BYTES, LAYOUT, MAGIC, READY};
use crate::store::attach::assemble::assemble;
use crate::store::attach::create;
use crate::store::attach::load;
use crate::store::attach::register;
use crate::store::core::files::{CONTROL, Files, INDEX, LIVE, LOCKS, LOG, ORDER, SEGMENTS, cannot, kept, other_layout};
use crate::store::core::how::How;
use crate::store::core::membership::Opening;
use crate::store::core::shared::{Mode, Shared};
use crate::sys::file::{self, Kept};
use std::path::Path;
use std::sync::Arc;

/// Opens the store in `directory`, or makes one there.
pub(crate) fn open(directory: &Path, how: &How) -> Result<Arc<Shared>> {
    let directory = create::locate(directory, how)?;
    let live = directory.join(LIVE);
    let wanted = if how.read_only { Mode::Reader } else { Mode::Writer };
    if let Ok(stamp) = file::stamp_at(&live.join(LOG))
        && let Some(shared) = register::find_open(stamp.device, stamp.inode, wanted)
    {
        shared.enter()?;
        return Ok(shared);
    }
    register::watch_forks();
    let shared = if how.read_only { open_reader(&directory, how)? } else { open_writer(&directory, how)? };
    register::register(Arc::new(shared))
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
        shared.private_pin = Some(Kept::of(shared.membership.lasting_pin(&path, shared.control.commit.newest())?));
    }
    drop(opening);
    Ok(shared)
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

    /// Whether the state that other processes use can be used by this one.
    fn require_joinable(&self) -> Result<()> {
        let stamps = &self.control.stamps;
        if stamps.magic.get() != MAGIC || stamps.layout.get() != LAYOUT {
            return Err(other_layout(&self.directory));
        }
        if file::stamp(&self.files.log).is_ok_and(|log| (log.device, log.inode) != (stamps.device.get(), stamps.inode.get())) {
            let message = format!(
                "{}: files of the store were replaced, as by a restore, while processes have it open; close it in all of them and open it again",
                self.directory.display()
            );
            return Err(Error::new(ErrorKind::StoreRemoved, message));
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
}
