//! A transaction: reads that see its own writes, and writes that nobody sees until it commits.

use crate::error::Result;
use crate::log::batch::{Batch, Claiming};
use crate::log::record::{Kind, Record, Standing};
use crate::store::core::how::Writing;
use crate::store::core::shared::Shared;
use crate::store::write::locked::Locked;
use crate::value::{Archive, Arena, Span};
use hashbrown::HashTable;
use std::cell::Cell;
use std::ops::{Deref, Range};

thread_local! {
    /// Buffers of the last transaction of this thread, for the next.
    static SPARE: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

/// Scratch longer than this is given back to the allocator.
const KEPT_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct Buffers {
    batch: Batch,
    pending: Vec<Pending>,
    by_key: HashTable<usize>,
}

impl Buffers {
    fn take() -> Box<Buffers> {
        // A thread that exits may have lost them already.
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Runs something with a batch to work in, whose memory this thread keeps.
    pub(crate) fn with_batch<R>(work: impl FnOnce(&mut Batch) -> R) -> R {
        let mut buffers = Buffers::take();
        let result = work(&mut buffers.batch);
        buffers.give_back();
        result
    }

    fn give_back(mut self: Box<Buffers>) {
        if self.batch.bytes.capacity() <= KEPT_BYTES_MAX {
            self.batch.clear();
            self.pending.clear();
            if !self.by_key.is_empty() {
                self.by_key.clear();
            }
            let _ = SPARE.try_with(|spare| spare.set(Some(self)));
        }
    }
}

/// What a transaction has done to a key so far.
#[derive(Debug, Clone)]
struct Pending {
    hash: u64,
    key: Range<usize>,
    /// The value to write; nothing for a removal.
    value: Option<Span>,
    /// The key was there before the transaction.
    existed: bool,
    /// The key was removed in between: it gets a new place in order, behind those that are pending now.
    afresh: bool,
    /// What becomes of a claim on the task.
    claiming: Claiming,
    /// Place among the pending keys, by which new ones are ordered.
    turn: usize,
}

/// A value as a transaction sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    Stored(Record<'a>),
    /// Written by the transaction itself: the archived value.
    Written(Archive<'a>),
}

impl<'a> Seen<'a> {
    pub(crate) fn archive(&self) -> Archive<'a> {
        match self {
            Seen::Stored(record) => Archive::of(record),
            Seen::Written(value) => *value,
        }
    }
}

/// The mutex in hand, and what is to be written when it is given back. Dropping it forgets the writes.
#[derive(Debug)]
pub(crate) struct Transaction<S: Deref<Target = Shared>> {
    locked: Locked<S>,
    /// Keys of pending writes, one after the other.
    bytes: Vec<u8>,
    values: Arena,
    buffers: Box<Buffers>,
    turns: usize,
}

impl<S: Deref<Target = Shared>> Transaction<S> {
    pub(crate) fn begin(shared: S, writing: Writing) -> Result<Transaction<S>> {
        let locked = Locked::for_writing(shared, writing)?;
        Ok(Transaction { locked, bytes: Vec::new(), values: Arena::default(), buffers: Buffers::take(), turns: 0 })
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.locked.shared()
    }

    pub(crate) fn locked(&self) -> &Locked<S> {
        &self.locked
    }

    pub(crate) fn require_same_process(&self) -> Result<()> {
        self.locked.require_same_process()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let pending = &self.buffers.pending;
        self.buffers.by_key.find(hash, |index| pending[*index].hash == hash && self.bytes[pending[*index].key.clone()] == *key).copied()
    }

    /// The value of a key, the transaction's own writes included.
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Result<Option<Seen<'_>>> {
        self.require_same_process()?;
        match self.find(hash, key) {
            Some(index) => Ok(self.buffers.pending[index].value.clone().map(|range| Seen::Written(self.values.get(range)))),
            None => Ok(self.shared().get(hash, key)?.map(Seen::Stored)),
        }
    }

    /// Sets a key to an archived value.
    pub(crate) fn set(&mut self, hash: u64, key: &[u8], value: Archive<'_>) -> Result<()> {
        let index = self.pending(hash, key)?;
        let value = self.values.push(value);
        let turn = self.next_turn();
        let pending = &mut self.buffers.pending[index];
        if pending.value.is_none() {
            pending.turn = turn;
        }
        pending.value = Some(value);
        Ok(())
    }

    /// Removes a key that is present.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) -> Result<()> {
        let index = self.pending(hash, key)?;
        let pending = &mut self.buffers.pending[index];
        pending.value = None;
        pending.afresh = pending.existed;
        Ok(())
    }

    /// Ends the claim on a task that the transaction set.
    pub(crate) fn end_claim(&mut self, hash: u64, key: &[u8]) {
        if let Some(index) = self.find(hash, key) {
            self.buffers.pending[index].claiming = Claiming::End;
        }
    }

    /// How the task of a key stands, before the transaction's own writes; those keep a claim.
    pub(crate) fn standing(&self, hash: u64, key: &[u8]) -> Result<Standing> {
        Ok(self.shared().get(hash, key)?.map_or_else(Standing::default, |record| record.standing()))
    }

    fn next_turn(&mut self) -> usize {
        self.turns += 1;
        self.turns
    }

    fn pending(&mut self, hash: u64, key: &[u8]) -> Result<usize> {
        self.require_same_process()?;
        if let Some(index) = self.find(hash, key) {
            return Ok(index);
        }
        let existed = self.shared().get(hash, key)?.is_some();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let index = self.buffers.pending.len();
        self.buffers.pending.push(Pending {
            hash,
            key: start..start + key.len(),
            value: None,
            existed,
            afresh: false,
            claiming: Claiming::Keep,
            turn: 0,
        });
        let pending = &self.buffers.pending;
        self.buffers.by_key.insert_unique(hash, index, |index| pending[*index].hash);
        Ok(index)
    }

    /// How many keys there are, the transaction's own writes included.
    pub(crate) fn length(&self) -> Result<u64> {
        let before = self.shared().tail()?.counters.length;
        let changed =
            self.buffers.pending.iter().map(|pending| i64::from(pending.value.is_some()) - i64::from(pending.existed)).sum::<i64>();
        Ok(before.wrapping_add_signed(changed))
    }

    /// Of every key that the transaction wrote to, the record that was there before and the value that is there now.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Result<(Option<Record<'_>>, Option<Archive<'_>>)>> {
        self.buffers.pending.iter().map(|pending| {
            let before = self.shared().get(pending.hash, &self.bytes[pending.key.clone()])?;
            Ok((before, pending.value.clone().map(|span| self.values.get(span))))
        })
    }

    /// The keys that the transaction has set anew, in order, with their values: they come behind all stored ones.
    pub(crate) fn added(&self) -> Vec<(&[u8], Archive<'_>)> {
        let mut added: Vec<&Pending> =
            self.buffers.pending.iter().filter(|pending| pending.value.is_some() && (!pending.existed || pending.afresh)).collect();
        added.sort_by_key(|pending| pending.turn);
        added.iter().filter_map(|pending| Some((&self.bytes[pending.key.clone()], self.values.get(pending.value.clone()?)))).collect()
    }

    /// What the transaction did to a stored record's key: nothing, a new value in the old place, or away from there.
    pub(crate) fn overlay<'a>(&'a self, record: Record<'a>) -> Option<Seen<'a>> {
        match self.find(record.hash(), record.key()) {
            None => Some(Seen::Stored(record)),
            Some(index) => {
                let pending = &self.buffers.pending[index];
                if pending.afresh { None } else { pending.value.clone().map(|range| Seen::Written(self.values.get(range))) }
            }
        }
    }

    /// Makes all writes visible at one instant, gives the mutex back, and returns the transaction's number; the newest
    /// one's if nothing was written. On an error nothing was written.
    pub(crate) fn commit(mut self) -> Result<u64> {
        self.require_same_process()?;
        let mut order: Vec<usize> = (0..self.buffers.pending.len()).collect();
        // New keys come in the order in which they were set; those that stay in place do not matter.
        order.sort_by_key(|index| self.buffers.pending[*index].turn);
        let Buffers { batch, pending, .. } = &mut *self.buffers;
        for index in order {
            let pending = &pending[index];
            let key = &self.bytes[pending.key.clone()];
            if pending.existed && (pending.value.is_none() || pending.afresh) {
                batch.push(Kind::Remove, pending.hash, key, false, |_| Ok::<(), crate::Error>(()))?;
            }
            if let Some(value) = pending.value.clone() {
                batch.push(Kind::Set, pending.hash, key, pending.afresh, |out| {
                    out.extend_from_slice(self.values.get(value).as_bytes());
                    Ok::<(), crate::Error>(())
                })?;
                batch.claims(pending.claiming);
            }
        }
        let is_empty = batch.is_empty();
        let outcome = if is_empty { Ok(self.locked.shared().control.commit.newest()) } else { self.locked.commit(batch) };
        let Transaction { locked, buffers, .. } = self;
        buffers.give_back();
        let sequence = outcome?;
        if !is_empty {
            locked.finish(sequence)?;
        }
        Ok(sequence)
    }
}

