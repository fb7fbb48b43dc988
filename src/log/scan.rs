//! The walk over a log's transactions, from the oldest segment to the first invalid transaction. Trusts nothing that it reads.

use super::header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::record::{self, FRAME_BYTES, HEADER_BYTES, Kind, Record};
use crate::limits::{GAP_MAX, SEGMENT_BYTES};
use crate::segment::counters::Counters;
use crate::segment::heap::{Heap, Position, Segment};

/// A checked transaction, or what is left of one: its records in order.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) records: Vec<(Position, Record<'a>)>,
    /// What was counted when it ended. Nothing where it ended in a segment that was taken anew since: later transactions
    /// show that it was committed.
    pub(crate) end: Option<Ended>,
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// Its last record.
    pub(crate) at: Position,
    pub(crate) counters: Counters,
    pub(crate) fingerprint: u64,
}

/// Why a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Where the next transaction would start.
    pub(crate) at: Position,
    /// What was wrong there. An unfinished transaction and unused space look the same.
    pub(crate) why: &'static str,
    /// A jump to where nothing is: a segment is entered before the jump to it is written.
    dead_end: Option<Position>,
}

/// Proof that more was committed than was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Later {
    pub(crate) at: Position,
    /// The transaction that it belongs to, where something of it is there.
    pub(crate) version: Option<u64>,
}

/// A place between two frames, and what is known there.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: Position,
    /// Index of its segment among those of the log.
    index: usize,
    /// What is counted up to the record before it.
    counters: Counters,
    fingerprint: u64,
    /// How much of the next one stands before it, and where that starts.
    records: u64,
    start: Position,
}

/// Reads transactions one after the other.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    heap: &'a Heap,
    ready: u64,
    /// By their orders.
    segments: Vec<(Segment, SegmentHeader)>,
    /// Behind the last transaction that was read.
    place: Place,
    /// Goes on with another segment behind what is torn.
    is_tolerant: bool,
    /// Which segments were read, and those that are torn, by their indices.
    is_read: Vec<bool>,
    torn: Vec<usize>,
    dead_end: Option<Position>,
}

/// What stands at a place of the log.
enum Step<'a> {
    Record(Record<'a>),
    Jump(Position),
}

