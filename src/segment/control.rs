//! The control page: what the processes that have a store open share besides log and index.
//!
//! Native layout, rebuilt whenever its stamps do not match. Who writes what: `stamps`, `closed` only a process that is
//! alone (holds `attached` exclusively); everything else, unless its comment says otherwise, only the holder of the
//! mutex. Readers take what they need by acquire loads; the words are bounded before they are used.

use super::counters::CommitState;
use crate::limits::PROCESSES_MAX;
use crate::sys::atomic::{HalfWord, Word};
use crate::sys::map::FileMap;
use crate::sys::robust_mutex::RobustMutex;
use std::mem::offset_of;

/// Changes with every change of this file, of the index's words or of the order's words.
pub(crate) const LAYOUT: u64 = 8;

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
    /// Not 0 while somebody recovers a log that may have lost something, so that a kill does not hide why.
    pub(crate) recovering: Word,
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
    /// Where the victim is the oldest segment: marks of removals not newer than this may be dropped from it. Else 0.
    pub(crate) drops: Word,
    /// Bytes of the marks of removed keys among those that are live; may be too high by what a kill left.
    pub(crate) marks: Word,
    /// Of these, bytes of marks that were moved and must stay until the shards are saved again: cleaning does not get rid of them. What
    /// was moved while somebody saved, or before a rebuild, may be missing, what a kill left may be too much.
    pub(crate) marks_kept: Word,
    /// The byte of the segment that the log ends in up to which commits that take room may write; 0 where that is not known. See
    /// `store/write/room.rs`.
    pub(crate) limit: Word,
    /// Segments with a number up to this may lack blocks behind what was written in them.
    pub(crate) holes: Word,
    /// Not 0 while something is to be done outside the mutex (`store/shrink/space.rs`). Set under it, exchanged by who does it.
    pub(crate) chores: Word,
    /// One more than the segment that is entered next, if it has no blocks, or 0.
    pub(crate) bare: Word,
    /// One more than free segments whose blocks are not needed, or 0.
    pub(crate) excess: [Word; 2],
    /// The transaction up to which the shards are saved.
    pub(crate) saved: Word,
    /// The number of a segment before which the log held nothing newer than `saved`.
    pub(crate) saved_order: Word,
    /// The same for `saving`.
    pub(crate) saving_order: Word,
    /// The transaction up to which somebody is saving them, or was when he died; else `saved`.
    pub(crate) saving: Word,
    /// Keys changed since `saved`; a kill may leave it too high, never too low.
    pub(crate) dirty: Word,
    /// Keys changed since `saving`, alike.
    pub(crate) dirty_next: Word,
    /// The shards may hold keys with ordinals below this one: which of them were removed since `saved` must stay known.
    pub(crate) saved_ordinals: Word,
    /// The same for `saving`.
    pub(crate) saving_ordinals: Word,
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Table {
    /// The table that is complete; see `index/table.rs`. Released when a new one is [table], acquired by readers.
    pub(crate) current: Word,
    /// The table that is being filled, or 0.
    pub(crate) next: Word,
    /// The table that was replaced last, if nobody gave blocks back since, or 0.
    pub(crate) old: Word,
    /// While a process gives back the blocks of all but the current table: the page of the index file where those end. Else 0.
    pub(crate) punching: Word,
    /// That process, as in a segment's slot.
    pub(crate) puncher: Word,
    /// Slots of the current table that stand in the next one too.
    pub(crate) migrated: Word,
    /// Slots of the current table of which some may stand in the next one.
    pub(crate) copying: Word,
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

/// The order, and its compaction (`store/shrink/compact.rs`).
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Order {
    /// Below it the order has no words, and never will. Only ever raised.
    pub(crate) low: Word,
    /// Bytes of the order file whose blocks were given back, or are about to be.
    pub(crate) punched: Word,
    /// The ordinal from which positions in order count: in transactions from `since` on.
    pub(crate) first: Word,
    /// The transaction that ended the last compaction.
    pub(crate) since: Word,
    /// What `first` was in transactions before `since`.
    pub(crate) before: Word,
    /// The ordinal that the compaction under way gave out last, in falling order; 0 where none is under way.
    pub(crate) fill: Word,
    /// Keys with this ordinal and higher ones had their turn.
    pub(crate) cut: Word,
    /// The ordinal that follows the last one that there was when the compaction began: a word without a key stands there.
    pub(crate) start: Word,
}

/// What the tasks of a tracker need; 0 in a store of another kind.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Tasks {
    /// Not 0: the store is a tracker. This and the next four follow from the settings in the log.
    pub(crate) is_tracker: Word,
    pub(crate) max_tries: Word,
    pub(crate) lease_nanoseconds: Word,
    /// First delay in nanoseconds, factor as the bits of a float, longest delay in nanoseconds; all 0 without.
    pub(crate) backoff: [Word; 3],
    /// Bytes of the three files that have disk blocks, as in [`Ready`].
    pub(crate) bits_ready: Word,
    pub(crate) queue_ready: Word,
    pub(crate) claims_ready: Word,
    /// Blocks of the bits that were emptied.
    pub(crate) blocks: Word,
    /// Entries of the two heaps.
    pub(crate) waiting: [Word; 2],
    /// The heaps (`index/queue.rs`): an entry on its way, and to which heap plus one; whether an entry is being stored.
    pub(crate) moving: [Word; 3],
    pub(crate) moving_to: Word,
    pub(crate) storing: Word,
    /// Places in the table of claims that were ever used, one more than the first free one or 0, and how many are held.
    pub(crate) claims_used: Word,
    pub(crate) claims_free: Word,
    pub(crate) claims: Word,
    /// Coarse nanoseconds since boot when the holders of claims were last looked at.
    pub(crate) looked: Word,
    /// Grows with each commit after which an attempt to claim may come to something else: a task waits, or nobody holds one.
    pub(crate) brought: Word,
    /// What `brought` was when idle workers were last woken.
    pub(crate) woken: Word,
    /// Finished tasks at moments: coarse nanoseconds since boot and how many, in turn.
    pub(crate) samples: [[Word; 2]; SAMPLES],
    /// How many samples were taken, and how many of them before this run of the work began.
    pub(crate) sampled: Word,
    pub(crate) samples_from: Word,
    /// Coarse nanoseconds since boot when a claim ended.
    pub(crate) last_end: Word,
}

