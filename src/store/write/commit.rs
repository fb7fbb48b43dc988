//! The commit: reserve, resolve, write, seal, publish, commit, in this order, under the mutex.
//!
//! What a kill leaves: before the seal, bytes behind the last sealed record that mean nothing; between the seal and the
//! commit word, a transaction that the next owner of the mutex finishes (`recover/repair.rs`); afterwards, a transaction.

use crate::error::{Error, ErrorKind, Result};
use crate::index::grow::SLOTS_PER_INSERT;
use crate::index::order::{self, TaskWord};
use crate::index::table::{Entry, Found};
use crate::log::batch::{Batch, Claiming, Cursor, Entered, Pending};
use crate::log::header::SegmentHeader;
use crate::log::record::{self, Given, Kind, Record, Standing};
use crate::segment::control::DAMAGED;
use crate::segment::counters::Counters;
use crate::segment::heap::{Position, Segment};
use crate::store::core::shared::Shared;
use crate::store::write::clean::Cleaned;
use crate::store::write::dirty::Dirtied;
use crate::store::write::locked::Locked;
use crate::store::write::publishing::{By, Noted};
use crate::store::write::put::Run;
use crate::store::write::room::{CLEANED_IN_VAIN_MAX, Use, is_full};
use crate::store::write::tail::{Placement, Tail};
use crate::sys::atomic::Ordering;
use std::ops::Deref;

/// How many records ahead of its use a slot of the table is asked for.
const PREFETCHED_RECORDS: usize = 8;

/// A batch that has its place.
struct Laid {
    tail: Tail,
    cleaned: Cleaned,
    placement: Placement,
    /// What `log.limit` is behind it.
    limit: u64,
}

impl<S: Deref<Target = Shared>> Locked<S> {
    /// Makes the batch's records the newest of their keys, all at one instant: returns the transaction's number. On an
    /// error nothing changed.
    #[inline]
    pub(crate) fn commit(&self, batch: &mut Batch) -> Result<u64> {
        self.require_same_process()?;
        let shared = self.shared();
        let is_durable = self.writing.is_durable;
        let outcome = shared.commit_replacement(batch, is_durable);
        if let Some(sequence) = outcome.or_else(|error| shared.take_back(error))? {
            return Ok(sequence);
        }
        let takes = batch.takes_room();
        let mut laid = shared.lay(batch, Use::Some);
        let (mut most, mut in_vain) = (0, 0);
        while is_full(&laid) && in_vain < CLEANED_IN_VAIN_MAX && self.make_room(takes)? {
            laid = shared.lay(batch, Use::Some);
            let room = shared.room()?;
            in_vain = if room > most { 0 } else { in_vain + 1 };
            most = most.max(room);
        }
        if is_full(&laid) {
            laid = shared.lay(batch, Use::All);
        }
        self.commit_laid(batch, laid?)
    }

    /// The same for a batch that is to make room itself.
    pub(crate) fn commit_in_place(&self, batch: &mut Batch, uses: Use) -> Result<u64> {
        let laid = self.shared().lay(batch, uses)?;
        self.commit_laid(batch, laid)
    }

    #[inline]
    fn commit_laid(&self, batch: &mut Batch, Laid { tail, cleaned, placement, limit }: Laid) -> Result<u64> {
        let shared = self.shared();
        let is_durable = self.writing.is_durable;
        let log = &shared.control.log;
        let (mut counters, dirtied) = shared.resolve(&tail, batch)?;
        let is_entered = !placement.entered.is_empty();
        if is_entered {
            // It would be that of another segment.
            log.limit.set(0);
        }
        let outcome = shared.write(&tail, &mut counters, &placement, batch, is_durable);
        outcome.or_else(|error| shared.take_back(error))?;
        shared.note_dirtied(dirtied);
        log.start.set(tail.cursor.at.0);
        log.sealed.store(placement.last.0, Ordering::Release);
        log.limit.set(limit);
        let inserted = shared.publish_batch(batch).inspect_err(|_| shared.control.stamps.state.set(DAMAGED))?;
        shared.control.commit.publish(&counters);
        if counters.done != tail.counters.done {
            shared.take_sample(&counters);
        }
        // The transaction is committed, whatever becomes of the next table and segment.
        let outcome = shared.growth().step(SLOTS_PER_INSERT * (inserted + 1), shared);
        let is_cleaned = matches!(cleaned, Cleaned::All);
        let outcome = outcome.and(shared.cleaned_to(cleaned, counters.sequence));
        let outcome = if is_entered || is_cleaned { outcome.and(shared.choose_next(placement.end.segment, is_entered)) } else { outcome };
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
        Ok(Tail { cursor: self.cursor_behind(at, &last)?, counters: self.counters()?, fingerprint: last.fingerprint() })
    }

