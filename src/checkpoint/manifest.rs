//! The manifest, `pod.json`: one JSON object.
//!
//! | field | meaning |
//! |---|---|
//! | `format` | version of this format |
//! | `kind`, `file_size`, `gzipped`, `key_dialect`, `max_tries`, `lease_nanoseconds`, `backoff` | the store's own options |
//! | `checkpoint` | random number of this manifest |
//! | `log`, `sequence` | identity of the log, and the transaction of it, that the shards stand for; no log for an adopted directory |
//! | `first` | ordinal in that log of the first place in the shards |
//! | `edited` | whether shards were edited by hand since, and nothing was loaded from them yet |
//! | `shards` | for each shard: lines, bytes of the file, bytes of its text, checksum of the file, marks |
//! | `check` | checksum of all above as written here |
//!
//! *Marks* are sixteen bits each, in hexadecimal, of the checksum of the text up to the end of lines 1, 2, 4, 8 and so on, and at
//! last of the last line alone: they tell a file that was cut off from one that was edited. Valid is what is written again as the same
//! text, white space aside.

use crate::error::{Error, ErrorKind, Result};
use crate::store::core::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::Path;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Changes with every change of the manifest's or the shards' form.
pub(crate) const FORMAT: u64 = 1;

/// A number that stands in the manifest as hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Hex(pub(crate) u64);

impl From<Hex> for String {
    fn from(number: Hex) -> String {
        format!("{:016x}", number.0)
    }
}

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Hex, &'static str> {
        let is_plain = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(&text, 16).ok().filter(|_| is_plain).map(Hex).ok_or("expected 16 hexadecimal digits")
    }
}

/// What a shard file holds: lines, bytes of the file, bytes of its text, checksum of the file, marks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Saved(pub(crate) u64, pub(crate) u64, pub(crate) u64, pub(crate) Hex, pub(crate) String);

impl Saved {
    pub(crate) fn lines(&self) -> u64 {
        self.0
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.1
    }

    pub(crate) fn text_bytes(&self) -> u64 {
        self.2
    }

    /// Whether a file of this content is this one.
    pub(crate) fn is(&self, digest: Digest) -> bool {
        (self.1, self.3.0) == (digest.bytes, digest.hash)
    }

    /// Whether text that is not this one is the beginning of it: the file was cut off rather than edited.
    pub(crate) fn is_cut_off_to(&self, now: &Marks) -> bool {
        let marks: Vec<&str> = self.4.as_bytes().chunks(4).filter_map(|mark| std::str::from_utf8(mark).ok()).collect();
        let Some((last, prefixes)) = marks.split_last() else { return false };
        let whole = now.lines - u64::from(!now.ends_with_newline && now.lines > 0);
        let known = prefixes.iter().zip(&now.prefixes).enumerate().take_while(|(power, _)| 1 << power <= whole);
        known.into_iter().all(|(_, (was, is))| **was == mark(*is))
            && (now.lines == 0 || **last != mark(now.last))
            && now.text_bytes < self.2
            && (now.lines < self.0 || !now.ends_with_newline)
    }
}

/// The content of a file, told by its length and checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) bytes: u64,
    pub(crate) hash: u64,
}

fn mark(hash: u64) -> String {
    format!("{:04x}", hash as u16)
}

/// What is remembered of a text that goes by line by line. Blank lines do not count.
#[derive(Clone)]
pub(crate) struct Marks {
    hasher: Box<Xxh3>,
    lines: u64,
    text_bytes: u64,
    prefixes: Vec<u64>,
    last: u64,
    ends_with_newline: bool,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { hasher: Box::new(Xxh3::new()), lines: 0, text_bytes: 0, prefixes: Vec::new(), last: 0, ends_with_newline: true }
    }
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Marks").field("lines", &self.lines).field("text_bytes", &self.text_bytes).finish_non_exhaustive()
    }
}

