//! Recovery of a log that another boot wrote last, of a copy, or of one with damaged places: each of its pages may be there, be an
//! older one, or be torn.
//!
//! The log is replayed as far as anything of it can be read, and at each transaction's end the keys that were found are compared
//! with what it says: their count, and the sum over them and their versions. Where both agree, the state is the one that this transaction
//! left, whatever could not be read. So the log is cut:
//!
//! | what a pass found                                             | then                                              |
//! |---------------------------------------------------------------|---------------------------------------------------|
//! | the last transaction does not agree                           | again, up to the last that does; without any: damage |
//! | it does, and a torn segment holds something live              | again, up to the last that did when it was met: never past a gap |
//! | it does, and something says that a later one was on the disk  | damage: what was acknowledged is missing         |
//! | it does, later ones stand behind, and nothing explains why (`loss.rs`) | damage, unless whoever opens gives them up |
//! | it does                                                       | the rest is put aside, zeroed, and flushed        |
//!
//! A torn segment without anything live is one that was taken anew, whose old head is on the disk, but not its old bytes.

use crate::error::{Error, Result};
use crate::log::batch::Claiming;
use crate::log::header::SegmentHeader;
use crate::log::record::{self, Kind, Record};
use crate::log::scan::{Ended, Later, Scan};
use crate::segment::heap::{Position, Segment};
use crate::store::core::shared::{Loss, Mode, Shared};
use crate::store::write::publishing::By;
use crate::sys::file;

/// What one pass over the log found.
struct Pass {
    last: Option<Ended>,
    /// The last transaction that agrees with the keys that were found; 0 for the state before all of them.
    agreed: Option<u64>,
    /// Whether the state that was found is the one of `agreed`.
    is_agreed: bool,
    /// The torn segments, and what agreed when each was met.
    torn: Vec<(Segment, Option<u64>)>,
    /// The newest transaction that anything which was read says to have been on the disk.
    durable: u64,
}

/// The keys that are there: how many, and the sum of their fingerprints.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Found {
    length: u64,
    sum: u64,
}

impl Found {
    fn of(record: Option<&Record<'_>>) -> Found {
        match record.filter(|record| record.is_set()) {
            Some(record) => Found { length: 1, sum: record::fingerprint(record.hash(), record.version()) },
            None => Found::default(),
        }
    }

    fn replace(&mut self, before: Found, after: Found) {
        self.length = self.length.wrapping_sub(before.length).wrapping_add(after.length);
        self.sum = self.sum.wrapping_sub(before.sum).wrapping_add(after.sum);
    }
}

impl Shared {
    /// Replays the longest prefix that is whole, up to the seal where that is known. The caller is alone. On an error the log is as it
    /// was.
    pub(super) fn recover(&self, readable: u64, size: u64, sealed: Option<Position>) -> Result<Option<Ended>> {
        let mut limit = u64::MAX;
        loop {
            self.reset(readable)?;
            let mut scan = Scan::tolerant(&self.heap, readable, self.header.salt, |segment| self.has_head(segment));
            for (segment, header) in scan.found() {
                self.count_segment(*segment, header)?;
            }
            let pass = self.replay_up_to(&mut scan, limit)?;
            let mut cut = (!pass.is_agreed).then_some(pass.agreed);
            // The first of those that count.
            for (segment, agreed) in pass.torn.iter().rev() {
                if pass.is_agreed && self.slot(*segment)?.live.get() != 0 {
                    cut = Some(*agreed);
                }
            }
            match cut {
                None => {
                    let later = if sealed.is_some() { None } else { scan.later(self.header.seed) };
                    self.require_all(&scan, &pass, sealed, later)?;
                    self.require_whole(pass.last, scan.at())?;
                    // What is salvaged may be known to have gone on.
                    let is_cut = later.is_some() || sealed.is_none() && self.control.log.sealed.get() != 0;
                    self.settle(&scan, pass.last, size, is_cut)?;
                    if self.mode == Mode::Writer {
                        self.count_free(pass.last, readable)?;
                    }
                    return Ok(pass.last);
                }
                Some(Some(agreed)) if agreed < limit => limit = agreed,
                Some(_) => {
                    return Err(self.damaged(scan.at(), "the records that are left are not those that its last transaction left"));
                }
            }
        }
    }

    /// The newest transaction that anything in the log says to have been on the disk, of a log that could not be recovered.
    pub(crate) fn claimed_durable(&self) -> u64 {
        let size = file::stamp(&self.files.log).map_or(0, |stamp| stamp.size);
        let mut scan =
            Scan::tolerant(&self.heap, size.min(self.heap.map().capacity()) / 8 * 8, self.header.salt, |segment| self.has_head(segment));
        let mut durable = scan.found().iter().map(|(_, header)| header.durable).max().unwrap_or(0);
        while let Ok(transaction) = scan.next() {
            durable = transaction.records.iter().map(|(_, record)| record.durable()).fold(durable, u64::max);
        }
        durable.max(scan.later_durable())
    }

