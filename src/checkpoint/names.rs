//! The names of the files that are a store.

use std::path::{Path, PathBuf};

/// The manifest.
pub(crate) const MANIFEST: &str = "pod.json";

/// A shard file by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShardName {
    pub(crate) number: u64,
    pub(crate) gzipped: bool,
}

impl ShardName {
    /// The shard that a file of this name is, if it is one: digits without a leading zero, then `.json` or `.json.gz`.
    pub(crate) fn parse(name: &str) -> Option<ShardName> {
        let (stem, gzipped) = match name.strip_suffix(".json.gz") {
            Some(stem) => (stem, true),
            None => (name.strip_suffix(".json")?, false),
        };
        let is_plain = stem.bytes().all(|byte| byte.is_ascii_digit()) && (stem == "0" || !stem.starts_with('0'));
        let number = stem.parse().ok().filter(|_| is_plain)?;
        Some(ShardName { number, gzipped })
    }

    pub(crate) fn path(self, directory: &Path) -> PathBuf {
        directory.join(self.to_string())
    }
}

impl std::fmt::Display for ShardName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.number, if self.gzipped { ".json.gz" } else { ".json" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_told_from_other_files() {
        for (name, number, gzipped) in [("0.json", 0, false), ("10.json.gz", 10, true), ("18446744073709551615.json", u64::MAX, false)] {
            let shard = ShardName { number, gzipped };
            assert_eq!(ShardName::parse(name), Some(shard));
            assert_eq!(shard.to_string(), name);
        }
        for name in [
            "",
            ".json",
            "a.json",
            "01.json",
            "+1.json",
            "-1.json",
            "1.json.tmp",
            "1.jsonl",
            "pod.json",
            "18446744073709551616.json",
            "1.gz",
        ] {
            assert_eq!(ShardName::parse(name), None, "{name}");
        }
    }
}
