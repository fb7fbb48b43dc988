//! The heads of the log file and of its segments.
//!
//! The file is a row of segments of 4 MiB. The first starts with the file's head:
//!
//! ```text
//! offset  bytes  field
//!      0      8  "tastyLOG"
//!      8      8  format version
//!     16      8  bytes of a segment
//!     24     16  identity of the store, random
//!     40      8  seed of the key hashes, random
//!     48      8  salt of the checksum chain, random
//!     56      8  time of creation, nanoseconds since 1970
//!     64      8  checkpoint that the log was loaded from, 0 if it began empty
//!     72      8  the last transaction of that loading
//!     80      8  checksum of bytes 0..80
//! ```
//!
//! padded to 4096 bytes. Every segment starts with a head, the first behind that of the file:
//!
//! ```text
//!      0      8  "tastySEG"
//!      8      8  number of segments in this run: more than one for a record that fits in none
//!     16      8  order: one more than that of the segment that the log left for it
//!     24      8  number of the last transaction that ended before it
//!     32      8  chain of the last record before it (`record.rs`); the salt in the first segment of a new log
//!     40      8  records before it of the transaction that goes on in it
//!     48      8  position of that transaction's first frame; 0 in the first segment of a new log
//!     56      8  keys present after the last record before it
//!     64      8  next ordinal
//!     72      8  dirty keys
//!     80      8  tasks done
//!     88      8  tasks tried
//!     96      4  tasks aborted
//!    100      4  tasks failed
//!    104      8  fingerprint after the last record before it
//!    112      8  number of a transaction that was on the disk, with all before it, when it was written; 0 where nobody asked
//!    120      8  checksum of bytes 0..120, continuing the salt
//! ```
//!
//! A segment of which nothing is needed any more is taken anew: its magic is wiped, then the log enters
//! it with a new order. So the log is the segments with a head, by their orders, and where an order is missing the next
//! head tells how to go on. A segment's bytes behind the last transaction mean nothing.

use super::record::word;
use crate::limits::SEGMENT_BYTES;
use crate::segment::counters::Counters;
use crate::segment::heap::Position;
pub(crate) use crate::segment::heap::{LOG_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Changes with every change of a byte in this folder's formats, and of archived values.
pub(crate) const FORMAT: u64 = 2;
const LOG_MAGIC: &[u8; 8] = b"tastyLOG";
const SEGMENT_MAGIC: &[u8; 8] = b"tastySEG";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogHeader {
    pub(crate) store: [u64; 2],
    pub(crate) seed: u64,
    pub(crate) salt: u64,
    pub(crate) created_nanoseconds: u64,
    /// The checkpoint that it was loaded from and the last transaction of that.
    pub(crate) loaded: [u64; 2],
}

/// Why bytes are not the head of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotALog {
    /// They are something else, or damaged: what, and at which byte.
    Damaged(&'static str, u64),
    /// Another version wrote them.
    Version(u64),
}

impl LogHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; LOG_HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(LOG_MAGIC);
        let [checkpoint, sequence] = self.loaded;
        let words =
            [FORMAT, SEGMENT_BYTES, self.store[0], self.store[1], self.seed, self.salt, self.created_nanoseconds, checkpoint, sequence];
        for (index, value) in words.into_iter().enumerate() {
            bytes[8 + index * 8..16 + index * 8].copy_from_slice(&value.to_le_bytes());
        }
        let sum = xxh3_64(&bytes[..80]);
        bytes[80..88].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<LogHeader, NotALog> {
        if bytes.len() < LOG_HEADER_BYTES as usize {
            return Err(NotALog::Damaged("the file is too short for the head of a log", bytes.len() as u64));
        }
        if &bytes[..8] != LOG_MAGIC {
            return Err(NotALog::Damaged("the file does not start like a log", 0));
        }
        // The version comes first: another version may have another head.
        if word(bytes, 8) != FORMAT {
            return Err(NotALog::Version(word(bytes, 8)));
        }
        if word(bytes, 80) != xxh3_64(&bytes[..80]) {
            return Err(NotALog::Damaged("the checksum of the log's head is wrong", 80));
        }
        if word(bytes, 16) != SEGMENT_BYTES {
            return Err(NotALog::Damaged("the log has another segment size", 16));
        }
        Ok(LogHeader {
            store: [word(bytes, 24), word(bytes, 32)],
            seed: word(bytes, 40),
            salt: word(bytes, 48),
            created_nanoseconds: word(bytes, 56),
            loaded: [word(bytes, 64), word(bytes, 72)],
        })
    }
}

/// The head of a segment, or of a run of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) span: u64,
    pub(crate) order: u64,
    /// What was counted up to the last record before it; the number and chain too.
    pub(crate) counters: Counters,
    pub(crate) fingerprint: u64,
    /// How much of the next transaction stands before it, and where that starts.
    pub(crate) records: u64,
    pub(crate) start: Position,
    /// A transaction that was on the disk, with all before it, when this was written.
    pub(crate) durable: u64,
}

impl SegmentHeader {
    /// The head of a new log's first segment.
    pub(crate) fn first(salt: u64) -> SegmentHeader {
        let counters = Counters { chain: salt, ..Counters::default() };
        SegmentHeader { span: 1, order: 1, counters, fingerprint: 0, records: 0, start: Position::NONE, durable: 0 }
    }

    pub(crate) fn encode(&self, salt: u64) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        let Counters { sequence, length, next_ordinal, dirty, done, tried, chain, .. } = self.counters;
        let counted = [length, next_ordinal, dirty, done, tried, self.counters.given_up(), self.fingerprint, self.durable];
        let words = [self.span, self.order, sequence, chain, self.records, self.start.0].into_iter().chain(counted);
        for (index, value) in words.enumerate() {
            bytes[8 + index * 8..16 + index * 8].copy_from_slice(&value.to_le_bytes());
        }
        let sum = xxh3_64_with_seed(&bytes[..120], salt);
        bytes[120..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<SegmentHeader> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES] = bytes.first_chunk()?;
        let mut counters = Counters {
            sequence: word(bytes, 24),
            chain: word(bytes, 32),
            length: word(bytes, 56),
            next_ordinal: word(bytes, 64),
            dirty: word(bytes, 72),
            done: word(bytes, 80),
            tried: word(bytes, 88),
            ..Counters::default()
        };
        counters.set_given_up(word(bytes, 96));
        let header = SegmentHeader {
            span: word(bytes, 8),
            order: word(bytes, 16),
            counters,
            fingerprint: word(bytes, 104),
            records: word(bytes, 40),
            start: Position(word(bytes, 48)),
            durable: word(bytes, 112),
        };
        let is_intact = &bytes[..8] == SEGMENT_MAGIC && word(bytes, 120) == xxh3_64_with_seed(&bytes[..120], salt);
        (is_intact && (1..=1 << 20).contains(&header.span) && header.order > 0).then_some(header)
    }

    /// Whether the bytes of a head are marked as one, whatever else they are.
    pub(crate) fn is_marked(bytes: &[u8]) -> bool {
        bytes.starts_with(SEGMENT_MAGIC)
    }
}
