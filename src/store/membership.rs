//! Taking part in a store: the locks that say so, the process table, snapshot pins, and what a fork does to them.
//!
//! The locks file carries three things. The whole-file lock (flock) is `opening`: held for a moment by whoever opens or
//! leaves. The open-file-description lock on byte 0 is `attached`: held shared for life; who gets it exclusively, under
//! `opening`, is alone. The bytes from [`PIN_BASE`] on are pins: byte `PIN_BASE + n` is locked shared while a snapshot of
//! transaction n lives. The kernel drops them all at death. A child made by fork closes its copies at once and joins in
//! its own name when it first uses the store.

use crate::error::{Error, ErrorKind, Owner, Result};
use crate::limits::PROCESSES_MAX;
use crate::segment::control::{self, Control};
use crate::store::shared::{Mode, Shared};
use crate::sys::atomic::Ordering;
use crate::sys::file::{Kept, Open as _};
use crate::sys::fork_lock::ForkLock;
use crate::sys::process::{self, Identity};
use crate::sys::{file, fork, locks};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub(crate) const ATTACHED: u64 = 0;
/// First of the bytes that pins lock.
pub(crate) const PIN_BASE: u64 = 1 << 20;
/// Pinned by loops over what is there now: a transaction that never comes, so that it keeps no records.
pub(crate) const LOOPS: u64 = 1 << 60;
/// No place in the process table.
const NO_SLOT: u64 = u32::MAX as u64;

/// This process's part in one store.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) members: ForkLock<Members>,
    slot: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Open while this process takes part.
    pub(crate) locks: Option<Kept>,
    /// How many snapshots pin a transaction.
    pub(crate) pins: BTreeMap<u64, u32>,
    /// The log, opened by this process to be flushed through, unless a thread is at it.
    flush: Option<Kept>,
}

/// A store that this process has open.
struct Registered {
    device: u64,
    inode: u64,
    mode: Mode,
    shared: Weak<Shared>,
    membership: Arc<Membership>,
}

/// Descriptors of locks files in the hands of openers and leavers.
static LOCK_FILES: ForkLock<Vec<RawFd>> = ForkLock::new(Vec::new());

/// Opens the locks file, known to forks from the first moment: a child must not keep a lock that its parent takes on it.
pub(crate) fn open_lock_file(path: &Path, writable: bool) -> Result<File> {
    let mut files = LOCK_FILES.lock();
    let locks = file::open(path, writable).map_err(|error| super::open::cannot("open", path, error))?;
    files.push(locks.as_raw_fd());
    Ok(locks)
}

pub(crate) fn forget_lock_file(locks: &File) {
    LOCK_FILES.lock().retain(|descriptor| *descriptor != locks.as_raw_fd());
}

/// Children made by fork join one after the other.
static JOINING: ForkLock<()> = ForkLock::new(());

static REGISTRY: ForkLock<Vec<Registered>> = ForkLock::new(Vec::new());

/// The store that this process has open already, where it serves `mode`.
pub(crate) fn find_open(device: u64, inode: u64, mode: Mode) -> Option<Arc<Shared>> {
    let registry = REGISTRY.lock();
    let mut serving = registry.iter().filter(|entry| {
        (entry.device, entry.inode) == (device, inode) && (entry.mode == Mode::Writer || entry.mode == mode && mode == Mode::Reader)
    });
    let mut useless = Vec::new();
    let found = serving.find_map(|entry| usable(entry, &mut useless));
    drop(registry);
    found
}

/// A registered store, unless the program has closed its descriptors: then it goes to those that are dropped when the register is free
/// again, which their end needs.
fn usable(entry: &Registered, useless: &mut Vec<Arc<Shared>>) -> Option<Arc<Shared>> {
    let shared = entry.shared.upgrade()?;
    if shared.has_its_files() {
        return Some(shared);
    }
    useless.push(shared);
    None
}

/// Sees to it that forks leave no child with locks of its parent. To be called before the first lock is taken.
pub(crate) fn watch_forks() {
    fork::install(before_fork, after_fork_in_parent, after_fork_in_child);
}