    fn replay_up_to(&self, scan: &mut Scan<'_>, limit: u64) -> Result<Pass> {
        let durable = scan.found().iter().map(|(_, header)| header.durable).max().unwrap_or(0);
        let mut pass = Pass { last: None, agreed: Some(0), is_agreed: true, torn: Vec::new(), durable };
        let mut found = Found::default();
        while pass.last.map_or(0, |last| last.counters.sequence) < limit
            && let Ok(transaction) = scan.next()
        {
            let known = pass.torn.len();
            pass.torn.extend(scan.torn().skip(known).map(|segment| (segment, pass.agreed)));
            self.replay(&transaction, |position, record| self.replay_counted(position, record, &mut found))?;
            pass.durable = transaction.records.iter().map(|(_, record)| record.durable()).fold(pass.durable, u64::max);
            pass.is_agreed = false;
            if let Some(end) = transaction.end {
                pass.last = Some(end);
                self.control.commit.publish(&end.counters);
                pass.is_agreed = found == Found { length: end.counters.length, sum: end.fingerprint };
                if pass.is_agreed {
                    pass.agreed = Some(end.counters.sequence);
                }
            }
            if pass.agreed == Some(0) {
                // A log that does not begin with its first transaction never held nothing.
                pass.agreed = None;
            }
        }
        Ok(pass)
    }

    /// Publishes a record, and keeps count of the keys that are there.
    fn replay_counted(&self, position: Position, record: &Record<'_>, found: &mut Found) -> Result<()> {
        let newest = || Ok::<Found, Error>(Found::of(self.published(record.hash(), record.key())?.map(|(_, record)| record).as_ref()));
        let is_key = record.kind() != Kind::Settings;
        let before = if is_key { newest()? } else { Found::default() };
        self.publish(position, record, By::Rebuild, Claiming::Keep)?;
        if is_key {
            found.replace(before, if record.is_moved() { newest()? } else { Found::of(Some(record)) });
        }
        Ok(())
    }

    /// Fails where more is missing than may be.
    fn require_all(&self, scan: &Scan<'_>, pass: &Pass, sealed: Option<Position>, later: Option<Later>) -> Result<()> {
        let newest = pass.last.map_or(0, |last| last.counters.sequence);
        if sealed.is_some_and(|sealed| pass.last.is_none_or(|last| last.at != sealed)) {
            return Err(self.damaged(scan.at(), "the log does not reach its last transaction"));
        }
        if self.loss == Loss::Anything {
            return Ok(());
        }
        let durable = pass.durable.max(scan.later_durable());
        if durable > newest {
            let what = format!("transactions up to {durable} were on the disk once, and {newest} is the last one that is whole");
            return Err(self.damaged(scan.at(), &what));
        }
        match later {
            Some(later) if self.loss == Loss::Nothing => Err(self.behind_damage(scan.at(), newest, later)),
            _ => Ok(()),
        }
    }

    #[cold]
    fn behind_damage(&self, at: Position, newest: u64, later: Later) -> Error {
        let place = later.at.bytes();
        let later = match later.version {
            Some(version) => format!("transactions up to {version} or later stand behind it (byte {place})"),
            None => format!("what the log goes on with at byte {place} is not there"),
        };
        let what = format!(
            "transaction {newest} is the last one before a place that cannot be read, and {later}, which is let go only on request (`tastypod \
             repair`, or Options::salvage)"
        );
        self.damaged(at, &what)
    }

    /// Puts what stands behind the prefix aside and takes it out of the log, for good.
    fn settle(&self, scan: &Scan<'_>, last: Option<Ended>, size: u64, is_cut: bool) -> Result<()> {
        if self.mode != Mode::Writer {
            return Ok(());
        }
        if is_cut {
            self.put_aside(size)?;
        }
        if last.is_none() {
            self.require_unused(scan.at(), size, "no transaction is whole")?;
        }
        let segments = self.control.log.segments.get();
        let torn: Vec<Segment> = scan.torn().collect();
        let unneeded = |(segment, _): &&(Segment, SegmentHeader)| torn.contains(segment) || !scan.is_read(*segment);
        let unneeded: Vec<(Segment, SegmentHeader)> = scan.found().iter().filter(unneeded).copied().collect();
        for (segment, header) in &unneeded {
            let span = header.span.min(segments.saturating_sub(segment.0));
            for part in 0..span {
                self.wipe(Segment(segment.0 + part))?;
            }
            if is_cut {
                self.empty(segment.first(), segment.end(span));
            }
        }
        if let Some((segment, header)) = scan.last().filter(|_| is_cut) {
            self.empty(scan.at(), segment.end(header.span));
        }
        let flush = &self.control.flush;
        let is_durable = self.settings()?.is_some_and(|settings| settings.is_durable);
        if is_durable || is_cut || !unneeded.is_empty() {
            self.flush_through(&self.log_opened_again()?)?;
        }
        if is_durable {
            flush.asked.set(1);
            if let Some(last) = last {
                flush.order.set(self.slot(last.at.segment())?.order.get());
                flush.horizon.set(last.counters.sequence);
            }
        }
        Ok(())
    }

    /// Zeroes a piece of the log that is allocated again before it is written: what is dropped is not to be found later as proof of what was
    /// lost then. Where the file system can, without needing blocks that it may lack.
    fn empty(&self, from: Position, to: Position) {
        let length = to.bytes().min(self.control.ready.log.get()).saturating_sub(from.bytes());
        if length > 0 && !file::punch(&self.files.log, from.bytes(), length) {
            self.heap.write(from, &vec![0; length as usize]);
        }
    }
}
