//! A transaction before it is in the log: its records, built privately, and where they will lie.

use super::record::{self, FRAME_BYTES, Kind, Record, Tally};
use crate::limits::SEGMENT_BYTES;
use crate::segment::heap::{Position, Segment};
use hashbrown::HashTable;
use smallvec::SmallVec;

/// Where a key's newest record was found before the mutex was taken: right if the same table's same slot still says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) table: u64,
    pub(crate) slot: u64,
    pub(crate) entry: u64,
}

/// What a record does to the claim on its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Claiming {
    /// A claim stays as it is.
    #[default]
    Keep,
    /// A new one, in this place of the table of claims.
    Take(u64),
    /// None any more.
    End,
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) offset: usize,
    pub(crate) length: usize,
    pub(crate) hash: u64,
    pub(crate) kind: Kind,
    /// Set: the key was removed earlier in the same batch and gets a new ordinal. Its removal stands just before it.
    pub(crate) afresh: bool,
    pub(crate) hint: Option<Hint>,
    // What follows is found out under the mutex.
    pub(crate) ordinal: u64,
    pub(crate) previous: Position,
    /// The key's slot of the current table, or the one that was free for it.
    pub(crate) slot: u64,
    /// Whether the slot is the key's already.
    pub(crate) has_slot: bool,
    /// Whether the key was absent before.
    pub(crate) is_new: bool,
    /// A new key that gets the ordinal given.
    pub(crate) is_placed: bool,
    /// The key must be absent.
    pub(crate) must_be_new: bool,
    /// Whether it is a copy of an older record, made to clean that one's segment.
    pub(crate) is_moved: bool,
    /// Whether it gives its key another ordinal, which is given before; of settings, whether places count from another one.
    pub(crate) is_renumbered: bool,
    /// The fingerprint of the store after the record.
    pub(crate) fingerprint: u64,
    /// In a tracker: the claim on the task, and what becomes of the counters.
    pub(crate) claiming: Claiming,
    pub(crate) tally: Tally,
    /// It turned out that the record is not to be written.
    pub(crate) is_left_out: bool,
    pub(crate) at: Position,
}

/// The records of one transaction, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<Pending>,
    /// Records of a segment in cleaning that are looked at with this one, if more than usual.
    pub(crate) looks: usize,
    /// Whether it goes on in another segment, whatever room there is in the one that the log ends in: that one is to be cleaned.
    pub(crate) leaves: bool,
    /// The record that could not be committed: its key had to be absent and was not, or its value has to be a task and is none.
    pub(crate) refused: Option<usize>,
    /// Whether its keys stand in files already, or in the store that it is a copy of: whatever they are, they are taken.
    pub(crate) is_copied: bool,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.looks = 0;
        self.leaves = false;
    }

    /// Appends a record; on an error of `write_value` the batch is as before.
    pub(crate) fn push<E>(
        &mut self,
        kind: Kind,
        hash: u64,
        key: &[u8],
        afresh: bool,
        write_value: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let offset = self.bytes.len();
        record::append(&mut self.bytes, kind, hash, key, write_value)?;
        let length = self.bytes.len() - offset;
        self.records.push(Pending {
            offset,
            length,
            hash,
            kind,
            afresh,
            hint: None,
            ordinal: 0,
            previous: Position::NONE,
            slot: 0,
            has_slot: false,
            is_new: false,
            is_moved: false,
            is_renumbered: false,
            is_placed: false,
            must_be_new: false,
            fingerprint: 0,
            claiming: Claiming::Keep,
            tally: Tally::default(),
            is_left_out: false,
            at: Position::NONE,
        });
        Ok(())
    }

    /// Says what becomes of a claim on the task that was appended last.
    pub(crate) fn claims(&mut self, claiming: Claiming) {
        if let Some(last) = self.records.last_mut() {
            last.claiming = claiming;
        }
    }

    /// Takes the last record out again.
    pub(crate) fn drop_last(&mut self) {
        if let Some(last) = self.records.pop() {
            self.bytes.truncate(last.offset);
        }
    }

    /// Puts copies of records of a segment that is cleaned before the others: they change nothing, and the last record of a
    /// transaction is one that does.
    pub(crate) fn push_moved<'a>(&mut self, moved: impl Iterator<Item = Record<'a>>) {
        let copies: SmallVec<[Pending; 4]> = moved
            .map(|record| {
                let offset = self.bytes.len();
                self.bytes.extend_from_slice(record.bytes());
                Pending {
                    offset,
                    length: record.bytes().len(),
                    hash: record.hash(),
                    kind: record.kind(),
                    afresh: false,
                    hint: None,
                    ordinal: record.ordinal(),
                    previous: record.previous(),
                    slot: 0,
                    has_slot: false,
                    is_new: false,
                    is_moved: true,
                    is_renumbered: record.is_renumbered(),
                    is_placed: false,
                    must_be_new: false,
                    fingerprint: 0,
                    claiming: Claiming::Keep,
                    tally: record.tally(),
                    is_left_out: false,
                    at: Position::NONE,
                }
            })
            .collect();
        self.records.splice(0..0, copies);
    }

    /// Takes the copies out again.
    pub(crate) fn forget_moved(&mut self) {
        self.records.retain(|pending| !pending.is_moved);
    }

    /// Whether more is there after it than before. Removals, settings and copies only make room.
    pub(crate) fn takes_room(&self) -> bool {
        self.records.iter().any(|pending| pending.kind == Kind::Set && !pending.is_moved)
    }

    /// Whether it is a step of a compaction, which moves records anyway.
    pub(crate) fn renumbers(&self) -> bool {
        self.records.first().is_some_and(|first| first.is_renumbered && first.kind == Kind::Set)
    }

    /// Appends a copy of a record that gives its key another ordinal.
    pub(crate) fn push_renumbered(&mut self, record: &Record<'_>, ordinal: u64) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(record.bytes());
        self.records.push(Pending {
            offset,
            length: record.bytes().len(),
            hash: record.hash(),
            kind: record.kind(),
            afresh: false,
            hint: None,
            ordinal,
            previous: Position::NONE,
            slot: 0,
            has_slot: false,
            is_new: false,
            is_placed: false,
            must_be_new: false,
            is_moved: false,
            is_renumbered: true,
            fingerprint: 0,
            claiming: Claiming::Keep,
            tally: Tally::default(),
            is_left_out: false,
            at: Position::NONE,
        });
    }

    /// The first record whose key an earlier one has.
    pub(crate) fn first_double(&self) -> Option<usize> {
        let mut seen: HashTable<usize> = HashTable::with_capacity(self.records.len());
        let key = |index: usize| Record::of(self.record(index)).map_or(&[][..], |record| record.key());
        (0..self.records.len()).find(|index| {
            let hash = self.records[*index].hash;
            let is_double = seen.find(hash, |other| self.records[*other].hash == hash && key(*other) == key(*index)).is_some();
            if !is_double {
                seen.insert_unique(hash, *index, |other| self.records[*other].hash);
            }
            is_double
        })
    }

    /// Leaves one record of each key: the last, in the place of the first; or only the first.
    pub(crate) fn keep_one_of_each_key(&mut self, first: bool) {
        let mut seen: HashTable<usize> = HashTable::with_capacity(self.records.len());
        let mut doubles = 0;
        for index in 0..self.records.len() {
            let hash = self.records[index].hash;
            let key = |index: usize| Record::of(self.record(index)).map_or(&[][..], |record| record.key());
            let earlier = seen.find(hash, |other| self.records[*other].hash == hash && key(*other) == key(index)).copied();
            match earlier {
                None => {
                    seen.insert_unique(hash, index, |other| self.records[*other].hash);
                }
                Some(other) => {
                    doubles += 1;
                    if !first {
                        let later = self.records[index];
                        (self.records[other].offset, self.records[other].length) = (later.offset, later.length);
                    }
                    self.records[index].is_left_out = true;
                }
            }
        }
        if doubles > 0 {
            self.records.retain(|pending| !pending.is_left_out);
        }
    }

    pub(crate) fn record(&self, index: usize) -> &[u8] {
        let pending = &self.records[index];
        &self.bytes[pending.offset..pending.offset + pending.length]
    }
}

