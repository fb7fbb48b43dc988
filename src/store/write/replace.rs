//! The commit of a single record that replaces another of its key, as most commits are: the steps of `commit.rs` in a
//! straight line. There is no segment to enter, no ordinal to give out, no slot to take, nothing to move.

use crate::error::Result;
use crate::index::order::{self, TaskWord};
use crate::index::table::Entry;
use crate::log::batch::Batch;
use crate::log::record::{self, Given, Kind, Record, Tally};
use crate::segment::control::DAMAGED;
use crate::segment::counters::Counters;
use crate::segment::heap::Position;
use crate::store::core::shared::Shared;
use crate::store::write::publishing::{By, Noted};
use crate::sys::atomic::Ordering;

impl Shared {
    /// Commits the batch, if it is such a record; returns the transaction's number, or nothing where the long way has to be
    /// taken. For the holder of the mutex.
    #[inline]
    pub(crate) fn commit_replacement(&self, batch: &mut Batch, is_durable: bool) -> Result<Option<u64>> {
        let control = self.control;
        let [pending] = &batch.records[..] else { return Ok(None) };
        let size = pending.length as u64;
        let sealed = Position(control.log.sealed.get());
        let is_plain = pending.kind == Kind::Set
            && !pending.afresh
            && !pending.is_renumbered
            && control.table.next.get() == 0
            && control.log.victim.get() == 0;
        if !is_plain || sealed == Position::NONE {
            return Ok(None);
        }
        let Some((slot, entry)) = self.confirm(pending.hint)?.filter(|(_, entry)| !entry.is_dead()) else { return Ok(None) };
        let last = self.sealed_record(sealed)?;
        let cursor = self.cursor_behind(sealed, &last)?;
        let at = cursor.at;
        if !cursor.has_room(size) || at.bytes() + size > control.log.limit.get().min(self.heap.map().capacity()) {
            return Ok(None);
        }
        // Resolve.
        let replaced = self.record(entry.position())?;
        let (hash, ordinal, replaced_size) = (pending.hash, replaced.ordinal(), replaced.bytes().len() as u64);
        let before = self.counters()?;
        let sequence = before.sequence + 1;
        let fingerprint = last
            .fingerprint()
            .wrapping_sub(record::fingerprint(hash, replaced.version()))
            .wrapping_add(record::fingerprint(hash, sequence));
        let is_tracker = self.is_tracker();
        let tally = if is_tracker { self.tally_replacement(batch, ordinal)? } else { Some(Tally::default()) };
        let Some(tally) = tally else { return Ok(None) };
        let [pending] = &batch.records[..] else { return Ok(None) };
        let mut counters = Counters { sequence, ..before };
        tally.count(&mut counters);
        // Write.
        let previous = entry.position();
        let lag = if is_durable { sequence - control.flush.horizon.load(Ordering::Acquire).min(sequence) } else { 0 };
        let given = Given {
            version: sequence,
            previous,
            ordinal,
            is_last: true,
            is_new: false,
            is_moved: false,
            is_renumbered: false,
            is_placed: false,
            fingerprint,
            tally,
            lag,
        };
        let bytes = &mut batch.bytes[pending.offset..pending.offset + pending.length];
        counters.chain = record::complete(bytes, given, before.chain);
        self.put(at, bytes, self.way(cursor.segment, is_durable)?)?;
        self.note_changed(replaced.version());
        // Seal.
        control.log.start.set(at.0);
        control.log.sealed.store(at.0, Ordering::Release);
        // Publish.
        let (_, table) = self.table()?;
        let counted = self.count_in(at, size).and_then(|()| {
            table.set(slot, Entry::new(at, hash, false));
            let task = if is_tracker {
                let record = Record::of(bytes).expect("completed above");
                self.note_task(&record, &Noted { before: Some(replaced), from: ordinal, claiming: pending.claiming, by: By::Writer(None) })?
            } else {
                TaskWord::default()
            };
            order::store(&self.order, ordinal, at, false, task);
            self.count_out(entry.position(), replaced_size, sequence)
        });
        counted.inspect_err(|_| control.stamps.state.set(DAMAGED))?;
        self.heap.prefetch_tail(at.plus(2 * size), size);
        // Commit.
        control.commit.publish(&counters);
        if counters.done != before.done {
            self.take_sample(&counters);
        }
        Ok(Some(sequence))
    }

    /// What the one record of a batch does to the counters of tasks; nothing where there is no room for what it needs.
    #[inline]
    fn tally_replacement(&self, batch: &Batch, ordinal: u64) -> Result<Option<Tally>> {
        if !self.has_room_for_task()? {
            return Ok(None);
        }
        let record = Record::of(batch.record(0)).expect("the batch was built by record::append");
        let before = order::task(&self.order, ordinal).standing;
        self.tally(&batch.records[0], &record, before, self.control.tasks.max_tries.get()).map(Some)
    }
}
