//! The walk over a log's transactions, from the oldest segment to the first invalid transaction. Trusts nothing that it reads.

use super::header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::record::{self, FRAME_BYTES, HEADER_BYTES, Kind, Record};
use crate::limits::SEGMENT_BYTES;
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
}

impl<'a> Scan<'a> {
    /// Starts with the oldest segment of a log of which `ready` bytes exist.
    pub(crate) fn new(heap: &'a Heap, ready: u64, salt: u64) -> Scan<'a> {
        let mut segments = Vec::new();
        let mut segment = Segment(0);
        while let Some(bytes) = heap.sealed(segment.head(), SEGMENT_HEADER_BYTES as u64, ready) {
            let header = SegmentHeader::decode(bytes, salt);
            segments.extend(header.map(|header| (segment, header)));
            segment = Segment(segment.0 + header.map_or(1, |header| header.span));
        }
        segments.sort_by_key(|(_, header)| header.order);
        let nowhere =
            Place { at: Position::NONE, index: 0, counters: Counters::default(), fingerprint: 0, records: 0, start: Position::NONE };
        let place = segments.first().map_or(nowhere, |first| Place::entering(0, *first));
        Scan { heap, ready, segments, place }
    }

    /// The next transaction, or why there is none.
    pub(crate) fn next(&mut self) -> Result<Transaction<'a>, End> {
        if self.segments.is_empty() {
            return Err(End { at: Segment(0).first(), why: "no segment has a head" });
        }
        let (transaction, place) = self.walk(self.place)?;
        self.place = place;
        Ok(transaction)
    }

    fn walk(&self, from: Place) -> Result<(Transaction<'a>, Place), End> {
        let fail = |why| Err(End { at: from.at, why });
        let mut place = from;
        let mut records = Vec::new();
        loop {
            let (segment, header) = self.segments[place.index];
            let Some(head) = self.heap.sealed(place.at, FRAME_BYTES as u64, self.ready) else { return fail("the file ends") };
            let Some((size, kind)) = record::frame(head) else { return fail("no frame starts here") };
            if place.at.bytes() + size > segment.end(header.span).bytes() {
                return fail("a frame reaches beyond its segment");
            }
            match kind {
                Kind::Jump => {
                    let Some(next) = self.segments.get(place.index + 1) else { return fail("the log goes on in no segment") };
                    let entered = Place::entering(place.index + 1, *next);
                    if next.1.order == header.order + 1 {
                        if record::jump_target(head) != next.0.start() || !place.is_continued_by(&entered) {
                            return fail("a segment does not go on where the one before it ends");
                        }
                    } else if entered.counters.sequence > place.counters.sequence {
                        // Segments between were taken anew. What they held of this transaction is not needed any more.
                        if !records.is_empty() {
                            return Ok((Transaction { records, end: None }, entered));
                        }
                    } else if entered.counters.sequence < place.counters.sequence
                        || entered.start != place.start
                        || entered.records < place.records
                    {
                        return fail("a segment contradicts one before it");
                    }
                    place = entered;
                }
                Kind::Set | Kind::Remove | Kind::Settings => {
                    let Some(record) = self.heap.sealed(place.at, size, self.ready).and_then(Record::of) else {
                        return fail("a record's parts do not fit");
                    };
                    if place.at.segment() != segment {
                        return fail("a record starts behind its first segment");
                    }
                    if !record.is_intact() {
                        return fail("the checksum of a record is wrong");
                    }
                    if !record.continues(place.counters.chain) {
                        return fail("a record does not continue the one before it");
                    }
                    let this = place.counters.sequence.wrapping_add(1);
                    if record.version() != this && !(record.is_moved() && !record.is_last() && record.version() < this) {
                        return fail("a record belongs to another transaction");
                    }
                    records.push((place.at, record));
                    let at = place.at;
                    place = place.behind(&record, at);
                    if record.is_last() {
                        let end = Ended { at, counters: place.counters, fingerprint: place.fingerprint };
                        return Ok((Transaction { records, end: Some(end) }, place));
                    }
                }
            }
        }
    }

    /// Whether what is missing was written once, so that the log was damaged rather than cut off: a segment that a later
    /// transaction entered, or a whole later transaction, stands behind the place where the walk ended.
    pub(crate) fn finds_later_transaction(&self) -> Option<Position> {
        let ahead = self.segments.get(self.place.index..).unwrap_or_default();
        if let Some((segment, _)) = ahead.iter().find(|(_, header)| header.counters.sequence > self.place.counters.sequence) {
            return Some(segment.head());
        }
        ahead.iter().enumerate().find_map(|(index, (segment, header))| {
            let start = if index == 0 { self.place.at } else { segment.first() };
            let end = segment.end(header.span).bytes().min(self.ready).min(self.heap.map().capacity());
            let places = (start.bytes()..end.saturating_sub(HEADER_BYTES as u64 - 1)).step_by(8);
            places.map(Position::from_bytes).find(|at| self.is_later_end(self.place.index + index, *at))
        })
    }

    /// Whether a transaction ends here that another one follows whose chain continues it: proof that it was committed in
    /// this log.
    fn is_later_end(&self, index: usize, at: Position) -> bool {
        let Some(record) = Record::at(self.heap, at, self.ready) else { return false };
        if !record.is_last() || record.version() <= self.place.counters.sequence {
            return false;
        }
        let behind = Place { index, ..self.place }.behind(&record, at);
        let follower = Record::at(self.heap, behind.at, self.ready);
        follower.is_some_and(|follower| follower.continues(record.chain()) && follower.version() == record.version().wrapping_add(1))
    }

    /// The segments that have a head, by their orders.
    pub(crate) fn found(&self) -> &[(Segment, SegmentHeader)] {
        &self.segments
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