impl<S: Deref<Target = Shared>> Locked<S> {
    /// Gives the mutex back after a commit, then does what need not be done under it. An error says that the transaction is
    /// committed and perhaps not on the disk.
    #[inline]
    pub(crate) fn finish(self, sequence: u64) -> Result<()> {
        self.release();
        self.shared().wake_sleepers();
        let outcome = if self.writing.is_durable { self.shared().wait_until_durable(sequence, self.writing.timeout) } else { Ok(()) };
        if self.shared().wants_flush.load(std::sync::atomic::Ordering::Relaxed) {
            self.shared().flush_aside();
        }
        self.shared().prepare();
        outcome
    }
}

impl Shared {
    /// Commits one record that was prepared outside of the mutex.
    #[inline]
    pub(crate) fn commit_one<E: From<crate::Error>>(
        &self,
        writing: Writing,
        hash: u64,
        key: &[u8],
        write_value: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut buffers = Buffers::take();
        buffers.batch.push(Kind::Set, hash, key, false, write_value)?;
        buffers.batch.records[0].hint = self.warm(hash, key);
        if buffers.batch.records[0].hint.is_none() {
            self.wake_early();
        }
        let locked = Locked::for_writing(self, writing)?;
        let sequence = locked.commit(&mut buffers.batch)?;
        buffers.give_back();
        locked.finish(sequence)?;
        Ok(sequence)
    }

