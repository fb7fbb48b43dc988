//! A record: one key with its value, or the mark that the key is gone. Written once, never changed.
//!
//! ```text
//! offset  bytes  field
//!      0      8  hash of the key, with the store's seed
//!      8      4  size of the record in units of 8 bytes
//!     12      1  kind
//!     13      1  bytes of padding at the end, 0 to 7
//!     14      2  bytes of the key
//!     16      4  checksum of bytes 64..end
//!     20      4  flags: 1 last of its transaction, 2 the key was absent before, 4 moved, 8 renumbered,       \
//!                16 placed; 8.. and 16.. the task that it is, and that the key's value was before; 21..32 how    |
//!                many transactions before its own was one on the disk, 0 where it does not tell                 |
//!     24      8  version: the number of the transaction that last changed the value                            |
//!     32      8  position of the record that this one replaces, 0 if none                                      | given under
//!     40      8  ordinal: the key's place in insertion order; of settings, the one from which places count      | the mutex
//!     48      8  fingerprint of the store after it: the sum of `fingerprint` of all keys present               |
//!     56      8  chain: checksum of bytes 0..56, continuing the chain of the record before, or the log's salt  /
//!     64      n  key, then the archived value, then padding
//! ```
//!
//! A placed record's key is new and does not get the next ordinal: it leaves a gap before it, of places whose keys were gone already
//! when the log began, or it gets back the place that it had before it was removed.
//!
//! A moved record is a copy of an older one, word for word but for flags, fingerprint and chain: it was still the newest of its
//! key when its segment was cleaned. A renumbered one is a new record with the old value and a higher ordinal.
//!
//! Fixed little-endian. A transaction is its records, one after the other; the last one says that it is. What else commits
//! with it (how many keys there are, the next ordinal) follows from its records and what was before, which every segment's
//! head tells (`header.rs`). Frames of other kinds share bytes 8..13.

use crate::segment::counters::Counters;
use crate::segment::heap::{Heap, Position};
use crate::sys::atomic::{Ordering, Word};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub(crate) const HEADER_BYTES: usize = 64;
/// The least that stands at every position: enough to read size and kind.
pub(crate) const FRAME_BYTES: usize = 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A key and its value.
    Set = 1,
    /// The key is gone.
    Remove = 2,
    /// The store's settings, an archived object; the key is empty.
    Settings = 3,
    /// The log goes on in another segment.
    Jump = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Set,
            2 => Kind::Remove,
            3 => Kind::Settings,
            4 => Kind::Jump,
            _ => return None,
        })
    }
}

/// Says that a record ends its transaction.
const LAST: u32 = 1;
/// Says that a record's key was absent before it.
const NEW: u32 = 2;
/// Says that a record is a copy of one that stood elsewhere.
const MOVED: u32 = 4;
/// Says that its key had another ordinal before.
const RENUMBERED: u32 = 8;
/// Where the flags tell how far what was on the disk lay behind.
const LAG_SHIFT: u32 = 21;
/// Says that a new key has another ordinal than the next.
const PLACED: u32 = 16;

/// The first bit of the task that a record is, and of the one that its key's value was before.
const AFTER: u32 = 8;
const BEFORE: u32 = 16;

/// How a task stands, for the counters and for whoever looks for tasks: bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing(pub(crate) u8);

impl Standing {
    pub(crate) const DONE: u8 = 1;
    /// Tried at least once.
    pub(crate) const TRIED: u8 = 2;
    pub(crate) const ABORTED: u8 = 4;
    /// Tried as often as it may be.
    pub(crate) const EXHAUSTED: u8 = 8;
    /// Somebody works on it.
    pub(crate) const CLAIMED: u8 = 16;
    const MASK: u32 = 31;

    #[inline(always)]
    pub(crate) fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// Not done, not aborted, and it may be tried.
    #[inline(always)]
    pub(crate) fn is_todo(self) -> bool {
        self.0 & (Standing::DONE | Standing::ABORTED | Standing::EXHAUSTED) == 0
    }

    #[inline(always)]
    fn is_failed(self) -> bool {
        !self.has(Standing::DONE | Standing::CLAIMED) && self.has(Standing::ABORTED | Standing::EXHAUSTED)
    }
}

/// What a record does to the counters of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) before: Standing,
    pub(crate) after: Standing,
}