impl Marks {
    /// Takes note of the next line.
    pub(crate) fn add(&mut self, line: &[u8]) {
        self.text_bytes += line.len() as u64;
        self.ends_with_newline = line.ends_with(b"\n");
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return;
        }
        self.hasher.update(line);
        self.hasher.update(b"\n");
        self.last = xxh3_64(line);
        self.lines += 1;
        if self.lines.is_power_of_two() {
            self.prefixes.push(self.hasher.digest());
        }
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// What the manifest says of the file that holds this text.
    pub(crate) fn saved(&self, digest: Digest) -> Saved {
        let marks = self.prefixes.iter().chain([&self.last]).map(|hash| mark(*hash)).collect();
        Saved(self.lines, digest.bytes, self.text_bytes, Hex(digest.hash), marks)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u64,
    #[serde(flatten)]
    pub(crate) settings: Settings,
    pub(crate) checkpoint: Hex,
    pub(crate) log: Option<(Hex, Hex)>,
    pub(crate) sequence: u64,
    /// The ordinal of the log from which places in the shards count.
    pub(crate) first: u64,
    /// Shards were edited since: what the log has beyond `sequence` counts on top of them.
    #[serde(rename = "edited")]
    pub(crate) is_edited: bool,
    pub(crate) shards: Vec<Saved>,
}

/// A manifest as it was read, before it is known to be whole.
#[derive(Deserialize)]
struct Unchecked {
    #[serde(flatten)]
    manifest: Manifest,
    check: Hex,
}

#[derive(Deserialize)]
struct Versioned {
    format: u64,
}

impl Manifest {
    pub(crate) fn new(settings: Settings, log: Option<[u64; 2]>, sequence: u64, shards: Vec<Saved>, checkpoint: u64) -> Manifest {
        let log = log.map(|[one, other]| (Hex(one), Hex(other)));
        Manifest { format: FORMAT, settings, checkpoint: Hex(checkpoint), log, sequence, first: 0, is_edited: false, shards }
    }

    /// Whether the shards stand for a transaction of this log.
    pub(crate) fn stands_for(&self, log: [u64; 2]) -> bool {
        self.log.is_some_and(|(one, other)| [one.0, other.0] == log)
    }

    /// The text, all but the checksum and the end.
    fn text(&self) -> String {
        let head = Manifest { shards: Vec::new(), ..self.clone() };
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        // The list of shards is the last field, and empty.
        text.truncate(text.len().saturating_sub("]}".len()));
        let mut text = text.replace("\":", "\": ").replace(",\"", ",\n\"").replacen('{', "{\n", 1);
        for (index, shard) in self.shards.iter().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            text.push_str(&serde_json::to_string(shard).unwrap_or_default());
        }
        text.push_str("\n]");
        text
    }

    pub(crate) fn encode(&self) -> String {
        let mut text = self.text();
        let check = String::from(Hex(xxh3_64(text.as_bytes())));
        text.push_str(&format!(",\n\"check\": \"{check}\"\n}}\n"));
        text
    }