impl<'a> Scan<'a> {
    /// Starts with the oldest segment of a log of which `ready` bytes exist. Of a segment that `has_head` denies nothing is looked at: it may
    /// be a hole, which is fatal to whoever looks where the file is in memory and that is full.
    pub(crate) fn new(heap: &'a Heap, ready: u64, salt: u64, has_head: impl Fn(Segment) -> bool) -> Scan<'a> {
        let mut segments = Vec::new();
        let mut segment = Segment(0);
        while heap.holds(segment.head(), SEGMENT_HEADER_BYTES as u64, ready) {
            let bytes = if has_head(segment) { heap.sealed(segment.head(), SEGMENT_HEADER_BYTES as u64, ready) } else { None };
            let header = bytes.and_then(|bytes| SegmentHeader::decode(bytes, salt));
            segments.extend(header.map(|header| (segment, header)));
            segment = Segment(segment.0 + header.map_or(1, |header| header.span));
        }
        segments.sort_by_key(|(_, header)| header.order);
        let nowhere =
            Place { at: Position::NONE, index: 0, counters: Counters::default(), fingerprint: 0, records: 0, start: Position::NONE };
        let place = segments.first().map_or(nowhere, |first| Place::entering(0, *first));
        let is_read = (0..segments.len()).map(|index| index == 0).collect();
        Scan { heap, ready, segments, place, is_tolerant: false, is_read, torn: Vec::new(), dead_end: None }
    }

    /// The same for a log that a power cut may have left: of a segment that was taken anew the old head may still be there
    /// and the old bytes not. What is read counts only once the keys that are found add up to what a transaction says.
    pub(crate) fn tolerant(heap: &'a Heap, ready: u64, salt: u64, has_head: impl Fn(Segment) -> bool) -> Scan<'a> {
        Scan { is_tolerant: true, ..Scan::new(heap, ready, salt, has_head) }
    }

    /// The next transaction, or why there is none.
    pub(crate) fn next(&mut self) -> Result<Transaction<'a>, End> {
        if self.segments.is_empty() {
            return Err(End { at: Segment(0).first(), why: "no segment has a head", dead_end: None });
        }
        // What is looked at beyond the last transaction is not of the log.
        let (mut read, mut torn) = (Vec::new(), Vec::new());
        let (transaction, place) = self.walk(self.place, &mut read, &mut torn).inspect_err(|end| self.dead_end = end.dead_end)?;
        self.place = place;
        self.torn.extend(torn);
        for index in read.into_iter().chain([place.index]) {
            self.is_read[index] = true;
        }
        Ok(transaction)
    }

    fn walk(&self, from: Place, read: &mut Vec<usize>, torn: &mut Vec<usize>) -> Result<(Transaction<'a>, Place), End> {
        let mut place = from;
        let mut records = Vec::new();
        loop {
            let mut dead_end = None;
            let entered = match self.step(&place) {
                Ok(Step::Record(record)) => {
                    let at = place.at;
                    records.push((at, record));
                    place = place.behind(&record, at);
                    if record.is_last() {
                        let end = Ended { at, counters: place.counters, fingerprint: place.fingerprint };
                        return Ok((Transaction { records, end: Some(end) }, place));
                    }
                    continue;
                }
                Ok(Step::Jump(target)) => {
                    dead_end = Some(place.at);
                    self.entered(&place, Some(target))
                }
                Err(why) if self.is_tolerant => {
                    let entered = self.entered(&place, None).map_err(|_| why);
                    if entered.is_ok() {
                        torn.push(place.index);
                    }
                    entered
                }
                Err(why) => Err(why),
            };
            let entered = entered.map_err(|why| End { at: from.at, why, dead_end })?;
            // Segments between were taken anew. What they held of this transaction is not needed any more.
            if entered.counters.sequence > place.counters.sequence && !records.is_empty() {
                return Ok((Transaction { records, end: None }, entered));
            }
            read.push(place.index);
            place = entered;
        }
    }

    /// What stands at a place, if it is intact and continues what stands before it.
    fn step(&self, place: &Place) -> Result<Step<'a>, &'static str> {
        let (segment, header) = self.segments[place.index];
        let head = self.heap.sealed(place.at, FRAME_BYTES as u64, self.ready).ok_or("the file ends")?;
        let (size, kind) = record::frame(head).ok_or("no frame starts here")?;
        if place.at.bytes() + size > segment.end(header.span).bytes() {
            return Err("a frame reaches beyond its segment");
        }
        if kind == Kind::Jump {
            return Ok(Step::Jump(record::jump_target(head)));
        }
        let record = self.heap.sealed(place.at, size, self.ready).and_then(Record::of).ok_or("a record's parts do not fit")?;
        if place.at.segment() != segment {
            return Err("a record starts behind its first segment");
        }
        if !record.is_intact() {
            return Err("the checksum of a record is wrong");
        }
        if !record.continues(place.counters.chain) {
            return Err("a record does not continue the one before it");
        }
        let this = place.counters.sequence.wrapping_add(1);
        if record.version() != this && !(record.is_moved() && !record.is_last() && record.version() < this) {
            return Err("a record belongs to another transaction");
        }
        let next = place.counters.next_ordinal;
        let is_next = record.ordinal() == next || record.is_placed() && record.ordinal() <= next.saturating_add(GAP_MAX);
        if record.is_new() && !is_next {
            return Err("a new key is not given the next ordinal");
        }
        let highest = place.counters.next_ordinal.saturating_add(place.counters.length);
        if record.is_renumbered() && record.kind() == Kind::Set && record.ordinal() > highest {
            return Err("a key is given an ordinal that is too high");
        }
        Ok(Step::Record(record))
    }

    /// The segment in which the log goes on behind a place: where a jump leads, or, where what stands there is torn, the next.
    fn entered(&self, place: &Place, target: Option<Position>) -> Result<Place, &'static str> {
        let order = self.segments[place.index].1.order;
        let mut outcome = Err("the log goes on in no segment");
        for (index, next) in self.segments.iter().enumerate().skip(place.index + 1) {
            let entered = Place::entering(index, *next);
            let (before, after) = (place.counters.sequence, entered.counters.sequence);
            outcome = match target {
                Some(target) if next.1.order == order.wrapping_add(1) => {
                    let goes_on = target == next.0.start() && place.is_continued_by(&entered);
                    if goes_on { Ok(entered) } else { Err("a segment does not go on where the one before it ends") }
                }
                _ if after < before || after == before && (entered.start != place.start || entered.records < place.records) => {
                    Err("a segment contradicts one before it")
                }
                _ => Ok(entered),
            };
            if outcome.is_ok() || !self.is_tolerant {
                return outcome;
            }
        }
        outcome
    }