impl Tally {
    #[inline]
    pub(crate) fn count(self, counters: &mut Counters) {
        if self.before == self.after {
            return;
        }
        let change = |counter: &mut u64, is: fn(Standing) -> bool| {
            *counter = counter.wrapping_add(u64::from(is(self.after))).wrapping_sub(u64::from(is(self.before)));
        };
        change(&mut counters.done, |standing| standing.has(Standing::DONE));
        change(&mut counters.tried, |standing| standing.has(Standing::TRIED));
        change(&mut counters.aborted, |standing| standing.has(Standing::ABORTED));
        change(&mut counters.failed, Standing::is_failed);
    }
}

/// Counters of tasks as settings carry them where they change what counts.
pub(crate) fn encode_counts(counters: &Counters) -> [u8; 24] {
    let mut bytes = [0; 24];
    for (piece, word) in bytes.chunks_exact_mut(8).zip([counters.done, counters.tried, counters.given_up()]) {
        piece.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// What a key that is present adds to the fingerprint of the store: a key that is lost, that comes back, or that has an old
/// value changes the sum.
#[inline]
pub(crate) fn fingerprint(hash: u64, version: u64) -> u64 {
    (hash ^ version.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_mul(0xd6e8_feb8_6659_fd93)
        .rotate_left(32)
        .wrapping_mul(0xff51_afd7_ed55_8ccd)
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Size in bytes and kind of the frame that starts with `bytes`, unless they are no frame.
#[inline]
pub(crate) fn frame(bytes: &[u8]) -> Option<(u64, Kind)> {
    let head: &[u8; FRAME_BYTES] = bytes.first_chunk()?;
    let size = u64::from(u32::from_le_bytes([head[8], head[9], head[10], head[11]])) * 8;
    let kind = Kind::from_byte(head[12])?;
    (size >= FRAME_BYTES as u64).then_some((size, kind))
}

/// A record in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at `position` of the log's first `ready` bytes. Only the bounds are checked here: the checksums
    /// were, by whoever wrote it or by the rebuild that published it.
    #[inline]
    pub(crate) fn at(heap: &'a Heap, position: Position, ready: u64) -> Option<Record<'a>> {
        let header = heap.sealed(position, HEADER_BYTES as u64, ready)?;
        let size = u64::from(u32::from_le_bytes([header[8], header[9], header[10], header[11]])) * 8;
        Record::of(heap.sealed(position, size, ready)?)
    }

    /// The record that fills `bytes`, if its parts fit.
    #[inline]
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Record<'a>> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let kind = header[12];
        let parts = HEADER_BYTES + usize::from(u16::from_le_bytes([header[14], header[15]])) + usize::from(header[13]);
        (matches!(kind, 1..=3) && header[13] < 8 && parts <= bytes.len()).then_some(Record { bytes })
    }

    #[inline(always)]
    fn header(&self) -> &'a [u8; HEADER_BYTES] {
        self.bytes.first_chunk().expect("checked when made")
    }

    #[inline(always)]
    pub(crate) fn hash(&self) -> u64 {
        word(self.header(), 0)
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::from_byte(self.header()[12]).expect("checked when made")
    }

    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        self.header()[12] == Kind::Set as u8
    }

    #[inline(always)]
    pub(crate) fn version(&self) -> u64 {
        word(self.header(), 24)
    }

    pub(crate) fn previous(&self) -> Position {
        Position(word(self.header(), 32))
    }

    #[inline(always)]
    pub(crate) fn ordinal(&self) -> u64 {
        word(self.header(), 40)
    }

    /// Whether it ends its transaction.
    #[inline(always)]
    pub(crate) fn is_last(&self) -> bool {
        self.flags() & LAST != 0
    }

    /// Whether its key was absent before.
    pub(crate) fn is_new(&self) -> bool {
        self.flags() & NEW != 0
    }

    /// Whether it is a copy of a record of an older transaction.
    #[inline(always)]
    pub(crate) fn is_moved(&self) -> bool {
        self.flags() & MOVED != 0
    }

    /// Whether its key had another, lower ordinal before.
    #[inline(always)]
    pub(crate) fn is_renumbered(&self) -> bool {
        self.flags() & RENUMBERED != 0
    }

    /// Whether its key is new and has another ordinal than the next.
    pub(crate) fn is_placed(&self) -> bool {
        self.flags() & PLACED != 0
    }

    #[inline(always)]
    fn flags(&self) -> u32 {
        u32::from_le_bytes(self.header()[20..24].try_into().expect("four bytes"))
    }

    /// A transaction that was on the disk, with all before it, when this one was written; 0 where it does not tell.
    pub(crate) fn durable(&self) -> u64 {
        match u64::from(self.flags() >> LAG_SHIFT) {
            0 => 0,
            lag => self.version().saturating_sub(lag),
        }
    }

    /// The fingerprint of the store after it.
    #[inline(always)]
    pub(crate) fn fingerprint(&self) -> u64 {
        word(self.header(), 48)
    }

    /// The checksum that the next record continues.
    #[inline(always)]
    pub(crate) fn chain(&self) -> u64 {
        word(self.header(), 56)
    }

    /// Whether it rightly continues the log after a record with this chain.
    pub(crate) fn continues(&self, chain: u64) -> bool {
        self.chain() == continued(chain, self.bytes)
    }

    /// The task that it is, in a tracker.
    #[inline(always)]
    pub(crate) fn standing(&self) -> Standing {
        Standing((self.flags() >> AFTER & Standing::MASK) as u8)
    }

    /// What it did to the counters of tasks.
    #[inline(always)]
    pub(crate) fn tally(&self) -> Tally {
        Tally { before: Standing((self.flags() >> BEFORE & Standing::MASK) as u8), after: self.standing() }
    }

    /// Settings that change what counts carry what all tasks add up to since.
    pub(crate) fn count_all(&self, counters: &mut Counters) {
        if self.key().len() == 24 {
            (counters.done, counters.tried) = (word(self.key(), 0), word(self.key(), 8));
            counters.set_given_up(word(self.key(), 16));
        }
    }

    /// Brings the counters up to date with what it did.
    pub(crate) fn count(&self, counters: &mut Counters) {
        if !self.is_moved() {
            self.tally().count(counters);
            if self.kind() == Kind::Settings && !self.is_renumbered() {
                self.count_all(counters);
            }
        }
        if self.is_new() {
            counters.length = counters.length.wrapping_add(1);
        }
        if self.is_set() && (self.is_new() || self.is_renumbered() && !self.is_moved()) {
            counters.next_ordinal = counters.next_ordinal.max(self.ordinal().wrapping_add(1));
        }
        if self.kind() == Kind::Remove && !self.is_moved() {
            counters.length = counters.length.wrapping_sub(1);
        }
        counters.chain = self.chain();
        if self.is_last() {
            counters.sequence = self.version();
        }
    }

    #[inline(always)]
    fn key_length(&self) -> usize {
        usize::from(u16::from_le_bytes([self.header()[14], self.header()[15]]))
    }

    /// The encoded key.
    #[inline(always)]
    pub(crate) fn key(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..HEADER_BYTES + self.key_length()]
    }

    /// The archived value; empty for a removal.
    #[inline(always)]
    pub(crate) fn value(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES + self.key_length()..self.bytes.len() - usize::from(self.header()[13])]
    }

    /// All bytes of the record.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the bytes are those that were written.
    pub(crate) fn is_intact(&self) -> bool {
        u32::from_le_bytes(self.header()[16..20].try_into().expect("four bytes")) == checksum(self.bytes)
    }
}