    /// Reads a manifest; `path` is for messages.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Manifest> {
        let wrong = |line: usize, what: String| {
            let message = format!("{}, line {line}: {what}; restore the file from a copy; nothing was changed", path.display());
            Error::new(ErrorKind::Integrity { path: path.to_owned(), line: line as u64, what }, message)
        };
        let malformed = |error: serde_json::Error| wrong(error.line(), format!("not a manifest: {error}"));
        let Versioned { format } = serde_json::from_slice(bytes).map_err(malformed)?;
        if format != FORMAT {
            let message = format!(
                "{} has format version {format}, this tastypod reads version {FORMAT}; open it with the version that wrote it",
                path.display()
            );
            return Err(Error::new(ErrorKind::VersionMismatch, message));
        }
        let Unchecked { manifest, check } = serde_json::from_slice(bytes).map_err(malformed)?;
        if manifest.settings.file_size == 0 {
            return Err(wrong(1, "a file_size of 0".to_owned()));
        }
        if xxh3_64(manifest.text().as_bytes()) != check.0 {
            return Err(wrong(1, "its checksum is wrong: it was changed by somebody else, or is damaged".to_owned()));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::core::settings::{KeyDialect, StoreKind};
    use proptest::prelude::*;

    fn marks(text: &str) -> Marks {
        let mut marks = Marks::default();
        text.split_inclusive('\n').for_each(|line| marks.add(line.as_bytes()));
        marks
    }

    fn saved(text: &str) -> Saved {
        marks(text).saved(Digest { bytes: text.len() as u64, hash: xxh3_64(text.as_bytes()) })
    }

    fn manifest() -> Manifest {
        let settings = Settings {
            kind: StoreKind::Tracker,
            max_tries: 3,
            backoff: Some((1, 2.5, u64::MAX)),
            key_dialect: KeyDialect::Tastypy,
            ..Settings::default()
        };
        Manifest::new(settings, Some([1, u64::MAX]), 12, vec![saved("1\t1\n2\t2\n"), saved("")], 7)
    }

    #[test]
    fn a_manifest_survives_its_text() {
        let one = manifest();
        assert_eq!(Manifest::decode(one.encode().as_bytes(), Path::new("pod.json")).unwrap(), one);
        let bare = Manifest { log: None, shards: Vec::new(), ..one };
        assert_eq!(Manifest::decode(bare.encode().as_bytes(), Path::new("pod.json")).unwrap(), bare);
        // The form is part of the files' format.
        insta_like(&manifest().encode());
    }

    fn insta_like(text: &str) {
        let expected = "{\n\"format\": 1,\n\"kind\": \"tracker\",\n\"file_size\": 4096,\n\"gzipped\": false,\n\"max_tries\": 3,\n\
            \"lease_nanoseconds\": null,\n\"backoff\": [1,2.5,18446744073709551615],\n\"is_durable\": false,\n\"key_dialect\": \"tastypy\",\n\
            \"checkpoint\": \"0000000000000007\",\n\"log\": [\"0000000000000001\",\n\"ffffffffffffffff\"],\n\"sequence\": 12,\n\"first\": 0,\n\"edited\": false,\n\
            \"shards\": [\n";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn white_space_may_change_and_nothing_else() {
        let one = manifest();
        let text = one.encode();
        let read = |text: &str| Manifest::decode(text.as_bytes(), Path::new("pod.json"));
        assert_eq!(read(&text.replace('\n', "\r\n   ")).unwrap(), one);
        assert_eq!(read(&text.replace("\"format\": 1", "\"format\": 2")).unwrap_err().kind(), ErrorKind::VersionMismatch);
        for (from, to) in [("\"sequence\": 12", "\"sequence\": 13"), ("\"tracker\"", "\"pod\""), ("[2,", "[3,"), ("4096", "0"), ("}", "")] {
            let error = read(&text.replace(from, to)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Integrity { .. }), "{from} to {to}: {error}");
            assert!(error.to_string().contains("pod.json, line "), "{error}");
        }
    }

    #[test]
    fn a_cut_off_file_is_told_from_an_edited_one() {
        let text: String = (0..100).map(|n| format!("{n}\t{}\n", n * 7919)).collect();
        let was = saved(&text);
        let cut = |text: &str| was.is_cut_off_to(&marks(text));
        for end in 0..text.len() {
            // A missing final newline is fine.
            assert_eq!(cut(&text[..end]), end < text.len() - 1, "{end} of {} bytes", text.len());
        }
        assert!(!cut(&text));
        assert!(!cut(&format!("{text}\n")) && !cut(&text.replace('\n', "\r\n")));
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for removed in 0..99 {
            let edited = [&lines[..removed], &lines[removed + 1..]].concat().concat();
            assert!(!cut(&edited), "line {removed} removed");
        }
        assert!(cut(&lines[..99].concat()), "whose last line is gone is the beginning of what was there");
        assert!(!cut(&lines[50..].concat()) && !cut(lines[70]) && !cut("\"new\"\t1\n"));
        assert!(!saved("").is_cut_off_to(&marks("")));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Manifest::decode(&bytes, Path::new("pod.json"));
        }

        #[test]
        fn every_flipped_byte_of_a_manifest_shows(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = manifest().encode().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(read) = Manifest::decode(&bytes, Path::new("pod.json")) {
                prop_assert_eq!(read, manifest());
            }
        }
    }
}