impl Tasks {
    pub(crate) fn ready(&self) -> [&Word; 3] {
        [&self.bits_ready, &self.queue_ready, &self.claims_ready]
    }

    pub(crate) fn sample(&self, index: u64) -> &[Word; 2] {
        &self.samples[index as usize % SAMPLES]
    }

    pub(crate) fn add_sample(&self, now: u64, done: u64) {
        let [moment, finished] = self.sample(self.sampled.get());
        moment.set(now);
        finished.set(done);
        self.sampled.increment();
    }

    /// What must not change between a close in good order and the next open.
    pub(crate) fn lasting_words(&self) -> impl Iterator<Item = &Word> {
        let rules = [&self.is_tracker, &self.max_tries, &self.lease_nanoseconds, &self.blocks];
        let queue = [&self.moving_to, &self.storing, &self.claims_used, &self.claims_free, &self.claims];
        rules.into_iter().chain(queue).chain(&self.backoff).chain(&self.waiting).chain(self.ready())
    }
}

/// Moments that the rate of work is found from, and what lies at least between two of them: a minute and a little.
pub(crate) const SAMPLES: usize = 32;
pub(crate) const SAMPLE_NANOSECONDS: u64 = 2_000_000_000;
/// After so long without a claim, the next one begins a new run of the work.
pub(crate) const IDLE_NANOSECONDS: u64 = 2_000_000_000;

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
    pub(crate) notice: HalfWord,
    /// Not 0 while somebody may sleep. Set by sleepers, cleared by the waker.
    pub(crate) sleepers: HalfWord,
    /// The same two for workers who wait for tasks.
    pub(crate) work: HalfWord,
    pub(crate) idle: HalfWord,
}

