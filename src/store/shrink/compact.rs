//! Compaction: the holes that removals left in the order are closed, and log, table and order take up as little as they need.
//! In small steps, each a commit of its own under the mutex, beside readers and writers of all processes.
//!
//! Every key gets a new ordinal, **from the last to the first, in falling order**: with N the next ordinal and L keys at the
//! beginning, the last key gets N + L, the one before it N + L - 1, and so on. Keys that are added meanwhile come behind. So at
//! every moment the ordinals of all keys rise in insertion order: those that had no turn yet stand below N, those that had theirs
//! between N and N + L, new ones behind. Nothing else has to be known of how far it is; who is killed on the way leaves an order
//! with holes, and whoever compacts next goes on.
//!
//! A step's records are new versions with the old values, marked as renumbered. The word of an old ordinal is changed to name
//! the new one, and stays: a snapshot that is older follows it and walks back to the record that had the old ordinal; any other
//! finds none that has it. So it never dangles, and a loop over what is there *now* that comes to it goes on at the new ordinal,
//! with every key behind still before it. At N itself stands such a word, which leads behind the whole: for a loop that had seen
//! all there was. They are wiped when the order is compacted the next time. Where a snapshot is older than the last time, or such a
//! loop is under way, the order is left as it is.
//!
//! The end is a new record of the settings: its ordinal is the one from which places in order count from then on. What is written in
//! `control.order` while this goes on follows from the records, so that it is right after a repair.

use crate::error::Result;
use crate::index::order;
use crate::limits::SEGMENT_BYTES;
use crate::log::batch::Batch;
use crate::log::record::Record;
use crate::segment::heap::{Position, Segment};
use crate::segment::slots::State;
use crate::store::core::shared::Shared;
use crate::store::write::locked::Locked;
use crate::store::write::publishing::By;
use crate::sys::atomic::Ordering;
use crate::sys::file::PIECE_BYTES;
use std::time::Duration;

/// What is done under one hold of the mutex: about a tenth of a millisecond.
const RECORDS_MAX: usize = 64;
const BYTES_MAX: usize = 64 * 1024;
const ORDINALS_MAX: u64 = 16 * 1024;
const SLOTS_MAX: u64 = 2048;
/// Records that are looked at in a segment that is cleaned.
const LOOKS: usize = 256;

impl Shared {
    /// Notes how far a compaction is, before a renumbered record is published.
    pub(crate) fn note_renumbered(&self, ordinal: u64, before: Option<u64>, by: By) -> Result<()> {
        let order = &self.control.order;
        if matches!(by, By::Rebuild) {
            return Ok(());
        }
        if order.fill.get() == 0 {
            // The first one: the commit word is still that of the transaction before.
            let start = self.counters()?.next_ordinal;
            order.start.set(start);
            order::set_forward(&self.order, start, ordinal + 1);
            order.cut.set(start);
            order.fill.set(ordinal);
        } else if ordinal < order.fill.get() {
            order.fill.set(ordinal);
        }
        if let Some(before) = before
            && before < order.cut.get()
        {
            order.cut.set(before);
        }
        Ok(())
    }

    /// Notes from which ordinal places in order count, as the settings say that are published.
    pub(crate) fn note_first(&self, settings: &Record<'_>, by: By) {
        let order = &self.control.order;
        if order.first.get() != settings.ordinal() {
            order.before.set(order.first.get());
            order.since.set(if matches!(by, By::Rebuild) { 0 } else { settings.version() });
            order.fill.set(0);
            order.first.set(settings.ordinal());
        }
    }

    /// Closes the holes in the order and gives back what is not needed. Returns when it is done; where snapshots are held it
    /// does what it can.
    pub(crate) fn compact(&self, timeout: Duration) -> Result<()> {
        if self.begin_compaction(timeout)? {
            let mut looked_at = None;
            while self.renumber(timeout, &mut looked_at)? {}
        }
        self.tidy(timeout)
    }

    /// Wipes what the last compaction left. False where nothing is to be renumbered, or may be.
    fn begin_compaction(&self, timeout: Duration) -> Result<bool> {
        let order = &self.control.order;
        let mut at = 0;
        loop {
            let locked = Locked::new(self, timeout)?;
            let counters = self.counters()?;
            if order.fill.get() != 0 {
                return Ok(true);
            }
            let holes = counters.next_ordinal - order.first.get().min(counters.next_ordinal) > counters.length;
            let has_forwards = order.low.get() < order.first.get();
            let is_needed = has_forwards && (self.floor()? < order.since.get() || self.membership.is_looped(&self.live())?);
            if counters.length == 0 || is_needed || !(holes || self.is_loose()?) {
                return Ok(false);
            }
            at = at.max(order.low.get());
            let end = (at + ORDINALS_MAX).min(order.first.get());
            for ordinal in at..end {
                if order::forward(&self.order, ordinal).is_some() {
                    order::clear(&self.order, ordinal);
                }
            }
            at = end;
            self.raise_low()?;
            if at >= order.first.get() {
                return Ok(true);
            }
            locked.release();
            self.do_chores();
        }
    }

    /// Whether the log takes up much more than what is live in it.
    fn is_loose(&self) -> Result<bool> {
        let (mut used, mut live) = (0, 0);
        for segment in (0..self.control.log.segments.get()).map(Segment) {
            let slot = self.slot(segment)?;
            used += u64::from(matches!(slot.state(), State::InLog(_) | State::Inside));
            live += if matches!(slot.state(), State::InLog(_)) { slot.live.get() } else { 0 };
        }
        Ok(used * SEGMENT_BYTES > live + live / 4 + 2 * SEGMENT_BYTES)
    }

