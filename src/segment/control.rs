//! The control page: what the processes that have a store open share besides log and index.
//!
//! Native layout, rebuilt whenever its stamps do not match. Who writes what: `stamps`, `closed` only a process that is
//! alone (holds `attached` exclusively); everything else, unless its comment says otherwise, only the holder of the
//! mutex. Readers take what they need by acquire loads; the words are bounded before they are used.

use super::counters::CommitState;
use crate::limits::PROCESSES_MAX;
use crate::sys::atomic::{AtomicU32, Word};
use crate::sys::robust_mutex::RobustMutex;

/// Changes with every change of this file, of the index's words or of the order's words.
pub(crate) const LAYOUT: u64 = 2;

/// Starts the control file: `tastyCTL`.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tastyCTL");

/// What must match before anybody trusts the rest.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Stamps {
    pub(crate) magic: Word,
    pub(crate) layout: Word,
    /// Random number of the boot, two words.
    pub(crate) boot: [Word; 2],
    pub(crate) libc: Word,
    pub(crate) pid_namespace: Word,
    /// The log's device, inode and identity.
    pub(crate) device: Word,
    pub(crate) inode: Word,
    pub(crate) store: Word,
    /// 0 while a first opener prepares the store, [`READY`] afterwards.
    pub(crate) state: Word,
}

/// The state in which processes may join.
pub(crate) const READY: u64 = 1;
/// Repair found bytes that contradict themselves: nobody writes until the store is rebuilt.
pub(crate) const DAMAGED: u64 = 2;

/// What the last process to leave noted, so that the next can trust index and order without reading them.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Closed {
    /// The commit word at the close plus one; 0: not closed in good order.
    pub(crate) commit: Word,
    /// Size and times of the log, index and order files, hashed.
    pub(crate) files: Word,
    /// Checksum of the control page's other words.
    pub(crate) words: Word,
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Lock {
    pub(crate) mutex: RobustMutex,
    /// Thread id of the last to take it in the low half, number of its process in the high half.
    pub(crate) holder: Word,
    /// Coarse nanoseconds since boot when it was taken.
    pub(crate) since: Word,
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Log {
    /// Position of the last record of the last sealed transaction. Storing it seals.
    pub(crate) sealed: Word,
    /// Where that transaction starts, or one that is about to be sealed.
    pub(crate) start: Word,
    /// Position of the newest settings record.
    pub(crate) settings: Word,
    /// Segments that were ever used: those below are in the log or free. May be too high by what a killed writer took.
    pub(crate) segments: Word,
    /// One more than the segment that the log enters next, if that is free; 0 for one behind all others.
    pub(crate) next: Word,
    /// How many segments were free, or could be, when the next one was chosen.
    pub(crate) free: Word,
    /// One more than the segment that is being cleaned, or 0.
    pub(crate) victim: Word,
    /// Where in it the cleaning goes on.
    pub(crate) victim_at: Word,
    /// The newest transaction when a segment was last entered.
    pub(crate) noted: Word,
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Table {
    /// The table that is complete; see `index/table.rs`. Released when a new one is [table], acquired by readers.
    pub(crate) current: Word,
    /// The table that is being filled, or 0.
    pub(crate) next: Word,
    /// Slots of the current table that stand in the next one too.
    pub(crate) migrated: Word,
    /// Words of the next table that were zeroed.
    pub(crate) zeroed: Word,
    /// Slots of the current table in use; may be too high by one for each killed writer.
    pub(crate) occupied: Word,
    /// The same of the next table.
    pub(crate) next_occupied: Word,
    /// Removed keys whose removal is not newer than this are dropped from the next table that is being filled.
    pub(crate) floor: Word,
    /// Removals not newer than this may have been dropped, or be about to. Only ever raised: a snapshot that is older
    /// than it when it looks was taken too late.
    pub(crate) dropped: Word,
}

/// Bytes of the files that have disk blocks. Only ever raised, by anybody who allocated.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Ready {
    pub(crate) log: Word,
    pub(crate) index: Word,
    pub(crate) order: Word,
    pub(crate) segments: Word,
    /// The value of `log` behind which somebody is allocating ahead, so that not all do.
    pub(crate) log_claim: Word,
    /// The byte of the index file up to which the next table was brought into memory, or is about to be.
    pub(crate) index_ahead: Word,
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Wake {
    /// Sleepers wait on this; changed by whoever wakes them.
    pub(crate) notice: AtomicU32,
    /// Not 0 while somebody may sleep. Set by sleepers, cleared by the waker.
    pub(crate) sleepers: AtomicU32,
}

/// One process that has the store open. Claimed by exchanging `pid` from 0, or from a dead process's.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Process {
    pub(crate) pid: Word,
    pub(crate) started_ticks: Word,
    /// First bytes of its program's name.
    pub(crate) program: [Word; 4],
}

#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct Control {
    pub(crate) stamps: Stamps,
    pub(crate) closed: Closed,
    pub(crate) lock: Lock,
    pub(crate) commit: CommitState,
    pub(crate) log: Log,
    pub(crate) table: Table,
    pub(crate) ready: Ready,
    pub(crate) wake: Wake,
    pub(crate) processes: [Process; PROCESSES_MAX],
}

pub(crate) const CONTROL_BYTES: u64 = size_of::<Control>() as u64;

const _: () = assert!(size_of::<Stamps>() == 128);
const _: () = assert!(size_of::<Lock>() == 128);
const _: () = assert!(size_of::<Process>() == 64);
const _: () = assert!(CONTROL_BYTES == 4096 + 4096 * 64);

/// The control pages that this process has mapped: device, inode, whether it may write, and where.
static MAPPED: crate::sys::fork_lock::ForkLock<Vec<(u64, u64, bool, &'static Control)>> = crate::sys::fork_lock::ForkLock::new(Vec::new());

/// Maps the control file, whose length the caller has checked, until the process exits: the kernel may at any time
/// follow a thread's list of robust mutexes into it. A file is mapped once.
pub(crate) fn map(file: &std::fs::File, writable: bool) -> std::io::Result<&'static Control> {
    let stamp = crate::sys::file::stamp(file)?;
    let mut mapped = MAPPED.lock();
    let known = mapped.iter().find(|entry| (entry.0, entry.1, entry.2) == (stamp.device, stamp.inode, writable));
    if let Some((.., control)) = known {
        return Ok(control);
    }
    let map = Box::leak(Box::new(crate::sys::map::FileMap::new(file, CONTROL_BYTES, CONTROL_BYTES, writable)?));
    // SAFETY: the mapping is as long as the structure, starts at a page, and is never unmapped. Every field is an atomic
    // or the mutex, for all of which any bytes are a valid value and which other processes access in the same way. Of a
    // read-only mapping nothing is ever stored to: `store::Shared::writable` stands before every writer.
    let control = unsafe { &*map.address().cast::<Control>() };
    mapped.push((stamp.device, stamp.inode, writable, control));
    Ok(control)
}

/// For the hooks around a fork: a child must find the list whole.
pub(crate) fn hold_for_fork() {
    MAPPED.hold_for_fork();
}

pub(crate) fn end_of_fork() {
    drop(MAPPED.end_of_fork());
}
