//! The commit: reserve, resolve, copy, seal, publish, commit, in this order, under the mutex.
//!
//! What a kill leaves: before the seal, bytes behind the last sealed footer that mean nothing; between the seal and the
//! commit word, a transaction that the next owner of the mutex finishes (`repair.rs`); afterwards, a transaction.

use crate::error::{Error, ErrorKind, Result};
use crate::index::grow::SLOTS_PER_INSERT;
use crate::index::order;
use crate::index::table::{Entry, Found};
use crate::limits::SEGMENT_BYTES;
use crate::log::batch::{Batch, Cursor, Entered};
use crate::log::footer::{FOOTER_BYTES, Footer};
use crate::log::header::{LOG_HEADER_BYTES, SegmentHeader};
use crate::log::record::{self, Kind};
use crate::segment::control::DAMAGED;
use crate::segment::counters::Counters;
use crate::segment::heap::Position;
use crate::store::locked::Locked;
use crate::store::shared::Shared;
use crate::sys::atomic::Ordering;
use smallvec::SmallVec;
use std::ops::Deref;

/// Where the log ends, and what stands there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) cursor: Cursor,
    pub(crate) counters: Counters,
}

/// Where a batch will lie.
#[derive(Debug)]
pub(crate) struct Placement {
    entered: SmallVec<[Entered; 2]>,
    pub(crate) footer_at: Position,
    pub(crate) end: Cursor,
}

impl<S: Deref<Target = Shared>> Locked<S> {
    /// Makes the batch's records the newest of their keys, all at one instant: returns the transaction's number. On an
    /// error nothing changed.
    #[inline]
    pub(crate) fn commit(&self, batch: &mut Batch) -> Result<u64> {
        self.require_same_process()?;
        let shared = self.shared();
        let tail = shared.tail()?;
        let placement = place(tail.cursor, batch);
        shared.reserve(&tail, &placement, batch)?;
        let counters = shared.resolve(&tail, batch)?;
        let footer = shared.copy(&tail, counters, &placement, batch);
        shared.control.log.sealed.store(placement.footer_at.0, Ordering::Release);
        let inserted = shared.publish_batch(batch).inspect_err(|_| shared.control.stamps.state.set(DAMAGED))?;
        shared.control.commit.publish(&footer.counters);
        // The transaction is committed, whatever becomes of the next table.
        if shared.growth().step(SLOTS_PER_INSERT * (inserted + 1), shared).is_err() {
            shared.control.stamps.state.set(DAMAGED);
        }
        Ok(footer.counters.sequence)
    }
}

/// Lays a batch and its footer behind the cursor.
fn place(cursor: Cursor, batch: &mut Batch) -> Placement {
    let mut end = cursor;
    let mut entered = SmallVec::new();
    for pending in &mut batch.records {
        let (segment, at) = end.place(pending.length as u64);
        entered.extend(segment);
        pending.at = at;
    }
    let (segment, footer_at) = end.place(FOOTER_BYTES as u64);
    entered.extend(segment);
    Placement { entered, footer_at, end }
}

impl Shared {
    /// The end of the log: behind the last sealed footer, which is the last committed one whenever the mutex is free.
    #[inline]
    pub(crate) fn tail(&self) -> Result<Tail> {
        let at = Position(self.control.log.sealed.get());
        if at == Position::NONE {
            let cursor = Cursor { at: Position::from_bytes(LOG_HEADER_BYTES), segment_end: Position::from_bytes(SEGMENT_BYTES) };
            return Ok(Tail { cursor, counters: Counters { chain: self.header.salt, ..Counters::default() } });
        }
        let footer = self.footer(at)?;
        Ok(Tail { cursor: Cursor { at: at.plus(FOOTER_BYTES as u64), segment_end: footer.segment_end }, counters: footer.counters })
    }

    /// The footer at a sealed position.
    pub(crate) fn footer(&self, at: Position) -> Result<Footer> {
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        self.heap
            .sealed(at, FOOTER_BYTES as u64, ready)
            .and_then(Footer::decode)
            .ok_or_else(|| self.damaged(at, "no transaction ends where one was sealed"))
    }

