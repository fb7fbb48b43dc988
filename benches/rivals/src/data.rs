//! The keys and documents that every engine stores, and the random numbers that choose among them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

pub const KEY_SIZE: usize = 50;
/// How many different documents are written; few enough to stay in the cache, so that what is measured is the store.
const DOCUMENT_COUNT: u64 = 256;

/// The value of every key: 102 bytes as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doc {
    #[serde(rename = "_tries")]
    pub tries: u64,
    #[serde(rename = "_done")]
    pub done: bool,
    #[serde(rename = "_aborted")]
    pub aborted: bool,
    pub url: String,
}

/// Key number `index`. The order of the numbers is not the order of the bytes: nobody is fed sorted keys.
pub fn key(index: u64) -> String {
    format!("https://example.org/{:016x}/{index:013}", Random::new(index).next())
}

pub fn documents() -> Vec<Doc> {
    (0..DOCUMENT_COUNT).map(|index| Doc { tries: 0, done: false, aborted: false, url: key(index) }).collect()
}

/// All keys back to back in one mapped file, which the worker processes share through the page cache.
pub struct Keys {
    bytes: Mmap,
    count: usize,
}

impl Keys {
    pub fn write(path: &Path, count: u64) -> Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for index in 0..count {
            file.write_all(key(index).as_bytes())?;
        }
        Ok(file.flush()?)
    }

    #[allow(unsafe_code)]
    pub fn open(path: &Path) -> Result<Keys> {
        let file = File::open(path).with_context(|| format!("{}: the file of keys", path.display()))?;
        // SAFETY: the parent finished writing this file before it started any worker, and nobody writes to it after.
        let bytes = unsafe { Mmap::map(&file)? };
        ensure!(bytes.len() % KEY_SIZE == 0, "the file of keys is cut off");
        std::str::from_utf8(&bytes)?;
        Ok(Keys { count: bytes.len() / KEY_SIZE, bytes })
    }

    pub fn count(&self) -> usize {
        self.count
    }

    #[allow(unsafe_code)]
    pub fn get(&self, index: usize) -> &str {
        let key = &self.bytes[index * KEY_SIZE..][..KEY_SIZE];
        // SAFETY: `open` checked that the bytes are UTF-8, and keys are ASCII, so no cut falls inside a character.
        unsafe { std::str::from_utf8_unchecked(key) }
    }

    pub fn random(&self, random: &mut Random) -> &str {
        self.get(random.below(self.count))
    }
}

/// SplitMix64: a multiplication or two a number, so that choosing a key costs next to nothing.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_documents_have_the_sizes_that_the_comparison_names() {
        assert_eq!(key(0).len(), KEY_SIZE);
        assert_eq!(key(999_999).len(), KEY_SIZE);
        assert!(documents().iter().all(|document| serde_json::to_vec(document).unwrap().len() == 102));
    }
}
