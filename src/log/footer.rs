//! The footer: the end of a transaction, and everything that commits together with it.
//!
//! ```text
//! offset  bytes  field
//!      0      8  position of the transaction's first frame
//!      8      4  size of the footer in units of 8 bytes
//!     12      1  kind
//!     13      3  0
//!     16      4  0
//!     20      4  records in the transaction
//!     24      8  sequence: the transaction's number, one more than that of the transaction before
//!     32      8  keys present after it
//!     40      8  next ordinal after it
//!     48      8  dirty keys after it
//!     56      8  tasks done after it
//!     64      8  tasks tried out after it
//!     72      8  tasks aborted after it
//!     80      4  number of the segment that the footer stands in, by its place in the file
//!     84      4  number of segments in that run
//!     88      8  fingerprint after it: the sum of a hash of key and version (`fingerprint`) over all keys present
//!     96      8  chain: checksum of bytes 0..96, continuing that of the transaction's records, continuing the chain
//!                of the transaction before, continuing the log's salt
//! ```

use super::record::{Kind, word};
use crate::segment::counters::Counters;
use crate::segment::heap::{Position, Segment};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) const FOOTER_BYTES: usize = 104;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) start: Position,
    pub(crate) records: u32,
    pub(crate) segment: Segment,
    pub(crate) span: u32,
    pub(crate) fingerprint: u64,
    /// The counters; their chain is the footer's.
    pub(crate) counters: Counters,
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

impl Footer {
    /// The footer's bytes, with its chain: the records' chain continued. The chain in `counters` is replaced.
    pub(crate) fn encode(&mut self, records_chain: u64) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        let counters = &self.counters;
        bytes[8..12].copy_from_slice(&((FOOTER_BYTES / 8) as u32).to_le_bytes());
        bytes[12] = Kind::Footer as u8;
        bytes[20..24].copy_from_slice(&self.records.to_le_bytes());
        let words = [
            (0, self.start.0),
            (24, counters.sequence),
            (32, counters.length),
            (40, counters.next_ordinal),
            (48, counters.dirty),
            (56, counters.done),
            (64, counters.tried),
            (72, counters.aborted),
            (80, self.segment.0 | u64::from(self.span) << 32),
            (88, self.fingerprint),
        ];
        for (at, value) in words {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        self.counters.chain = xxh3_64_with_seed(&bytes[..96], records_chain);
        bytes[96..].copy_from_slice(&self.counters.chain.to_le_bytes());
        bytes
    }

    /// The footer that stands in `bytes`, unchecked but for its form.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Footer> {
        let bytes: &[u8; FOOTER_BYTES] = bytes.first_chunk()?;
        let units = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if units as usize * 8 != FOOTER_BYTES || bytes[12] != Kind::Footer as u8 {
            return None;
        }
        Some(Footer {
            start: Position(word(bytes, 0)),
            records: u32::from_le_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]),
            segment: Segment(word(bytes, 80) & u64::from(u32::MAX)),
            span: (word(bytes, 80) >> 32) as u32,
            fingerprint: word(bytes, 88),
            counters: Counters {
                sequence: word(bytes, 24),
                length: word(bytes, 32),
                next_ordinal: word(bytes, 40),
                dirty: word(bytes, 48),
                done: word(bytes, 56),
                tried: word(bytes, 64),
                aborted: word(bytes, 72),
                chain: word(bytes, 96),
            },
        })
    }

    /// Whether `bytes` are a footer that rightly continues `records_chain`.
    pub(crate) fn is_intact(bytes: &[u8], records_chain: u64) -> bool {
        bytes.len() >= FOOTER_BYTES && word(bytes, 96) == xxh3_64_with_seed(&bytes[..96], records_chain)
    }
}