/// Makes an opened store known to later opens of this process, to forks and to its exit. If another thread was faster,
/// its store is returned instead.
pub(crate) fn register(shared: Arc<Shared>) -> Result<Arc<Shared>> {
    at_exit();
    let stamp = file::stamp(&shared.files.log).map_err(|error| Error::io("look at", &shared.log_path(), error))?;
    let mut useless = Vec::new();
    let mut registry = REGISTRY.lock();
    let known = registry
        .iter()
        .filter(|entry| (entry.device, entry.inode, entry.mode) == (stamp.device, stamp.inode, shared.mode) && entry.mode != Mode::Private)
        .find_map(|entry| usable(entry, &mut useless));
    if let Some(known) = known {
        drop(registry);
        return Ok(known);
    }
    registry.push(Registered {
        device: stamp.device,
        inode: stamp.inode,
        mode: shared.mode,
        shared: Arc::downgrade(&shared),
        membership: Arc::clone(&shared.membership),
    });
    drop(registry);
    Ok(shared)
}

fn before_fork() {
    let registry = REGISTRY.lock();
    for entry in registry.iter() {
        entry.membership.members.hold_for_fork();
    }
    LOCK_FILES.hold_for_fork();
    control::hold_for_fork();
    std::mem::forget(registry);
}

fn after_fork_in_parent() {
    let registry = REGISTRY.end_of_fork();
    control::end_of_fork();
    drop(LOCK_FILES.end_of_fork());
    for entry in registry.iter() {
        drop(entry.membership.members.end_of_fork());
    }
}

