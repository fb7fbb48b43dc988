//! The commit word and the counters that belong to it: read without a lock, by any number of processes.
//!
//! Two slots alternate: slot `sequence & 1` holds the counters of transaction `sequence`. A writer fills the slot that
//! the commit word does not name, then stores the commit word; a reader takes the slot that it names and checks that
//! it stayed. A writer that stops in between leaves the readers the other slot: they never wait.

use crate::sys::atomic::{Ordering, Word, fence, pause};

/// What commits together with the data: what the records of all transactions up to one add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The transaction's number; the first of a log is 1.
    pub(crate) sequence: u64,
    /// Keys present.
    pub(crate) length: u64,
    /// The ordinal that the next new key gets.
    pub(crate) next_ordinal: u64,
    /// Keys changed since their shard was saved.
    pub(crate) dirty: u64,
    /// Tasks done.
    pub(crate) done: u64,
    /// Tasks tried at least once.
    pub(crate) tried: u64,
    /// Tasks aborted.
    pub(crate) aborted: u64,
    /// Tasks not done, that nobody works on, and that nobody may try any more: aborted or tried out.
    pub(crate) failed: u64,
    /// The checksum that the next record continues.
    pub(crate) chain: u64,
}

/// The index has fewer slots than this counts.
const HALF: u64 = u32::MAX as u64;

impl Counters {
    /// Aborted and failed tasks in one word.
    #[inline(always)]
    pub(crate) fn given_up(&self) -> u64 {
        self.aborted & HALF | self.failed << 32
    }

    /// The reverse of [`given_up`](Counters::given_up).
    pub(crate) fn set_given_up(&mut self, word: u64) {
        (self.aborted, self.failed) = (word & HALF, word >> 32);
    }
}

/// In place of a slot's sequence while its fields change; no transaction has this number.
const BEING_FILLED: u64 = u64::MAX;

/// Looks at a commit word that does not move before its slot counts as damaged. What a slot shows of the next filling
/// comes at most a store buffer ahead of the commit word's own move, which is nanoseconds.
const STILL_MAX: u32 = if cfg!(loom) { 4 } else { 1 << 12 };

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Slot {
    sequence: Word,
    fields: [Word; 7],
}

/// Shared memory, written only under the store's mutex.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct CommitState {
    /// The newest committed transaction. Released by `publish` [commit], acquired by every read.
    pub(super) commit: Word,
    _line: [u64; 15],
    slots: [Slot; 2],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<CommitState>() == 256);

impl CommitState {
    /// The newest committed transaction. Pairs with [commit]: all that it published is visible afterwards.
    #[inline(always)]
    pub(crate) fn newest(&self) -> u64 {
        self.commit.load(Ordering::Acquire)
    }

    /// The counters of one instant, the newest; nothing where damage left the commit word without its slot.
    pub(crate) fn read(&self) -> Option<Counters> {
        // A slot is refilled only after the commit word has left it, so a mismatch lasts only where both stand still.
        let mut still = 0;
        let mut seen = None;
        while still < STILL_MAX {
            let sequence = self.commit.load(Ordering::Acquire);
            let slot = &self.slots[(sequence & 1) as usize];
            let before = slot.sequence.load(Ordering::Acquire);
            let [length, next_ordinal, dirty, done, tried, given_up, chain] =
                std::array::from_fn(|field| slot.fields[field].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            let after = slot.sequence.load(Ordering::Relaxed);
            if before == sequence && after == sequence {
                let (aborted, failed) = (given_up & HALF, given_up >> 32);
                return Some(Counters { sequence, length, next_ordinal, dirty, done, tried, aborted, failed, chain });
            }
            still = if seen == Some(sequence) { still + 1 } else { 0 };
            seen = Some(sequence);
            pause();
        }
        None
    }

    /// Commits: from here on, whoever reads the commit word finds what was published before. The caller holds the
    /// mutex. May be repeated with the same counters.
    #[inline]
    pub(crate) fn publish(&self, counters: &Counters) {
        let slot = &self.slots[(counters.sequence & 1) as usize];
        // A reader of the transaction before the last may still look at this slot: tell it before changing the fields.
        slot.sequence.store(BEING_FILLED, Ordering::Relaxed);
        fence(Ordering::Release);
        let Counters { length, next_ordinal, dirty, done, tried, chain, .. } = *counters;
        let fields = [length, next_ordinal, dirty, done, tried, counters.given_up(), chain];
        for (word, value) in slot.fields.iter().zip(fields) {
            word.store(value, Ordering::Relaxed);
        }
        slot.sequence.store(counters.sequence, Ordering::Release);
        // [commit]
        self.commit.store(counters.sequence, Ordering::Release);
    }
}

impl CommitState {
    /// All words, for a checksum over them.
    pub(crate) fn words(&self) -> impl Iterator<Item = &Word> {
        std::iter::once(&self.commit).chain(self.slots.iter().flat_map(|slot| std::iter::once(&slot.sequence).chain(&slot.fields)))
    }
}