    /// Where the log goes on behind its last record.
    #[inline]
    pub(crate) fn cursor_behind(&self, at: Position, last: &Record<'_>) -> Result<Cursor> {
        let segment = at.segment();
        Ok(Cursor { at: at.plus(last.bytes().len() as u64), segment, span: self.slot(segment)?.span.get() })
    }

    /// The record at the sealed position.
    pub(crate) fn sealed_record(&self, at: Position) -> Result<Record<'_>> {
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        Record::at(&self.heap, at, ready)
            .filter(Record::is_last)
            .ok_or_else(|| self.damaged(at, "no transaction ends where one was sealed"))
    }

    /// Finds the place for a batch, and gets it ready.
    #[inline]
    fn lay(&self, batch: &mut Batch, uses: Use) -> Result<Laid> {
        batch.forget_moved();
        let tail = self.tail()?;
        let cleaned = self.clean(batch)?;
        let mut placement = self.place(tail.cursor, batch, batch.leaves, false)?;
        let mut limit = self.reserve(&tail, &placement, batch, uses);
        // The segment that the log ends in may have no more blocks, and a free one may; or one behind all others as many as needed.
        for only_behind in [false, true] {
            if is_full(&limit) {
                placement = self.place(tail.cursor, batch, true, only_behind)?;
                limit = self.reserve(&tail, &placement, batch, uses);
            }
        }
        Ok(Laid { tail, cleaned, placement, limit: limit? })
    }

    /// Lays a batch behind the cursor.
    #[inline]
    fn place(&self, cursor: Cursor, batch: &mut Batch, leaves: bool, only_behind: bool) -> Result<Placement> {
        let mut end = cursor;
        let mut entered = Vec::new();
        let take = |span: u64, entered: &[Entered]| {
            let taken: Vec<(Segment, u64)> = entered.iter().map(|entered| (entered.segment, entered.span)).collect();
            self.take_segment(span, &taken, only_behind)
        };
        for (index, pending) in batch.records.iter_mut().enumerate() {
            let (length, take) = (pending.length as u64, |span| take(span, &entered));
            let (segment, at) = if index == 0 && leaves { end.enter(length, take)? } else { end.place(length, take)? };
            entered.extend(segment.map(|segment| Entered { records: index, ..segment }));
            pending.at = at;
        }
        let last = batch.records.last().map_or(Position::NONE, |pending| pending.at);
        Ok(Placement { entered, last, end })
    }

    /// Finds what each record replaces and gives out ordinals. Changes only the batch.
    fn resolve(&self, tail: &Tail, batch: &mut Batch) -> Result<(Counters, Dirtied)> {
        let mut dirtied = Dirtied::default();
        let mut counters = Counters { sequence: tail.counters.sequence + 1, ..tail.counters };
        let mut fingerprint = tail.fingerprint;
        let (_, table) = self.table()?;
        let max_tries = self.max_tries_for(batch)?;
        for index in 0..batch.records.len() {
            if let Some(later) = batch.records.get(index + PREFETCHED_RECORDS) {
                table.prefetch(later.hash);
            }
            let mut pending = batch.records[index];
            let mut from = 0;
            if pending.is_moved {
                pending.fingerprint = fingerprint;
                batch.records[index] = pending;
                continue;
            }
            if pending.kind == Kind::Settings {
                pending.previous = Position(self.control.log.settings.get());
                if !pending.is_renumbered {
                    pending.ordinal = self.control.order.first.get();
                }
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
                if present && pending.must_be_new {
                    batch.refused = Some(index);
                    return Err(Error::new(ErrorKind::DuplicateKey, "a key that must be new is there already"));
                }
                if !pending.afresh {
                    // The mark that the key is gone counts too.
                    let before = if pending.has_slot { self.record(pending.previous)?.version() } else { 0 };
                    self.count_dirtied(before, &mut dirtied);
                }
                if present && !pending.afresh {
                    let replaced = self.record(pending.previous)?;
                    from = replaced.ordinal();
                    if pending.is_renumbered {
                        counters.next_ordinal = counters.next_ordinal.max(pending.ordinal + 1);
                    } else {
                        pending.ordinal = replaced.ordinal();
                    }
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
                        if !pending.is_placed {
                            pending.ordinal = counters.next_ordinal;
                        }
                        pending.is_new = true;
                        if !batch.is_copied {
                            let record = Record::of(batch.record(index)).expect("the batch was built by record::append");
                            self.require_storable(record.key())?;
                        }
                        counters.next_ordinal = counters.next_ordinal.max(pending.ordinal + 1);
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
            if let Some(max_tries) = max_tries
                && pending.kind != Kind::Settings
            {
                let is_there = self.is_tracker() && !pending.is_new && !pending.afresh;
                let before = if is_there {
                    order::task(&self.order, from).standing
                } else if self.is_tracker() || pending.is_new || pending.afresh {
                    Standing::default()
                } else {
                    self.standing_in_pod(pending.previous, max_tries)?
                };
                let record = Record::of(batch.record(index)).expect("the batch was built by record::append");
                let tally = self.tally(&pending, &record, before, max_tries);
                if tally.is_err() {
                    batch.refused = Some(index);
                }
                pending.tally = tally?;
                pending.tally.count(&mut counters);
            }
            if pending.kind == Kind::Settings {
                let record = Record::of(batch.record(index)).expect("the batch was built by record::append");
                if !pending.is_renumbered {
                    record.count_all(&mut counters);
                }
            }
            pending.fingerprint = fingerprint;
            batch.records[index] = pending;
        }
        Ok((counters, dirtied))
    }

    /// Writes the records behind the tail.
    fn write(&self, tail: &Tail, counters: &mut Counters, placement: &Placement, batch: &mut Batch, is_durable: bool) -> Result<()> {
        let way = self.way(tail.cursor.segment, is_durable)?;
        let horizon = self.control.flush.horizon.load(Ordering::Acquire).min(counters.sequence);
        let lag = if is_durable { counters.sequence - horizon } else { 0 };
        // What is counted up to the record before: a segment's head tells.
        let mut counted = tail.counters;
        let mut fingerprint = tail.fingerprint;
        let mut entered = placement.entered.iter().peekable();
        let mut order = None;
        let mut run = Run { at: Position::NONE, bytes: 0..0 };
        for index in 0..batch.records.len() {
            let Pending { offset, length, at, ordinal, previous, is_new, is_moved, is_placed, is_renumbered, kind, tally, .. } =
                batch.records[index];
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
                    durable: horizon,
                };
                // A jump that leads nowhere is damage.
                self.enter_segment(entered.segment, &header)?;
                self.put(entered.from, &record::jump(entered.rest, entered.segment.start()), way)?;
            }
            fingerprint = batch.records[index].fingerprint;
            let is_last = index + 1 == batch.records.len();
            let bytes = &mut batch.bytes[offset..offset + length];
            let version = if is_moved { Record::of(bytes).map_or(0, |record| record.version()) } else { counters.sequence };
            let lag = if is_last { lag } else { 0 };
            let given = Given { version, previous, ordinal, is_last, is_new, is_moved, is_placed, is_renumbered, fingerprint, tally, lag };
            counted.chain = record::complete(bytes, given, counted.chain);
            counted.length += u64::from(is_new);
            if kind == Kind::Set && (is_new || is_renumbered) {
                counted.next_ordinal = counted.next_ordinal.max(ordinal + 1);
            }
            counted.length -= u64::from(kind == Kind::Remove && !is_moved);
            if !is_moved {
                tally.count(&mut counted);
                if kind == Kind::Settings && !is_renumbered {
                    Record::of(bytes).inspect(|record| record.count_all(&mut counted));
                }
            }
            if !run.extend(at, offset..offset + length) {
                run.write(self, &batch.bytes, way)?;
                run = Run { at, bytes: offset..offset + length };
            }
        }
        counters.chain = counted.chain;
        run.write(self, &batch.bytes, way)?;
        Ok(())
    }

    /// Publishes a sealed batch; returns how many keys got a slot.
    #[inline]
    fn publish_batch(&self, batch: &Batch) -> Result<u64> {
        let mut inserted = 0;
        let (_, table) = self.table()?;
        for (index, pending) in batch.records.iter().enumerate() {
            if let Some(later) = batch.records.get(index + PREFETCHED_RECORDS) {
                table.prefetch(later.hash);
            }
            let record = Record::of(batch.record(index)).expect("the batch was built by record::append");
            let hint = (!pending.is_moved).then_some((pending.slot, pending.has_slot));
            inserted += u64::from(self.publish(pending.at, &record, By::Writer(hint), pending.claiming)?);
        }
        Ok(inserted)
    }

    /// Makes a sealed record, of which `newest` may be a copy, the newest of its key. May be repeated. True if the key had no slot before.
    #[inline]
    pub(crate) fn publish(&self, at: Position, newest: &Record<'_>, by: By, claiming: Claiming) -> Result<bool> {
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
            self.note_first(newest, by);
            if !newest.is_moved() && !matches!(by, By::Rebuild) {
                self.note_settings(newest, by)?;
            }
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
        let found = match by {
            // Slots are never given up: what was found under the same hold of the mutex is still so, or newly taken.
            By::Writer(Some((slot, true))) => Found::At { slot, entry: table.entry(slot) },
            By::Writer(Some((slot, false))) if table.entry(slot).0 == 0 => Found::Vacant { slot },
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
        let elsewhere = match found {
            Found::At { entry, .. } if is_newest && (newest.is_renumbered() || matches!(by, By::Rebuild)) => {
                self.elsewhere(entry, newest)?
            }
            _ => None,
        };
        let replaced = if newest.is_new() { None } else { order::load(&self.order, newest.ordinal()) };
        if newest.is_renumbered() && !newest.is_moved() {
            self.note_renumbered(newest.ordinal(), elsewhere, by)?;
        }
        let task = if self.is_tracker() && !matches!(by, By::Rebuild) {
            // What a moved record once replaced may be gone for long.
            let is_alone = newest.is_moved() || newest.previous() == Position::NONE;
            let before = if is_alone { None } else { Some(self.record(newest.previous())?) };
            self.note_task(newest, &Noted { before, from: elsewhere.unwrap_or(newest.ordinal()), claiming, by })?
        } else {
            TaskWord::default()
        };
        if dead
            && newest.is_moved()
            && self.is_unsaved_removal(newest)
            && let Some(before) = replaced
            && !self.record(before)?.is_moved()
        {
            self.control.log.marks_kept.set(self.control.log.marks_kept.get() + size);
        }
        let set_order = || {
            order::store(&self.order, newest.ordinal(), at, dead, task);
            if dead && !newest.is_moved() {
                self.control.log.marks.set(self.control.log.marks.get() + size);
            }
        };
        if let Some(ordinal) = elsewhere {
            // The table comes last: while it names the old record, a repair finds the old ordinal.
            let old = order::load(&self.order, ordinal);
            set_order();
            match by {
                By::Rebuild => order::clear(&self.order, ordinal),
                _ => order::set_forward(&self.order, ordinal, newest.ordinal()),
            }
            let inserted = self.set_entry(found, hash, entry, is_key)?;
            count_out(replaced).and(count_out(old))?;
            return Ok(inserted);
        }
        let inserted = if is_newest { self.set_entry(found, hash, entry, is_key)? } else { false };
        set_order();
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
            && slot < state.copying.get()
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