fn after_fork_in_child() {
    let registry = REGISTRY.end_of_fork();
    control::end_of_fork();
    for descriptor in LOCK_FILES.end_of_fork().drain(..) {
        // Whoever held it is a thread of the parent; nobody in the child will close it.
        file::close_orphan(descriptor);
    }
    JOINING.reset_in_child();
    for entry in registry.iter() {
        let mut members = entry.membership.members.end_of_fork();
        // The child's descriptors share the parent's locks: closing them here leaves the locks to the parent.
        members.locks = None;
        members.pins.clear();
        members.flush = None;
        entry.membership.slot.store(NO_SLOT, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Leaves all stores at the end of the process.
pub(crate) fn leave_all_at_exit() {
    let open: Vec<Arc<Shared>> = REGISTRY.lock().iter().filter_map(|entry| entry.shared.upgrade()).collect();
    for shared in &open {
        shared.close_at_exit();
    }
    // Other threads may go on until the very end: the store stays attached until the kernel takes the locks back.
    std::mem::forget(open);
}

/// Leaves all stores when the process exits without dropping its handles.
fn at_exit() {
    extern "C" fn leave_all() {
        leave_all_at_exit();
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| process::at_exit(leave_all));
}

impl Membership {
    pub(crate) fn new() -> Arc<Membership> {
        Arc::new(Membership { members: ForkLock::new(Members::default()), slot: AtomicU64::new(NO_SLOT) })
    }

    /// This process's number in the process table.
    #[inline]
    pub(crate) fn slot(&self) -> u64 {
        self.slot.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Takes part from now on.
    pub(crate) fn join(&self, opening: Opening, control: Option<&Control>) -> Result<()> {
        let mut members = self.members.lock();
        if let Some(control) = control {
            self.slot.store(claim_slot(control)?, std::sync::atomic::Ordering::Relaxed);
        }
        members.locks = Some(Kept::of(opening.finish()));
        Ok(())
    }

    /// Who a number in the process table is.
    pub(crate) fn identity_in(&self, control: &Control, slot: u64) -> Option<Identity> {
        let entry = control.processes.get(usize::try_from(slot).ok()?)?;
        let pid = u32::try_from(entry.pid.load(Ordering::Acquire)).ok()?;
        (pid != 0).then(|| Identity { pid, started_ticks: entry.started_ticks.load(Ordering::Relaxed) })
    }

    /// The same, for messages.
    pub(crate) fn owner_in(&self, control: &Control, slot: u64) -> Owner {
        let Some(identity) = self.identity_in(control, slot) else {
            return Owner { pid: 0, started: None, program: "unknown".to_owned() };
        };
        let bytes: Vec<u8> = control.processes[slot as usize]
            .program
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .take_while(|byte| *byte != 0)
            .collect();
        Owner {
            pid: identity.pid,
            started: process::started_at(identity.started_ticks),
            program: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// Whose thread this is, for messages: that of a process in the table.
    pub(crate) fn owner_of_thread(&self, control: &Control, thread: u32) -> Owner {
        let pid = process::process_of_thread(thread).unwrap_or(thread);
        let slot = control.processes.iter().position(|entry| entry.pid.load(Ordering::Acquire) == u64::from(pid));
        slot.map_or_else(|| Owner { pid, started: None, program: "unknown".to_owned() }, |slot| self.owner_in(control, slot as u64))
    }

    /// Pins a transaction: what it could read stays.
    pub(crate) fn pin(&self, commit: u64) -> Result<()> {
        let mut members = self.members.lock();
        if let Some(count) = members.pins.get_mut(&commit) {
            *count += 1;
            return Ok(());
        }
        let Some(locks) = &members.locks else { return Ok(()) };
        let pinned = locks.file().and_then(|locks| locks::try_shared(locks, PIN_BASE + commit, 1));
        pinned.map_err(|error| Error::caused(ErrorKind::Io, "pin a snapshot", error))?;
        members.pins.insert(commit, 1);
        Ok(())
    }

    /// A pin on an open file of its own, which forks share: it lasts until the last copy is closed. The caller has pinned the
    /// transaction already.
    pub(crate) fn lasting_pin(&self, path: &Path, commit: u64) -> Result<File> {
        let failed = |error| Error::io("pin a snapshot in", path, error);
        let file = file::open(path, false).map_err(failed)?;
        let is_ours = |ours: &Kept| Ok(file::stamp(ours)?.inode == file::stamp(&file)?.inode);
        if !self.members.lock().locks.as_ref().map_or(Ok(true), is_ours).map_err(failed)? {
            return Err(super::open::removed(path));
        }
        locks::try_shared(&file, PIN_BASE + commit, 1).map_err(failed)?;
        Ok(file)
    }

    pub(crate) fn unpin(&self, commit: u64) {
        let mut members = self.members.lock();
        let Some(count) = members.pins.get_mut(&commit) else { return };
        *count -= 1;
        if *count == 0 {
            members.pins.remove(&commit);
            if let Some(locks) = members.locks.as_ref().and_then(|locks| locks.file().ok()) {
                // A failure would keep the pin until this process ends: safe, if wasteful.
                let _ = locks::release(locks, PIN_BASE + commit, 1);
            }
        }
    }

    /// The oldest pin of all processes.
    pub(crate) fn oldest_pin(&self, live: &Path) -> Result<Option<u64>> {
        let members = self.members.lock();
        let own = members.pins.range(..LOOPS).next().map(|(pin, _)| *pin);
        let Some(locks) = &members.locks else { return Ok(own) };
        let others = locks
            .file()
            .and_then(super::reserve::first_pin)
            .map_err(|error| Error::io("look for snapshots in", &live.join(super::open::LOCKS), error))?;
        Ok(own.into_iter().chain(others).min())
    }

    /// Takes the file to flush the log through: what the system tells of a failure, it tells each open file once.
    pub(crate) fn take_flush_file(&self) -> Option<Kept> {
        self.members.lock().flush.take()
    }

    pub(crate) fn keep_flush_file(&self, file: Kept) {
        self.members.lock().flush = Some(file);
    }

    /// Distinct transactions that snapshots of this process pin.
    pub(crate) fn own_pins(&self) -> usize {
        self.members.lock().pins.range(..LOOPS).count()
    }

    /// Who keeps transactions readable by snapshots, with the oldest that each keeps, as far as the system tells.
    pub(crate) fn pin_holders(&self) -> Vec<(Owner, u64)> {
        let inode = self.members.lock().locks.as_ref().and_then(|locks| file::stamp(locks).ok()).map(|stamp| stamp.inode);
        let held = inode.map(|inode| locks::holders(inode, PIN_BASE, PIN_BASE + LOOPS)).unwrap_or_default();
        let owner = |pid| Owner { pid, started: process::started(pid), program: process::name_of(pid) };
        let mut holders: Vec<(Owner, u64)> = held.into_iter().map(|(pid, pin)| (owner(pid), pin - PIN_BASE)).collect();
        holders.sort_by_key(|(owner, pin)| (*pin, owner.pid));
        holders
    }

    /// Whether any process loops over what is there now.
    pub(crate) fn is_looped(&self, live: &Path) -> Result<bool> {
        let members = self.members.lock();
        let Some(locks) = members.locks.as_ref().filter(|_| !members.pins.contains_key(&LOOPS)) else {
            return Ok(members.pins.contains_key(&LOOPS));
        };
        let holder = locks.file().and_then(|locks| locks::first_holder(locks, PIN_BASE + LOOPS, 1));
        Ok(holder.map_err(|error| Error::io("look for loops in", &live.join(super::open::LOCKS), error))?.is_some())
    }
}

/// Takes a free place in the process table, or that of a dead process.
fn claim_slot(control: &Control) -> Result<u64> {
    let this = process::current();
    let entries = || control.processes.iter().enumerate();
    let take = |index: usize, before: u64| {
        let entry = &control.processes[index];
        entry.pid.exchange_if(before, u64::from(this.pid)).then(|| {
            entry.started_ticks.set(this.started_ticks);
            entry.holds.set(0);
            let name = process::program_name();
            for (word, bytes) in entry.program.iter().zip(name.as_bytes().chunks(8).chain(std::iter::repeat(&[][..]))) {
                let mut padded = [0; 8];
                padded[..bytes.len()].copy_from_slice(bytes);
                word.set(u64::from_le_bytes(padded));
            }
            index as u64
        })
    };
    if let Some(slot) = entries().filter(|(_, entry)| entry.pid.load(Ordering::Acquire) == 0).find_map(|(index, _)| take(index, 0)) {
        return Ok(slot);
    }
    let is_stale = |entry: &crate::segment::control::Process| {
        let pid = entry.pid.load(Ordering::Acquire) as u32;
        process::is_dead(Identity { pid, started_ticks: entry.started_ticks.load(Ordering::Acquire) })
    };
    let stale = entries().filter(|(_, entry)| is_stale(entry)).find_map(|(index, entry)| take(index, entry.pid.load(Ordering::Acquire)));
    stale.ok_or_else(|| Error::new(ErrorKind::Full, format!("{PROCESSES_MAX} processes have the store open; close some")))
}

/// The `opening` lock in hand: openers and leavers one at a time.
#[derive(Debug)]
pub(crate) struct Opening {
    locks: Option<File>,
    alone: bool,
}

impl Opening {
    /// Opens the file and waits for the lock on it.
    pub(crate) fn acquire(path: &Path, open: impl Fn() -> std::io::Result<File>, timeout: Duration) -> Result<Opening> {
        let failed = |error| Error::io("lock", path, error);
        let start = Instant::now();
        let mut pause = Duration::from_micros(50);
        loop {
            // Known to a fork from the first moment: a child must not keep a lock that its parent takes here.
            let locks = open().map_err(|error| super::open::cannot("open", path, error))?;
            LOCK_FILES.lock().push(locks.as_raw_fd());
            let opening = Opening { locks: Some(locks), alone: false };
            while !file::try_lock(opening.file()).map_err(failed)? {
                if start.elapsed() >= timeout {
                    return Err(opening_timeout(path, opening.file(), timeout));
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
            // The directory may have been removed and made again meanwhile: then this is the lock of nothing.
            let (ours, theirs) = (file::stamp(opening.file()).map_err(failed)?, file::stamp_at(path));
            match theirs {
                Ok(theirs) if (ours.device, ours.inode) == (theirs.device, theirs.inode) => return Ok(opening),
                Ok(_) if start.elapsed() < timeout => {}
                _ => {
                    return Err(Error::new(
                        ErrorKind::StoreRemoved,
                        format!("{} was removed or replaced while the store was being opened; open it again", path.display()),
                    ));
                }
            }
        }
    }

    fn file(&self) -> &File {
        self.locks.as_ref().expect("taken only by finish")
    }

    /// Whether nobody else has the store open; from then on nobody can open it either.
    pub(crate) fn try_alone(&mut self) -> Result<bool> {
        self.alone = locks::try_exclusive(self.file(), ATTACHED, 1)
            .map_err(|error| Error::caused(ErrorKind::Io, "lock the store for preparation", error))?;
        if self.alone {
            // For the message of whoever waits too long.
            let this = process::current();
            let _ = file::write_at(
                self.file(),
                format!("{:<63}\n", format!("{} {} {}", this.pid, this.started_ticks, process::program_name())).as_bytes(),
                0,
            );
        }
        Ok(self.alone)
    }

    /// Whether anybody has the store open, without locking anything.
    pub(crate) fn is_live(&self) -> Result<bool> {
        let holder = locks::first_holder(self.file(), ATTACHED, 1);
        holder.map(|holder| holder.is_some()).map_err(|error| Error::caused(ErrorKind::Io, "look whether the store is open", error))
    }

    /// Is attached from now on, with others.
    pub(crate) fn attach(&mut self) -> Result<()> {
        let attached =
            locks::try_shared(self.file(), ATTACHED, 1).map_err(|error| Error::caused(ErrorKind::Io, "attach to the store", error))?;
        if attached {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Io, "attach to the store: somebody holds it exclusively without the opening lock"))
        }
    }

    pub(crate) fn finish(mut self) -> File {
        let locks = self.locks.take().expect("taken only here");
        file::unlock(&locks);
        forget_lock_file(&locks);
        locks
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(locks) = &self.locks {
            // Closing releases everything too, but not while a child made by fork in this moment has a copy.
            let _ = locks::release(locks, ATTACHED, 1);
            file::unlock(locks);
            forget_lock_file(locks);
        }
    }
}

/// Who noted himself in the locks file.
pub(crate) fn noted_owner(locks: &File, at: u64) -> Owner {
    let note = file::read_at(locks, at, 64).unwrap_or_default();
    let note = String::from_utf8_lossy(&note).trim().to_owned();
    let mut words = note.splitn(3, ' ');
    let pid = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let started = words.next().and_then(|word| word.parse().ok()).and_then(process::started_at);
    Owner { pid, started, program: words.next().unwrap_or("unknown").to_owned() }
}

#[cold]
fn opening_timeout(path: &Path, locks: &File, timeout: Duration) -> Error {
    let owner = noted_owner(locks, 0);
    let message = format!(
        "{}: somebody has been opening or closing the store for more than {timeout:?}; the last to prepare it was {owner}: continue or end it",
        path.display()
    );
    Error::new(ErrorKind::LockTimeout { owner, since: timeout }, message)
}

impl Shared {
    /// Joins in the name of a child made by fork.
    #[cold]
    pub(crate) fn join_after_fork(&self) -> Result<()> {
        let _one_at_a_time = JOINING.lock();
        let generation = fork::generation();
        if self.generation.load(std::sync::atomic::Ordering::Acquire) == generation {
            return Ok(());
        }
        if self.mode != Mode::Private {
            let removed = |_| super::open::removed(&self.directory);
            let path = self.locks_path();
            file::stamp_at(&path).map_err(removed)?;
            let mut opening = Opening::acquire(&path, || file::open(&path, self.mode == Mode::Writer), Duration::from_secs(30))?;
            self.require_in_place()?;
            if self.mode == Mode::Writer && opening.try_alone()? {
                self.prepare_alone()?;
            }
            opening.attach()?;
            self.membership.join(opening, (self.mode == Mode::Writer).then_some(self.control))?;
        }
        self.generation.store(generation, std::sync::atomic::Ordering::Release);
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        {
            let mut registry = REGISTRY.lock();
            let this = Arc::as_ptr(&self.membership);
            registry.retain(|entry| Arc::as_ptr(&entry.membership) != this);
        }
        // `Pod::close` reports what is kept silent about here.
        let _ = self.leave();
    }
}