/// The head of a record as a reader copied it who does not keep its segment from being taken: nothing in it is sure
/// before the segment's number was looked at again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    hash: u64,
    /// Bytes 8..16.
    shape: u64,
    version: u64,
    previous: u64,
    ordinal: u64,
}

impl Head {
    #[inline(always)]
    pub(crate) fn copy(words: &[Word]) -> Option<Head> {
        let words: &[Word; HEADER_BYTES / 8] = words.first_chunk()?;
        let word = |index: usize| words[index].load(Ordering::Relaxed).to_le();
        Some(Head { hash: word(0), shape: word(1), version: word(3), previous: word(4), ordinal: word(5) })
    }

    #[inline(always)]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Bytes of the whole record.
    #[inline(always)]
    pub(crate) fn size(&self) -> u64 {
        (self.shape & 0xffff_ffff) * 8
    }

    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        (self.shape >> 32) as u8 == Kind::Set as u8
    }

    #[inline(always)]
    pub(crate) fn key_length(&self) -> usize {
        (self.shape >> 48) as usize
    }

    #[inline(always)]
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    #[inline(always)]
    pub(crate) fn previous(&self) -> Position {
        Position(self.previous)
    }

    #[inline(always)]
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }
}

/// Whether a key stands in these words, filled up with zeros or by what follows it.
#[inline]
pub(crate) fn is_key(words: &[Word], key: &[u8]) -> bool {
    let mut pieces = key.chunks_exact(8);
    let mut words = words.iter().map(|word| word.load(Ordering::Relaxed).to_le());
    let whole = pieces.by_ref().all(|piece| words.next() == Some(u64::from_le_bytes(piece.try_into().expect("eight bytes"))));
    let rest = pieces.remainder();
    if !whole || rest.is_empty() {
        return whole;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mask = (1 << (rest.len() * 8)) - 1;
    words.next().is_some_and(|word| word & mask == u64::from_le_bytes(last))
}

#[inline]
fn checksum(record: &[u8]) -> u32 {
    xxh3_64(&record[HEADER_BYTES..]) as u32
}

#[inline]
fn continued(chain: u64, record: &[u8]) -> u64 {
    xxh3_64_with_seed(&record[..56], chain)
}

/// The hash of an encoded key. Part of the file format: it never changes.
#[inline]
pub(crate) fn hash_of(key: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(key, seed)
}

/// Appends a record whose value `write_value` appends, all but what is given under the mutex.
pub(crate) fn append<E>(
    out: &mut Vec<u8>,
    kind: Kind,
    hash: u64,
    key: &[u8],
    write_value: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    out.extend_from_slice(key);
    if let Err(error) = write_value(out) {
        out.truncate(start);
        return Err(error);
    }
    finish(out, start, kind, hash, key);
    Ok(())
}

/// Pads the record that begins at `start`, and writes its header.
fn finish(out: &mut Vec<u8>, start: usize, kind: Kind, hash: u64, key: &[u8]) {
    let padding = (8 - (out.len() - start) % 8) % 8;
    out.resize(out.len() + padding, 0);
    let record = &mut out[start..];
    let units = u32::try_from(record.len() / 8).expect("VALUE_BYTES_MAX is below 32 GiB");
    record[0..8].copy_from_slice(&hash.to_le_bytes());
    record[8..12].copy_from_slice(&units.to_le_bytes());
    record[12] = kind as u8;
    record[13] = padding as u8;
    record[14..16].copy_from_slice(&u16::try_from(key.len()).expect("KEY_BYTES_MAX is below 64 KiB").to_le_bytes());
    let sum = checksum(record);
    record[16..20].copy_from_slice(&sum.to_le_bytes());
}

/// What a record is given under the mutex.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) version: u64,
    pub(crate) previous: Position,
    pub(crate) ordinal: u64,
    pub(crate) is_last: bool,
    pub(crate) is_new: bool,
    pub(crate) is_moved: bool,
    pub(crate) is_renumbered: bool,
    pub(crate) is_placed: bool,
    pub(crate) fingerprint: u64,
    pub(crate) tally: Tally,
    /// How many transactions before its own was one on the disk; 0 where it does not tell.
    pub(crate) lag: u64,
}

