//! The commit: reserve, resolve, write, seal, publish, commit, in this order, under the mutex.
//!
//! What a kill leaves: before the seal, bytes behind the last sealed record that mean nothing; between the seal and the
//! commit word, a transaction that the next owner of the mutex finishes (`repair.rs`); afterwards, a transaction.

use crate::error::{Error, ErrorKind, Result};
use crate::index::grow::SLOTS_PER_INSERT;
use crate::index::order;
use crate::index::table::{Entry, Found};
use crate::log::batch::{Batch, Cursor, Entered, Pending};
use crate::log::header::SegmentHeader;
use crate::log::record::{self, Given, Kind, Record};
use crate::segment::control::DAMAGED;
use crate::segment::counters::Counters;
use crate::segment::heap::{Position, Segment};
use crate::store::locked::Locked;
use crate::store::shared::Shared;
use crate::sys::atomic::Ordering;
use std::ops::Deref;

/// Where the log ends, and what stands there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) cursor: Cursor,
    pub(crate) counters: Counters,
    pub(crate) fingerprint: u64,
}

/// Where a batch will lie.
#[derive(Debug)]
pub(crate) struct Placement {
    entered: Vec<Entered>,
    last: Position,
    end: Cursor,
}

impl Placement {
    /// Bytes of the log that must be there before the batch is written.
    pub(crate) fn log_bytes(&self) -> u64 {
        let mut bytes = self.end.at.bytes();
        for entered in &self.entered {
            let is_last = entered.segment == self.end.segment;
            let last_head = Segment(entered.segment.0 + entered.span - 1).first();
            bytes = bytes.max(if is_last { last_head } else { entered.segment.end(entered.span) }.bytes());
        }
        bytes
    }

    /// One more than the highest segment that the batch enters.
    pub(crate) fn segments(&self) -> u64 {
        self.entered.iter().map(|entered| entered.segment.0 + entered.span).max().unwrap_or(0)
    }
}

impl<S: Deref<Target = Shared>> Locked<S> {
    /// Makes the batch's records the newest of their keys, all at one instant: returns the transaction's number. On an
    /// error nothing changed.
    #[inline]
    pub(crate) fn commit(&self, batch: &mut Batch) -> Result<u64> {
        self.require_same_process()?;
        let shared = self.shared();
        let tail = shared.tail()?;
        let cleaned = shared.clean(batch)?;
        let placement = shared.place(tail.cursor, batch)?;
        shared.reserve(&tail, &placement, batch)?;
        let mut counters = shared.resolve(&tail, batch)?;
        shared.write(&tail, &mut counters, &placement, batch)?;
        shared.control.log.start.set(tail.cursor.at.0);
        shared.control.log.sealed.store(placement.last.0, Ordering::Release);
        let inserted = shared.publish_batch(batch).inspect_err(|_| shared.control.stamps.state.set(DAMAGED))?;
        shared.control.commit.publish(&counters);
        // The transaction is committed, whatever becomes of the next table and segment.
        let outcome = shared.growth().step(SLOTS_PER_INSERT * (inserted + 1), shared);
        let outcome = outcome.and(shared.cleaned_to(cleaned, counters.sequence));
        let outcome = if placement.entered.is_empty() { outcome } else { outcome.and(shared.choose_next(placement.end.segment)) };
        if outcome.is_err() {
            shared.control.stamps.state.set(DAMAGED);
        }
        Ok(counters.sequence)
    }
}

impl Shared {
    /// The end of the log: behind the last sealed record, which is the last committed one whenever the mutex is free.
    #[inline]
    pub(crate) fn tail(&self) -> Result<Tail> {
        let at = Position(self.control.log.sealed.get());
        if at == Position::NONE {
            let cursor = Cursor { at: Segment(0).first(), segment: Segment(0), span: 1 };
            return Ok(Tail { cursor, counters: Counters { chain: self.header.salt, ..Counters::default() }, fingerprint: 0 });
        }
        let last = self.sealed_record(at)?;
        let segment = at.segment();
        let cursor = Cursor { at: at.plus(last.bytes().len() as u64), segment, span: self.slot(segment)?.span.get() };
        Ok(Tail { cursor, counters: self.counters()?, fingerprint: last.fingerprint() })
    }