    /// Gives the next keys new ordinals, from the last to the first. False when all have one. Before the first one is found, the
    /// caller remembers what was looked at: the next ordinal then, and one from which on there is no key.
    fn renumber(&self, timeout: Duration, looked_at: &mut Option<(u64, u64)>) -> Result<bool> {
        let order = &self.control.order;
        let mut batch = Batch::default();
        let locked = Locked::new(self, timeout)?;
        let counters = self.counters()?;
        let is_begun = order.fill.get() != 0;
        let (start, mut at, mut next) = if is_begun {
            (order.start.get(), order.cut.get().min(order.start.get()), order.fill.get() - 1)
        } else {
            let start = counters.next_ordinal;
            (start, looked_at.filter(|(before, _)| *before == start).map_or(start, |(_, at)| at), start + counters.length)
        };
        let low = order.low.get();
        let end = at.saturating_sub(ORDINALS_MAX).max(low);
        while at > end && batch.records.len() < RECORDS_MAX && batch.bytes.len() < BYTES_MAX {
            at -= 1;
            if let Some(ahead) = self.ordinal_head(at.saturating_sub(8)) {
                self.heap.prefetch(ahead);
            }
            let Some(position) = self.ordinal_head(at) else { continue };
            let record = self.record(position)?;
            if record.is_set() {
                if next <= start {
                    return Err(self.damaged(position, "more keys are in order than were counted"));
                }
                batch.push_renumbered(&record, next);
                next -= 1;
            }
        }
        if !batch.is_empty() {
            let sequence = locked.commit(&mut batch)?;
            order.cut.set(at);
            locked.finish(sequence)?;
            return Ok(true);
        }
        if !is_begun {
            *looked_at = Some((start, at));
            return Ok(at > low);
        }
        order.cut.set(at);
        if at > low {
            return Ok(true);
        }
        let sequence = self.commit_settings(&locked, &mut batch, start + 1)?;
        locked.finish(sequence)?;
        Ok(false)
    }

    /// Commits the settings as they are, with the ordinal from which places in order count, and what the batch cleans.
    fn commit_settings(&self, locked: &Locked<&Shared>, batch: &mut Batch, first: u64) -> Result<u64> {
        if self.push_settings(batch, first)? { locked.commit(batch) } else { Ok(self.control.commit.newest()) }
    }

    /// Cleans what can be cleaned and gives back what is not needed, in small steps.
    pub(crate) fn tidy(&self, timeout: Duration) -> Result<()> {
        let log = &self.control.log;
        let mut batch = Batch::default();
        let since = self.control.commit.newest();
        // Every segment has its turn once, and what was moved meanwhile.
        let (mut turns, mut last) = (2 * log.segments.load(Ordering::Relaxed) + 8, 0);
        loop {
            // What was cleaned is free once that is on the disk.
            if self.control.flush.asked.load(Ordering::Relaxed) != 0 && log.victim.load(Ordering::Relaxed) == 0 {
                self.wait_until_durable(self.control.commit.newest(), timeout)?;
            }
            let locked = Locked::new(self, timeout)?;
            if log.victim.get() == 0 {
                self.choose(Position(log.sealed.get()).segment(), Some(since))?;
            }
            if log.victim.get() != std::mem::replace(&mut last, log.victim.get()) {
                turns = u64::saturating_sub(turns, 1);
            }
            if turns == 0 {
                // What is left would be moved for ever.
                log.victim.set(0);
            }
            let cleans = log.victim.get() != 0;
            if cleans {
                batch.clear();
                batch.looks = LOOKS;
                self.commit_settings(&locked, &mut batch, self.control.order.first.get())?;
            }
            // There may be more than can be named at once.
            if self.give_back(locked)? == 0 && !cleans {
                break;
            }
        }
        while self.shrink_table(timeout)? {}
        let locked = Locked::new(self, timeout)?;
        // What older tables left behind too.
        self.control.table.old.set(self.control.table.current.get());
        self.give_back(locked)?;
        self.prepare();
        self.punch_forgotten();
        Ok(())
    }

    /// Builds the next smaller table, a few slots under each hold of the mutex. False when it is as small as it may be.
    fn shrink_table(&self, timeout: Duration) -> Result<bool> {
        let growth = self.growth();
        {
            let _locked = Locked::new(self, timeout)?;
            let length = self.counters()?.length;
            let (_, table) = self.table()?;
            if growth.next().is_none() {
                let is_pinned = self.floor()? < self.control.commit.newest();
                if is_pinned || growth.plan(table.place, length).is_none_or(|next| next.slots() >= table.place.slots()) {
                    return Ok(false);
                }
                self.begin_table(length)?;
            }
        }
        loop {
            let _locked = Locked::new(self, timeout)?;
            if growth.next().is_none() {
                return Ok(true);
            }
            growth.step(SLOTS_MAX, self)?;
        }
    }

    /// Gives back the pieces of the order before the first place that hold no word any more: none will ever come there.
    fn punch_forgotten(&self) {
        const PIECE: u64 = PIECE_BYTES / 8;
        let low = self.control.order.low.load(Ordering::Acquire) / PIECE * PIECE;
        let first = self.control.order.first.load(Ordering::Acquire);
        let mut empty = low..low;
        for piece in (low..first / PIECE * PIECE).step_by(PIECE as usize) {
            if (piece..piece + PIECE).all(|ordinal| order::is_empty(&self.order, ordinal)) {
                empty.end = piece + PIECE;
                continue;
            }
            self.punch_ordinals(empty);
            empty = piece + PIECE..piece + PIECE;
        }
        self.punch_ordinals(empty);
    }
}