    /// Commits many new keys that were prepared outside of the mutex, as one transaction. On a key that is there, or that comes
    /// twice, nothing is done, and it is returned.
    pub(crate) fn commit_new(&self, writing: Writing, batch: &mut Batch) -> Result<Option<Vec<u8>>> {
        let count = batch.records.len();
        let keys: Vec<usize> = (0..count).map(|index| batch.records[index].offset).collect();
        batch.keep_one_of_each_key(true);
        if batch.records.len() < count {
            let kept: hashbrown::HashSet<usize> = batch.records.iter().map(|pending| pending.offset).collect();
            let double = keys.into_iter().find(|offset| !kept.contains(offset)).unwrap_or(0);
            return Ok(Record::of(&batch.bytes[double..]).map(|record| record.key().to_vec()));
        }
        let locked = Locked::for_writing(self, writing)?;
        for index in 0..count {
            let record = Record::of(batch.record(index)).expect("the batch was built by record::append");
            if self.get(record.hash(), record.key())?.is_some() {
                return Ok(Some(record.key().to_vec()));
            }
        }
        if count > 0 {
            let sequence = locked.commit(batch)?;
            locked.finish(sequence)?;
        }
        Ok(None)
    }

    /// Commits many records that were prepared outside of the mutex, as one transaction; returns how many keys were set.
    /// With `only_absent` those that are there are left out, under the mutex.
    pub(crate) fn commit_many(&self, writing: Writing, batch: &mut Batch, only_absent: bool) -> Result<usize> {
        batch.keep_one_of_each_key(only_absent);
        let locked = Locked::for_writing(self, writing)?;
        if only_absent {
            for index in 0..batch.records.len() {
                let record = Record::of(batch.record(index)).expect("the batch was built by record::append");
                let is_there = self.get(record.hash(), record.key())?.is_some();
                batch.records[index].is_left_out = is_there;
            }
            batch.records.retain(|pending| !pending.is_left_out);
        }
        let count = batch.records.len();
        if count > 0 {
            let sequence = locked.commit(batch)?;
            locked.finish(sequence)?;
        }
        Ok(count)
    }

    /// Reads a key under the mutex and commits what `decide` makes of it: an archived value appended to its argument, a
    /// removal, or nothing.
    #[inline]
    pub(crate) fn change_one<R>(
        &self,
        writing: Writing,
        hash: u64,
        key: &[u8],
        decide: impl FnOnce(Option<Record<'_>>, &mut Vec<u8>) -> Result<(Change, R)>,
    ) -> Result<R> {
        let mut buffers = Buffers::take();
        let hint = self.warm(hash, key);
        if hint.is_none() {
            self.wake_early();
        }
        let locked = Locked::for_writing(self, writing)?;
        let before = self.get_hinted(hint, hash, key)?;
        let mut change = Change::Keep;
        let mut result = None;
        buffers.batch.push(Kind::Set, hash, key, false, |out| {
            let (decided, value) = decide(before, out)?;
            change = decided;
            result = Some(value);
            Ok::<(), crate::Error>(())
        })?;
        buffers.batch.records[0].hint = hint;
        let result = result.expect("set where no error was returned");
        match change {
            Change::Keep => drop(locked),
            Change::Remove if before.is_none() => drop(locked),
            Change::Set => {
                let sequence = locked.commit(&mut buffers.batch)?;
                locked.finish(sequence)?;
            }
            Change::Remove => {
                buffers.batch.clear();
                buffers.batch.push(Kind::Remove, hash, key, false, |_| Ok::<(), crate::Error>(()))?;
                let sequence = locked.commit(&mut buffers.batch)?;
                locked.finish(sequence)?;
            }
        }
        buffers.give_back();
        Ok(result)
    }
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Keep,
    Set,
    Remove,
}