    /// Finds what each record replaces and gives out ordinals. Changes only the batch.
    fn resolve(&self, tail: &Tail, batch: &mut Batch) -> Result<Counters> {
        let mut counters = Counters { sequence: tail.counters.sequence + 1, ..tail.counters };
        let (_, table) = self.table()?;
        for index in 0..batch.records.len() {
            if let Some(later) = batch.records.get(index + 8) {
                table.prefetch(later.hash);
            }
            let mut pending = batch.records[index];
            if pending.kind == Kind::Settings {
                pending.previous = Position(self.control.log.settings.get());
            } else {
                let key = record::Record::of(batch.record(index)).expect("the batch was built by record::append").key();
                let found = table.find(pending.hash, table.place.words(), |position| {
                    let candidate = self.record(position)?;
                    Ok::<bool, Error>(candidate.hash() == pending.hash && candidate.key() == key)
                })?;
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
                match pending.kind {
                    Kind::Set if present && !pending.afresh => pending.ordinal = self.record(pending.previous)?.ordinal(),
                    Kind::Set => {
                        if pending.afresh {
                            pending.previous = batch.records[index - 1].at;
                        }
                        pending.ordinal = counters.next_ordinal;
                        counters.next_ordinal += 1;
                        counters.length += 1;
                    }
                    _ => {
                        debug_assert!(present, "only present keys are removed");
                        pending.ordinal = self.record(pending.previous)?.ordinal();
                        counters.length = counters
                            .length
                            .checked_sub(1)
                            .ok_or_else(|| self.damaged(pending.previous, "fewer keys are counted than are there"))?;
                    }
                }
            }
            batch.records[index] = pending;
        }
        Ok(counters)
    }

    /// Writes records and footer behind the tail.
    fn copy(&self, tail: &Tail, counters: Counters, placement: &Placement, batch: &mut Batch) -> Footer {
        let mut chain = tail.counters.chain;
        for index in 0..batch.records.len() {
            let pending = batch.records[index];
            let bytes = &mut batch.bytes[pending.offset..pending.offset + pending.length];
            record::complete(bytes, counters.sequence, pending.previous, pending.ordinal);
            chain = record::chain(chain, bytes);
        }
        for entered in &placement.entered {
            self.heap.write(entered.from, &record::jump(entered.rest, entered.segment));
            let header = SegmentHeader { span: entered.span, order: entered.segment.bytes() / SEGMENT_BYTES };
            self.heap.write(entered.segment, &header.encode(self.header.salt));
        }
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
        let start = match placement.entered.first() {
            Some(first) if first.from == tail.cursor.at => first.from,
            _ => tail.cursor.at,
        };
        let mut footer = Footer {
            start,
            records: u32::try_from(batch.records.len()).expect("reserve bounds it"),
            segment_end: placement.end.segment_end,
            counters,
        };
        let bytes = footer.encode(chain);
        self.heap.write(placement.footer_at, &bytes);
        footer
    }

    /// Publishes a sealed batch; returns how many keys got a slot.
    #[inline]
    fn publish_batch(&self, batch: &Batch) -> Result<u64> {
        let mut inserted = 0;
        for (index, pending) in batch.records.iter().enumerate() {
            let key = record::Record::of(batch.record(index)).map_or(&[][..], |record| record.key());
            inserted += u64::from(self.publish(
                pending.at,
                pending.kind,
                pending.hash,
                pending.ordinal,
                key,
                Some((pending.slot, pending.has_slot)),
            )?);
        }
        Ok(inserted)
    }

    /// Makes a sealed record the newest of its key. May be repeated. True if the key had no slot before.
    #[inline]
    pub(crate) fn publish(&self, at: Position, kind: Kind, hash: u64, ordinal: u64, key: &[u8], hint: Option<(u64, bool)>) -> Result<bool> {
        if kind == Kind::Settings {
            self.control.log.settings.set(at.0);
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
        order::store(&self.order, ordinal, at, dead);
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
