//! Which files were the saved ones when somebody last looked: `.live/stamps`. Only a short cut: whoever finds no stamps, or others than
//! the files', reads the files. Never made power-safe.
//!
//! ```text
//! 0   8  "tastySTP"
//! 8   8  number of the checkpoint                    16  16  identity of the log that it stands for, 0 0 for none
//! 32  8  transaction of that log                     40   8  1 if shards were edited since, 2 if they are compressed
//! 48  8  nanoseconds since 1970 when it was looked   56  32  stamp of pod.json: inode, size, modified, changed
//! 88  …  stamps of the shards, one after the other     end 8  checksum of all before
//! ```

use crate::sys::file::Stamp;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: u64 = u64::from_le_bytes(*b"tastySTP");
const HEAD_WORDS: usize = 7;

/// A file that was changed so shortly before it was looked at may have been changed again in the same tick of the clock.
const TICK_NANOSECONDS: u64 = 10_000_000;

/// What tells a file from what it was.
pub(crate) type FileStamp = [u64; 4];

pub(crate) fn of(stamp: &Stamp) -> FileStamp {
    [stamp.inode, stamp.size, stamp.modified_nanoseconds, stamp.changed_nanoseconds]
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps {
    pub(crate) checkpoint: u64,
    pub(crate) log: [u64; 2],
    pub(crate) sequence: u64,
    pub(crate) is_edited: bool,
    pub(crate) gzipped: bool,
    pub(crate) looked_nanoseconds: u64,
    pub(crate) manifest: FileStamp,
    pub(crate) shards: Vec<FileStamp>,
}

impl Stamps {
    /// Whether a file that bore this stamp then is unchanged if it bears it now.
    pub(crate) fn vouches_for(&self, stamp: &FileStamp) -> bool {
        stamp[2].max(stamp[3]).saturating_add(TICK_NANOSECONDS) < self.looked_nanoseconds
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let flags = u64::from(self.is_edited) | u64::from(self.gzipped) << 1;
        let head = [MAGIC, self.checkpoint, self.log[0], self.log[1], self.sequence, flags, self.looked_nanoseconds];
        let words = head.into_iter().chain(self.manifest).chain(self.shards.iter().copied().flatten());
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let sum = xxh3_64(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Stamps> {
        let (bytes, sum) = bytes.split_last_chunk::<8>()?;
        if u64::from_le_bytes(*sum) != xxh3_64(bytes) {
            return None;
        }
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (head, files) = words.split_first_chunk::<HEAD_WORDS>()?;
        let [MAGIC, checkpoint, one, other, sequence, flags, looked_nanoseconds] = *head else { return None };
        let (files, odd) = files.as_chunks::<4>();
        let (manifest, shards) = files.split_first()?;
        (rest.is_empty() && odd.is_empty()).then(|| Stamps {
            checkpoint,
            log: [one, other],
            sequence,
            is_edited: flags & 1 != 0,
            gzipped: flags & 2 != 0,
            looked_nanoseconds,
            manifest: *manifest,
            shards: shards.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_survive_their_bytes_and_nothing_else_is_taken_for_them() {
        let one = Stamps {
            checkpoint: 1,
            log: [2, 3],
            sequence: 4,
            is_edited: true,
            gzipped: false,
            looked_nanoseconds: 5,
            manifest: [6, 7, 8, 9],
            shards: vec![[1; 4], [2; 4]],
        };
        let bytes = one.encode();
        assert_eq!(Stamps::decode(&bytes), Some(one));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!((Stamps::decode(&flipped), Stamps::decode(&bytes[..at])), (None, None), "{at}");
        }
    }
}