/// Fills in what is known only under the mutex; returns the chain, continued.
#[inline]
pub(crate) fn complete(record: &mut [u8], given: Given, chain: u64) -> u64 {
    let flags = if given.is_last { LAST } else { 0 }
        | if given.is_new { NEW } else { 0 }
        | if given.is_moved { MOVED } else { 0 }
        | if given.is_renumbered { RENUMBERED } else { 0 }
        | if given.is_placed { PLACED } else { 0 }
        | u32::from(given.tally.after.0) << AFTER
        | u32::from(given.tally.before.0) << BEFORE
        | if given.lag < 1 << (32 - LAG_SHIFT) { (given.lag as u32) << LAG_SHIFT } else { 0 };
    record[20..24].copy_from_slice(&flags.to_le_bytes());
    for (at, word) in [(24, given.version), (32, given.previous.0), (40, given.ordinal), (48, given.fingerprint)] {
        record[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    let chain = continued(chain, record);
    record[56..64].copy_from_slice(&chain.to_le_bytes());
    chain
}

/// A frame of `size` bytes, the rest of its segment, that says where the transaction goes on.
pub(crate) fn jump(size: u64, target: Position) -> [u8; FRAME_BYTES] {
    let mut bytes = [0; FRAME_BYTES];
    bytes[0..8].copy_from_slice(&target.0.to_le_bytes());
    bytes[8..12].copy_from_slice(&u32::try_from(size / 8).expect("a segment is smaller").to_le_bytes());
    bytes[12] = Kind::Jump as u8;
    bytes
}

/// Where a jump leads.
pub(crate) fn jump_target(bytes: &[u8]) -> Position {
    Position(word(bytes, 0))
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(8));
