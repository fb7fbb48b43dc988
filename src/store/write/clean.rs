//! Cleaning: the last live records of a segment are moved to the end of the log, a few with each commit, so that the segment
//! can be used again. Under the mutex.
//!
//! The copies stand in the transaction of whoever commits, before his own records. They keep version and ordinal, so no
//! reader can tell: index and order name the copy from the commit on, snapshots go on with either. A kill before the seal
//! leaves nothing, one after it a copy that the next owner publishes; where the cleaning had come to is only a hint, since
//! a record is moved only while the order names it.
//!
//! The mark of a removed key is moved as any other record: a rebuild needs it for as long as older segments may hold what it
//! removed, and a checkpoint until the shards have lost the key. In the oldest segment it is dropped instead, once no snapshot is older: first from the table, then from the order.
//! A kill between leaves it in the order, from where the next cleaner drops it again.

use crate::error::{Error, Result};
use crate::index::order;
use crate::index::table::{Found, VOID};
use crate::log::batch::Batch;
use crate::log::record::{self, FRAME_BYTES, Kind, Record};
use crate::segment::heap::{Position, Segment};
use crate::segment::words::Words;
use crate::store::core::shared::Shared;
use crate::sys::atomic::Ordering;
use smallvec::SmallVec;

/// Records of the segment that are looked at with each commit, and bytes that are moved, but for one record; more with a
/// larger batch. A segment must be through when the log has gone on by one.
const LOOKED_AT: usize = 8;
const MOVED_BYTES: usize = 4 * 1024;
/// A batch as large as this is not made longer.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far a commit cleans.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cleaned {
    Nothing,
    /// The next record to be looked at.
    To(Position),
    /// Nothing in the segment is live any more.
    All,
}

impl Shared {
    /// Puts copies of the next live records of the segment that is cleaned into a batch.
    #[inline]
    pub(crate) fn clean(&self, batch: &mut Batch) -> Result<Cleaned> {
        match self.control.log.victim.get().checked_sub(1) {
            Some(victim) if batch.bytes.len() <= BATCH_BYTES_MAX && !batch.renumbers() => self.clean_segment(Segment(victim), batch),
            _ => Ok(Cleaned::Nothing),
        }
    }

    fn clean_segment(&self, victim: Segment, batch: &mut Batch) -> Result<Cleaned> {
        let mut at = Position(self.control.log.victim_at.get());
        if at.segment() != victim || self.slot(victim)?.live.get() == 0 {
            return Ok(Cleaned::All);
        }
        let ready = self.control.ready.log.load(Ordering::Relaxed);
        // Where it is the one that the log ends in, which is left then (`room.rs`), nothing stands behind the end.
        let is_current = Position(self.control.log.sealed.get()).segment() == victim;
        let log_end = if is_current { self.tail()?.cursor.at } else { victim.end(1) };
        let (records_max, bytes_max) =
            (batch.looks.max(LOOKED_AT + batch.bytes.len() / 64), batch.looks * 64 + MOVED_BYTES + batch.bytes.len());
        let mut looked_at: SmallVec<[(Position, Record<'_>); LOOKED_AT]> = SmallVec::new();
        let mut end = Cleaned::All;
        while at < log_end
            && let Some((size, kind)) = self.heap.sealed(at, FRAME_BYTES as u64, ready).and_then(record::frame)
            && kind != Kind::Jump
        {
            end = Cleaned::To(at);
            if looked_at.len() >= records_max {
                break;
            }
            let record = self.record(at)?;
            self.order.prefetch(record.ordinal());
            looked_at.push((at, record));
            at = at.plus(size);
            end = Cleaned::All;
        }
        let mut bytes = 0;
        let mut moved: SmallVec<[Record<'_>; LOOKED_AT]> = SmallVec::new();
        for (at, record) in looked_at {
            if bytes > bytes_max {
                end = Cleaned::To(at);
                break;
            }
            if self.is_live(at, &record) && !self.drop_mark(at, &record)? {
                bytes += record.bytes().len();
                moved.push(record);
            }
        }
        batch.push_moved(moved.into_iter());
        Ok(end)
    }

    /// Whether a record is the newest with its ordinal: of its key, or the mark that the key is gone.
    pub(crate) fn is_live(&self, at: Position, record: &Record<'_>) -> bool {
        match record.kind() {
            Kind::Settings => self.control.log.settings.get() == at.0,
            _ => self.ordinal_head(record.ordinal()) == Some(at),
        }
    }

    /// Drops the mark of a removed key, where it is not needed any more.
    fn drop_mark(&self, at: Position, record: &Record<'_>) -> Result<bool> {
        let log = &self.control.log;
        if record.kind() != Kind::Remove || record.version() > log.drops.get() || self.is_unsaved_removal(record) {
            return Ok(false);
        }
        let is_it = |position: Position| Ok::<bool, Error>(position == at);
        let (growth, (_, table)) = (self.growth(), self.table()?);
        // In the next table first: it may have it from a step that was killed.
        if let Some(next) = growth.next()
            && let Found::At { slot, .. } = next.find(record.hash(), self.control.table.zeroed.get(), is_it)?
        {
            next.set(slot, VOID);
        }
        if let Found::At { slot, .. } = table.find(record.hash(), table.place.words(), is_it)? {
            table.set(slot, VOID);
        }
        order::clear(&self.order, record.ordinal());
        let bytes = record.bytes().len() as u64;
        log.marks.set(log.marks.get().saturating_sub(bytes));
        self.count_out(at, bytes, self.control.commit.newest())?;
        Ok(true)
    }

    /// Notes how far a committed transaction cleaned.
    #[inline]
    pub(crate) fn cleaned_to(&self, cleaned: Cleaned, sequence: u64) -> Result<()> {
        let log = &self.control.log;
        match cleaned {
            Cleaned::Nothing => Ok(()),
            Cleaned::To(at) => {
                log.victim_at.set(at.0);
                Ok(())
            }
            Cleaned::All => {
                let slot = self.slot(Segment(log.victim.get().saturating_sub(1)))?;
                // What is still counted was left by a kill.
                if slot.live.get() != 0 {
                    slot.retired.set(sequence);
                    slot.live.set(0);
                }
                log.victim.set(0);
                Ok(())
            }
        }
    }
}