    /// The record at the sealed position.
    pub(crate) fn sealed_record(&self, at: Position) -> Result<Record<'_>> {
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        Record::at(&self.heap, at, ready)
            .filter(Record::is_last)
            .ok_or_else(|| self.damaged(at, "no transaction ends where one was sealed"))
    }

    /// Lays a batch behind the cursor.
    #[inline]
    fn place(&self, cursor: Cursor, batch: &mut Batch) -> Result<Placement> {
        let mut end = cursor;
        let mut entered = Vec::new();
        let take = |span: u64, entered: &[Entered]| {
            let taken: Vec<(Segment, u64)> = entered.iter().map(|entered| (entered.segment, entered.span)).collect();
            self.take_segment(span, &taken)
        };
        for (index, pending) in batch.records.iter_mut().enumerate() {
            let (segment, at) = end.place(pending.length as u64, |span| take(span, &entered))?;
            entered.extend(segment.map(|segment| Entered { records: index, ..segment }));
            pending.at = at;
        }
        let last = batch.records.last().map_or(Position::NONE, |pending| pending.at);
        Ok(Placement { entered, last, end })
    }

    /// Finds what each record replaces and gives out ordinals. Changes only the batch.
    fn resolve(&self, tail: &Tail, batch: &mut Batch) -> Result<Counters> {
        let mut counters = Counters { sequence: tail.counters.sequence + 1, ..tail.counters };
        let mut fingerprint = tail.fingerprint;
        let (_, table) = self.table()?;
        for index in 0..batch.records.len() {
            if let Some(later) = batch.records.get(index + 8) {
                table.prefetch(later.hash);
            }
            let mut pending = batch.records[index];
            if pending.is_moved {
                pending.fingerprint = fingerprint;
                batch.records[index] = pending;
                continue;
            }
            if pending.kind == Kind::Settings {
                pending.previous = Position(self.control.log.settings.get());
            } else {
                let found = match self.confirm(pending.hint)? {
                    Some((slot, entry)) => Found::At { slot, entry },
                    None => {
                        let key = Record::of(batch.record(index)).expect("the batch was built by record::append").key();
                        table.find(pending.hash, table.place.words(), |position| {
                            let candidate = self.record(position)?;
                            Ok::<bool, Error>(candidate.hash() == pending.hash && candidate.key() == key)
                        })?
                    }
                };
                let (slot, present) = match found {
                    Found::At { slot, entry } => {
                        pending.previous = entry.position();
                        (slot, !entry.is_dead())
                    }
                    Found::Vacant { slot } => (slot, false),
                    Found::Limit => return Err(self.index_full()),
                };
                pending.slot = slot;
                pending.has_slot = matches!(found, Found::At { .. });
                if present && !pending.afresh {
                    let replaced = self.record(pending.previous)?;
                    pending.ordinal = replaced.ordinal();
                    fingerprint = fingerprint.wrapping_sub(record::fingerprint(pending.hash, replaced.version()));
                }
                if pending.kind == Kind::Set {
                    fingerprint = fingerprint.wrapping_add(record::fingerprint(pending.hash, counters.sequence));
                }
                match pending.kind {
                    Kind::Set if present && !pending.afresh => {}
                    Kind::Set => {
                        if pending.afresh {
                            pending.previous = batch.records[index - 1].at;
                        }
                        pending.ordinal = counters.next_ordinal;
                        pending.is_new = true;
                        counters.next_ordinal += 1;
                        counters.length += 1;
                    }
                    _ => {
                        debug_assert!(present, "only present keys are removed");
                        counters.length = counters
                            .length
                            .checked_sub(1)
                            .ok_or_else(|| self.damaged(pending.previous, "fewer keys are counted than are there"))?;
                    }
                }
            }
            pending.fingerprint = fingerprint;
            batch.records[index] = pending;
        }
        Ok(counters)
    }

    /// Writes the records behind the tail.
    fn write(&self, tail: &Tail, counters: &mut Counters, placement: &Placement, batch: &mut Batch) -> Result<()> {
        // What is counted up to the record before: a segment's head tells.
        let mut counted = tail.counters;
        let mut fingerprint = tail.fingerprint;
        let mut entered = placement.entered.iter().peekable();
        let mut order = None;
        for index in 0..batch.records.len() {
            let Pending { offset, length, ordinal, previous, is_new, is_moved, kind, .. } = batch.records[index];
            if let Some(entered) = entered.next_if(|entered| entered.records == index) {
                let before = match order {
                    Some(order) => order,
                    None => self.slot(tail.cursor.segment)?.order.get(),
                };
                order = Some(before + 1);
                self.include_segment(entered.segment, entered.span)?;
                let header = SegmentHeader {
                    span: entered.span,
                    order: before + 1,
                    counters: counted,
                    fingerprint,
                    records: index as u64,
                    start: tail.cursor.at,
                };
                self.heap.write(entered.from, &record::jump(entered.rest, entered.segment.start()));
                self.enter_segment(entered.segment, &header)?;
            }
            fingerprint = batch.records[index].fingerprint;
            let is_last = index + 1 == batch.records.len();
            let bytes = &mut batch.bytes[offset..offset + length];
            let version = if is_moved { Record::of(bytes).map_or(0, |record| record.version()) } else { counters.sequence };
            let given = Given { version, previous, ordinal, is_last, is_new, is_moved, fingerprint };
            counted.chain = record::complete(bytes, given, counted.chain);
            if is_new {
                counted.length += 1;
                counted.next_ordinal = ordinal + 1;
            }
            counted.length -= u64::from(kind == Kind::Remove && !is_moved);
        }
        counters.chain = counted.chain;
        // Records that lie side by side in the batch and in the log are copied at once.
        let mut run = 0..0;
        let mut run_at = Position::NONE;
        for pending in &batch.records {
            if run.end == pending.offset && run_at.plus(run.len() as u64) == pending.at && !run.is_empty() {
                run.end += pending.length;
                continue;
            }
            if !run.is_empty() {
                self.heap.write(run_at, &batch.bytes[run.clone()]);
            }
            run = pending.offset..pending.offset + pending.length;
            run_at = pending.at;
        }
        if !run.is_empty() {
            self.heap.write(run_at, &batch.bytes[run]);
        }
        Ok(())
    }

    /// Publishes a sealed batch; returns how many keys got a slot.
    #[inline]
    fn publish_batch(&self, batch: &Batch) -> Result<u64> {
        let mut inserted = 0;
        for (index, pending) in batch.records.iter().enumerate() {
            let record = Record::of(batch.record(index)).expect("the batch was built by record::append");
            let hint = (!pending.is_moved).then_some((pending.slot, pending.has_slot));
            inserted += u64::from(self.publish(pending.at, &record, hint)?);
        }
        Ok(inserted)
    }

    /// Makes a sealed record, of which `newest` may be a copy, the newest of its key. May be repeated. True if the key had no slot before.
    #[inline]
    pub(crate) fn publish(&self, at: Position, newest: &Record<'_>, hint: Option<(u64, bool)>) -> Result<bool> {
        let (kind, hash, key, size) = (newest.kind(), newest.hash(), newest.key(), newest.bytes().len() as u64);
        // In use is what order or settings name.
        let count_out = |replaced: Option<Position>| match replaced {
            Some(replaced) if replaced != at && replaced != Position::NONE => {
                self.count_out(replaced, self.record(replaced)?.bytes().len() as u64, self.control.commit.newest() + 1)
            }
            _ => Ok(()),
        };
        self.count_in(at, size)?;
        if kind == Kind::Settings {
            let replaced = Position(self.control.log.settings.get());
            self.control.log.settings.set(at.0);
            count_out(Some(replaced))?;
            return Ok(false);
        }
        let dead = kind == Kind::Remove;
        let entry = Entry::new(at, hash, dead);
        let is_key = |position| {
            let candidate = self.record(position)?;
            Ok::<bool, Error>(candidate.hash() == hash && candidate.key() == key)
        };
        let (_, table) = self.table()?;
        let found = match hint {
            // Slots are never given up: what was found under the same hold of the mutex is still so, or newly taken.
            Some((slot, true)) => Found::At { slot, entry },
            Some((slot, false)) if table.entry(slot).0 == 0 => Found::Vacant { slot },
            _ => table.find(hash, table.place.words(), is_key)?,
        };
        let is_newest = match found {
            _ if !newest.is_moved() => true,
            // A moved record never comes before a newer one of its key; of one transaction, the one with the higher ordinal.
            Found::At { entry, .. } => {
                let known = self.record(entry.position())?;
                (known.version(), known.ordinal()) <= (newest.version(), newest.ordinal())
            }
            _ => !dead,
        };
        let inserted = if is_newest { self.set_entry(found, hash, entry, is_key)? } else { false };
        let replaced = if newest.is_new() { None } else { order::load(&self.order, newest.ordinal()) };
        order::store(&self.order, newest.ordinal(), at, dead);
        count_out(replaced)?;
        Ok(inserted)
    }

    /// Sets a key's slot, in the next table too where that has it already. True if the key had no slot.
    fn set_entry(&self, found: Found, hash: u64, entry: Entry, is_key: impl FnMut(Position) -> Result<bool>) -> Result<bool> {
        let (_, table) = self.table()?;
        let state = &self.control.table;
        let (slot, inserted) = match found {
            Found::At { slot, .. } => (slot, false),
            Found::Vacant { slot } => {
                state.occupied.set(state.occupied.get() + 1);
                (slot, true)
            }
            Found::Limit => return Err(self.index_full()),
        };
        let growth = self.growth();
        if let Some(next) = growth.next()
            && slot < state.migrated.get()
        {
            match growth.find_zeroed(&next, hash, is_key)? {
                Found::At { slot, .. } => next.set(slot, entry),
                Found::Vacant { slot } => {
                    state.next_occupied.set(state.next_occupied.get() + 1);
                    next.set(slot, entry);
                }
                Found::Limit => return Err(self.index_full()),
            }
        }
        table.set(slot, entry);
        Ok(inserted)
    }

    #[cold]
    pub(crate) fn index_full(&self) -> Error {
        Error::new(
            ErrorKind::Full,
            format!("{}: the index holds as many keys as it can; remove some or split the store", self.directory.display()),
        )
    }
}
