//! The walk over a log's transactions, from the first to the first invalid one. Trusts nothing that it reads.

use super::footer::{FOOTER_BYTES, Footer};
use super::header::{LOG_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::record::{self, FRAME_BYTES, Kind, Record};
use crate::limits::SEGMENT_BYTES;
use crate::segment::heap::{Heap, Position};

/// A checked transaction: its records in order, and its footer.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) records: Vec<(Position, Record<'a>)>,
    pub(crate) footer: Footer,
    pub(crate) footer_at: Position,
}

/// Why a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Where the next transaction would start.
    pub(crate) at: Position,
    /// What was wrong there. An unfinished transaction and unused space look the same.
    pub(crate) why: &'static str,
}

/// Reads transactions one after the other.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    heap: &'a Heap,
    ready: u64,
    salt: u64,
    at: Position,
    segment_end: Position,
    sequence: u64,
    chain: u64,
}

impl<'a> Scan<'a> {
    /// Starts behind the head of a log of which `ready` bytes exist.
    pub(crate) fn new(heap: &'a Heap, ready: u64, salt: u64) -> Scan<'a> {
        Scan {
            heap,
            ready,
            salt,
            at: Position::from_bytes(LOG_HEADER_BYTES),
            segment_end: Position::from_bytes(SEGMENT_BYTES),
            sequence: 0,
            chain: salt,
        }
    }

    /// The next transaction, or why there is none.
    pub(crate) fn next(&mut self) -> Result<Transaction<'a>, End> {
        let start = self.at;
        let fail = |why| Err(End { at: start, why });
        let (mut at, mut segment_end, mut chain) = (self.at, self.segment_end, self.chain);
        let mut records = Vec::new();
        loop {
            let Some(head) = self.heap.sealed(at, FRAME_BYTES as u64, self.ready) else { return fail("the file ends") };
            let Some((size, kind)) = record::frame(head) else { return fail("no frame starts here") };
            if at.bytes() + size > segment_end.bytes() {
                return fail("a frame reaches beyond its segment");
            }
            match kind {
                Kind::Jump => {
                    let target = record::jump_target(head);
                    if !target.bytes().is_multiple_of(SEGMENT_BYTES) || target.bytes() <= at.bytes() {
                        return fail("a jump leads to no segment behind it");
                    }
                    let Some(header) = self
                        .heap
                        .sealed(target, SEGMENT_HEADER_BYTES as u64, self.ready)
                        .and_then(|bytes| SegmentHeader::decode(bytes, self.salt))
                    else {
                        return fail("a segment's head is damaged");
                    };
                    segment_end = target.plus(header.span * SEGMENT_BYTES);
                    at = target.plus(SEGMENT_HEADER_BYTES as u64);
                }
                Kind::Footer => {
                    let Some(bytes) = self.heap.sealed(at, FOOTER_BYTES as u64, self.ready) else {
                        return fail("the file ends in a footer");
                    };
                    let Some(footer) = Footer::decode(bytes) else { return fail("a footer has another form") };
                    let expected = (start, self.sequence + 1, records.len() as u64, segment_end);
                    if (footer.start, footer.counters.sequence, u64::from(footer.records), footer.segment_end) != expected {
                        return fail("a footer belongs to another transaction");
                    }
                    if !Footer::is_intact(bytes, chain) {
                        return fail("the checksum of a transaction is wrong");
                    }
                    let footer_at = at;
                    (self.at, self.segment_end, self.sequence, self.chain) =
                        (at.plus(FOOTER_BYTES as u64), footer.segment_end, footer.counters.sequence, footer.counters.chain);
                    return Ok(Transaction { records, footer, footer_at });
                }
                Kind::Set | Kind::Remove | Kind::Settings => {
                    let Some(record) = self.heap.sealed(at, size, self.ready).and_then(Record::of) else {
                        return fail("a record's parts do not fit");
                    };
                    if !record.is_intact() {
                        return fail("the checksum of a record is wrong");
                    }
                    chain = record::chain(chain, record.bytes());
                    records.push((at, record));
                    at = at.plus(size);
                }
            }
        }
    }

    /// Whether a whole later transaction of this log stands anywhere behind the place where the walk ended: then what
    /// is missing was written once, and the log was damaged rather than cut off.
    pub(crate) fn finds_later_transaction(&self) -> Option<Position> {
        let mut at = self.at.bytes();
        let end = self.ready.min(self.heap.map().capacity());
        while at + FOOTER_BYTES as u64 <= end {
            let position = Position::from_bytes(at);
            let footer = self.heap.sealed(position, FOOTER_BYTES as u64, self.ready).and_then(Footer::decode);
            if let Some(footer) = footer
                && footer.counters.sequence > self.sequence
                && self.is_linked(position, &footer)
            {
                return Some(position);
            }
            at += 8;
        }
        None
    }

    /// Whether a footer is followed by a transaction whose chain continues it: proof that it was committed in this log.
    fn is_linked(&self, at: Position, footer: &Footer) -> bool {
        let mut follower = Scan {
            heap: self.heap,
            ready: self.ready,
            salt: self.salt,
            at: at.plus(FOOTER_BYTES as u64),
            segment_end: footer.segment_end,
            sequence: footer.counters.sequence,
            chain: footer.counters.chain,
        };
        follower.next().is_ok()
    }
}

/// The records of a transaction that was sealed in this boot, for the redo after its writer's death. The seal vouches
/// for the bytes, so only the bounds are checked.
pub(crate) fn records_of<'a>(heap: &'a Heap, ready: u64, footer: &Footer) -> Option<Vec<(Position, Record<'a>)>> {
    let mut at = footer.start;
    let mut records = Vec::with_capacity((footer.records as usize).min(1 << 16));
    while records.len() < footer.records as usize {
        let head = heap.sealed(at, FRAME_BYTES as u64, ready)?;
        let (size, kind) = record::frame(head)?;
        match kind {
            Kind::Jump => {
                let target = record::jump_target(head);
                if target <= at || target.bytes() >= ready {
                    return None;
                }
                at = target.plus(SEGMENT_HEADER_BYTES as u64);
            }
            Kind::Footer => return None,
            Kind::Set | Kind::Remove | Kind::Settings => {
                records.push((at, Record::of(heap.sealed(at, size, ready)?)?));
                at = at.plus(size);
            }
        }
    }
    Some(records)
}