    /// Whether what is missing was written once, so that the log was damaged rather than cut off: behind the place where the walk ended
    /// stands a segment that a later transaction entered, a record of a transaction later than the next, which begins only when that
    /// is committed, or a jump that leads nowhere. The newest of those.
    pub(crate) fn later(&self, seed: u64) -> Option<Later> {
        let ahead = self.segments.get(self.place.index..).unwrap_or_default();
        let newest = self.place.counters.sequence;
        let entered = ahead.iter().filter(|(_, header)| header.counters.sequence > newest);
        let entered = entered.map(|(segment, header)| Later { at: segment.head(), version: Some(header.counters.sequence) });
        let records = self.places_behind().filter_map(|(_, at)| {
            let record = Record::at(self.heap, at, self.ready)?;
            let is_later = record.version() > newest.saturating_add(1) && !record.is_moved();
            let is_later = is_later && record.hash() == record::hash_of(record.key(), seed) && record.is_intact();
            is_later.then(|| Later { at, version: Some(record.version()) })
        });
        let nowhere = self.dead_end.map(|at| Later { at, version: None });
        entered.chain(records).chain(nowhere).max_by_key(|later| later.version)
    }

    /// All places behind the one where the walk ended in which a record could start, each with its segment's index.
    fn places_behind(&self) -> impl Iterator<Item = (usize, Position)> {
        let ahead = self.segments.get(self.place.index..).unwrap_or_default();
        ahead.iter().enumerate().flat_map(move |(index, (segment, header))| {
            let start = if index == 0 { self.place.at } else { segment.first() };
            let end = segment.end(header.span).bytes().min(self.ready).min(self.heap.map().capacity());
            let places = (start.bytes()..end.saturating_sub(HEADER_BYTES as u64 - 1)).step_by(8);
            places.map(move |at| (self.place.index + index, Position::from_bytes(at)))
        })
    }

    /// What those that are proved to have been committed say to have been on the disk.
    fn later_ends(&self) -> impl Iterator<Item = u64> {
        self.places_behind().filter_map(|(index, at)| self.later_end(index, at))
    }

    /// Whether a transaction ends here that another one follows whose chain continues it: proof that it was committed in
    /// this log. Returns what the two say of the disk.
    fn later_end(&self, index: usize, at: Position) -> Option<u64> {
        let record = Record::at(self.heap, at, self.ready)?;
        if !record.is_last() || record.version() <= self.place.counters.sequence {
            return None;
        }
        let behind = Place { index, ..self.place }.behind(&record, at);
        let follower = Record::at(self.heap, behind.at, self.ready)?;
        let follows = follower.continues(record.chain()) && follower.version() == record.version().wrapping_add(1);
        follows.then(|| record.durable().max(follower.durable()))
    }

    /// The segments that have a head, by their orders.
    pub(crate) fn found(&self) -> &[(Segment, SegmentHeader)] {
        &self.segments
    }

    /// Segments behind a torn place of which reading went on elsewhere.
    pub(crate) fn torn(&self) -> impl Iterator<Item = Segment> {
        self.torn.iter().map(|index| self.segments[*index].0)
    }

