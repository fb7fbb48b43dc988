//! Taking part in a store: the locks that say so, the process table, snapshot pins.
//!
//! The locks file carries three things. The whole-file lock (flock) is `opening`: held for a moment by whoever opens or
//! leaves. The open-file-description lock on byte 0 is `attached`: held shared for life; who gets it exclusively, under
//! `opening`, is alone. The bytes from [`PIN_BASE`] on are pins: byte `PIN_BASE + n` is locked shared while a snapshot of
//! transaction n lives. The kernel drops them all at death; what a fork does to them is in `attach/register.rs`.

use crate::error::{Error, ErrorKind, Owner, Result};
use crate::limits::PROCESSES_MAX;
use crate::segment::control::Control;
use crate::store::core::files::{LOCKS, cannot, removed};
use crate::sys::atomic::Ordering;
use crate::sys::file::{Kept, Open as _};
use crate::sys::fork_lock::ForkLock;
use crate::sys::process::{self, Identity};
use crate::sys::{file, locks};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

pub(crate) const ATTACHED: u64 = 0;
/// First of the bytes that pins lock.
pub(crate) const PIN_BASE: u64 = 1 << 20;
/// Pinned by loops over what is there now: a transaction that never comes, so that it keeps no records.
pub(crate) const LOOPS: u64 = 1 << 60;
/// No place in the process table.
pub(crate) const NO_SLOT: u64 = u32::MAX as u64;

/// This process's part in one store.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) members: ForkLock<Members>,
    pub(crate) slot: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Open while this process takes part.
    pub(crate) locks: Option<Kept>,
    /// How many snapshots pin a transaction.
    pub(crate) pins: BTreeMap<u64, u32>,
    /// The log, opened by this process to be flushed through, unless a thread is at it.
    pub(crate) flush: Option<Kept>,
}

/// Descriptors of locks files in the hands of openers and leavers.
pub(crate) static LOCK_FILES: ForkLock<Vec<RawFd>> = ForkLock::new(Vec::new());

/// Opens the locks file, known to forks from the first moment: a child must not keep a lock that its parent takes on it.
pub(crate) fn open_lock_file(path: &Path, writable: bool) -> Result<File> {
    let mut files = LOCK_FILES.lock();
    let locks = file::open(path, writable).map_err(|error| cannot("open", path, error))?;
    files.push(locks.as_raw_fd());
    Ok(locks)
}

pub(crate) fn forget_lock_file(locks: &File) {
    LOCK_FILES.lock().retain(|descriptor| *descriptor != locks.as_raw_fd());
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
            return Err(removed(path));
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
        let others = locks.file().and_then(first_pin).map_err(|error| Error::io("look for snapshots in", &live.join(LOCKS), error))?;
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
        Ok(holder.map_err(|error| Error::io("look for loops in", &live.join(LOCKS), error))?.is_some())
    }
}

/// The oldest transaction that anybody pins.
fn first_pin(file: &File) -> std::io::Result<Option<u64>> {
    let base = PIN_BASE;
    let (mut oldest, mut length) = (None, LOOPS);
    // The kernel names some holder in the range, not the lowest: look below it until nobody is there.
    while length > 0
        && let Some(at) = locks::first_holder(file, base, length)?
    {
        let pin = at.saturating_sub(base);
        (oldest, length) = (Some(pin), pin);
    }
    Ok(oldest)
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
            let locks = open().map_err(|error| cannot("open", path, error))?;
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