/// How far the log is on the disk. Written without the mutex, by whoever flushes (`store/flush/durable.rs`).
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Flush {
    /// Not 0 once anybody asked for durability; a stored option keeps it. Set under the mutex.
    pub(crate) asked: Word,
    /// Every transaction up to this one is on the disk. Only ever raised, after a flush that began behind its commit [flushed].
    pub(crate) horizon: Word,
    /// The order of the segment in which the log ended when that flush began.
    pub(crate) order: Word,
    /// How many flushes failed, or had an outcome that nobody knows.
    pub(crate) failed: Word,
    /// How many of them are made good: what they may have lost was written again and flushed. Only ever raised.
    pub(crate) mended: Word,
    /// Who flushes, and until when he is waited for; 0 for nobody. Exchanged by whoever begins, ends, or takes over.
    pub(crate) leader: Word,
    /// Successful flushes, for `stats`, and to tell the next how long one takes. Approximate beside a leader that was taken over.
    pub(crate) flushes: Word,
    /// Transactions that the last one made durable, and the most that one did.
    pub(crate) batch: Word,
    pub(crate) batch_max: Word,
    /// How long the last one took.
    pub(crate) nanoseconds: Word,
    /// Waiters sleep on this; changed by whoever ends a flush.
    pub(crate) round: HalfWord,
}

/// One process that has the store open. Claimed by exchanging `pid` from 0, or from a dead process's.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Process {
    pub(crate) pid: Word,
    pub(crate) started_ticks: Word,
    /// First bytes of its program's name.
    pub(crate) program: [Word; 4],
    /// How many holds it has on automatic saving. Written by itself only.
    pub(crate) holds: Word,
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
    pub(crate) order: Order,
    pub(crate) ready: Ready,
    pub(crate) wake: Wake,
    pub(crate) tasks: Tasks,
    pub(crate) flush: Flush,
    pub(crate) processes: [Process; PROCESSES_MAX],
}

pub(crate) const CONTROL_BYTES: u64 = size_of::<Control>() as u64;

const _: () = assert!(size_of::<Stamps>() == 128);
const _: () = assert!(size_of::<Lock>() == 128);
const _: () = assert!(size_of::<Process>() == 64);
const _: () = assert!(CONTROL_BYTES == 4096 + 4096 * 64);

/// Who wrote a control page, and for which log.
pub(crate) struct Author {
    pub(crate) boot: [u64; 2],
    pub(crate) inode: u64,
    pub(crate) store: u64,
    pub(crate) is_recovering: bool,
}

/// What the first bytes of a control file say of that, if they are some of this layout.
pub(crate) fn author(bytes: &[u8]) -> Option<Author> {
    let word = |at: usize| word_in(bytes, at);
    let is_ours = (word(offset_of!(Stamps, magic)), word(offset_of!(Stamps, layout))) == (MAGIC, LAYOUT);
    is_ours.then(|| Author {
        boot: [word(offset_of!(Stamps, boot)), word(offset_of!(Stamps, boot) + 8)],
        inode: word(offset_of!(Stamps, inode)),
        store: word(offset_of!(Stamps, store)),
        is_recovering: word(offset_of!(Stamps, recovering)) != 0,
    })
}

fn word_in(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// Whether the bytes of a control page speak of transactions that were not saved beside the log. Not so of what is no page of this layout.
pub(crate) fn has_unsaved(bytes: &[u8]) -> bool {
    author(bytes).is_some() && word_in(bytes, offset_of!(Control, commit.commit)) > word_in(bytes, offset_of!(Control, log.saved))
}

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
    let map = Box::leak(Box::new(FileMap::new(file, CONTROL_BYTES, CONTROL_BYTES, writable)?));
    // SAFETY: the mapping is as long as the structure, starts at a page, and is never unmapped. Every field is an atomic
    // or the mutex, for all of which any bytes are a valid value and which other processes access in the same way. Of a
    // read-only mapping nothing is ever stored to: `store::Shared::writable` stands before every writer.
    let control = unsafe { &*map.address().cast::<Control>() };
    mapped.push((stamp.device, stamp.inode, writable, control));
    Ok(control)
}

/// Maps a control page of this process and its forks alone. The caller keeps the mapping for as long as anybody uses the page: who
/// holds its mutex keeps the caller's, so that no thread's list of robust mutexes leads into it when it ends.
pub(crate) fn map_own(file: &std::fs::File) -> std::io::Result<(FileMap, &'static Control)> {
    let map = FileMap::new(file, CONTROL_BYTES, CONTROL_BYTES, true)?;
    // SAFETY: as above, but for the end of the mapping, which is the caller's: `store::Shared` keeps it beside the reference.
    let control = unsafe { &*map.address().cast::<Control>() };
    Ok((map, control))
}

/// For the hooks around a fork: a child must find the list whole.
pub(crate) fn hold_for_fork() {
    MAPPED.hold_for_fork();
}

pub(crate) fn end_of_fork() {
    drop(MAPPED.end_of_fork());
}