    /// Whether anything of a segment was read.
    pub(crate) fn is_read(&self, segment: Segment) -> bool {
        self.segments.iter().zip(&self.is_read).any(|((other, _), is_read)| *other == segment && *is_read)
    }

    /// The segment in which the walk ended.
    pub(crate) fn last(&self) -> Option<(Segment, SegmentHeader)> {
        self.segments.get(self.place.index).copied()
    }

    /// Behind the last transaction that was read.
    pub(crate) fn at(&self) -> Position {
        self.place.at
    }

    /// The newest transaction that anything which stands behind the place where the walk ended, and was not read, says to have
    /// been on the disk.
    pub(crate) fn later_durable(&self) -> u64 {
        self.later_ends().max().unwrap_or(0)
    }

    /// Those behind the last transaction that was read.
    pub(crate) fn behind(&self) -> &[(Segment, SegmentHeader)] {
        self.segments.get(self.place.index + 1..).unwrap_or_default()
    }
}

impl Place {
    fn entering(index: usize, (segment, header): (Segment, SegmentHeader)) -> Place {
        let start = if header.start == Position::NONE { segment.first() } else { header.start };
        let SegmentHeader { counters, fingerprint, records, .. } = header;
        Place { at: segment.first(), index, counters, fingerprint, records, start }
    }

    fn is_continued_by(&self, next: &Place) -> bool {
        let known = |place: &Place| (place.counters, place.fingerprint, place.records, place.start);
        known(self) == known(next)
    }

    /// The place behind a record.
    fn behind(mut self, record: &Record<'_>, at: Position) -> Place {
        record.count(&mut self.counters);
        self.fingerprint = record.fingerprint();
        self.at = at.plus(record.bytes().len() as u64);
        self.records += 1;
        if record.is_last() {
            (self.records, self.start) = (0, self.at);
        }
        self
    }
}

/// The records of a transaction that was sealed in this boot, from its first frame to its last record, for the redo after
/// its writer's death. The seal vouches for the bytes, so only the bounds are checked.
pub(crate) fn records_of<'a>(heap: &'a Heap, ready: u64, start: Position, last: Position) -> Option<Vec<(Position, Record<'a>)>> {
    let mut at = start;
    let mut jumps = 0;
    let mut records = Vec::new();
    loop {
        let head = heap.sealed(at, FRAME_BYTES as u64, ready)?;
        let (size, kind) = record::frame(head)?;
        match kind {
            Kind::Jump => {
                let target = record::jump_target(head);
                jumps += 1;
                // Every segment that is entered gets a record.
                if jumps > records.len() + 1 || !target.bytes().is_multiple_of(SEGMENT_BYTES) || target.bytes() >= ready {
                    return None;
                }
                at = target.segment().first();
            }
            Kind::Set | Kind::Remove | Kind::Settings => {
                let record = Record::of(heap.sealed(at, size, ready)?)?;
                records.push((at, record));
                if record.is_last() {
                    return (at == last).then_some(records);
                }
                if records.len() as u64 > ready / HEADER_BYTES as u64 {
                    return None;
                }
                at = at.plus(size);
            }
        }
    }
}

/// Checks the records of one segment, up to its end or the sealed one, for whoever keeps it from being taken. Fails with the
/// place of one that is not as it was written.
pub(crate) fn require_intact(heap: &Heap, ready: u64, segment: (Segment, SegmentHeader), sealed: Position) -> Result<(), Position> {
    let mut place = Place::entering(0, segment);
    loop {
        let frame = heap.sealed(place.at, FRAME_BYTES as u64, ready).and_then(record::frame).ok_or(place.at)?;
        if frame.1 == Kind::Jump {
            return Ok(());
        }
        let record = Record::at(heap, place.at, ready).filter(|record| record.is_intact() && record.continues(place.counters.chain));
        let (record, at) = (record.ok_or(place.at)?, place.at);
        if at == sealed {
            return Ok(());
        }
        place = place.behind(&record, at);
    }
}