/// A place in the log to append at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: Position,
    /// The run of segments that it stands in.
    pub(crate) segment: Segment,
    pub(crate) span: u64,
}

/// A segment that a cursor enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entered {
    /// Where the jump stands, and how many bytes it covers.
    pub(crate) from: Position,
    pub(crate) rest: u64,
    pub(crate) segment: Segment,
    pub(crate) span: u64,
    /// Records of the batch that stand before it.
    pub(crate) records: usize,
}

/// Room for the jump that every segment must be able to end with.
pub(crate) const JUMP_BYTES: u64 = FRAME_BYTES as u64;

impl Cursor {
    /// Whether `size` bytes fit behind it. A run of several segments holds one record and no other, whatever is left of its
    /// first segment: whether that one record is in use says whether the run is.
    #[inline]
    pub(crate) fn has_room(&self, size: u64) -> bool {
        self.span == 1 && size + JUMP_BYTES <= self.segment.end(1).bytes().saturating_sub(self.at.bytes())
    }

    /// Takes `size` bytes: where they lie, and the segment that had to be entered for them, which `take` finds, given
    /// its span. A record starts in the first segment of a run, where the slot that vouches for it is found from its
    /// position.
    #[inline]
    pub(crate) fn place<E>(&mut self, size: u64, take: impl FnOnce(u64) -> Result<Segment, E>) -> Result<(Option<Entered>, Position), E> {
        if self.has_room(size) {
            let at = self.at;
            self.at = at.plus(size);
            return Ok((None, at));
        }
        self.enter(size, take)
    }

    /// The same in a segment of its own.
    pub(crate) fn enter<E>(&mut self, size: u64, take: impl FnOnce(u64) -> Result<Segment, E>) -> Result<(Option<Entered>, Position), E> {
        let span = (Segment(0).first().bytes() + size + JUMP_BYTES).div_ceil(SEGMENT_BYTES);
        let segment = take(span)?;
        let entered = Entered { from: self.at, rest: self.segment.end(self.span).bytes() - self.at.bytes(), segment, span, records: 0 };
        let at = segment.first();
        *self = Cursor { at: at.plus(size), segment, span };
        Ok((Some(entered), at))
    }
}
