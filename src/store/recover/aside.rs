//! Logs that cannot be used whole are put aside, beside the one that goes on, for whoever wants to look into them.

use crate::sys::{clock, file};
use std::path::{Path, PathBuf};

const PREFIX: &str = "log.cut-";
/// So many are kept: a machine whose power fails often does not fill its disk with them.
const KEPT: usize = 3;

/// A name for the next one, later than those of all others.
pub(crate) fn next_name(live: &Path) -> PathBuf {
    live.join(format!("{PREFIX}{:020}", clock::unix_nanoseconds()))
}

/// Those that are there, the oldest first.
pub(crate) fn all(live: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(live).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)).map(|entry| entry.path()).collect();
    names.sort();
    names
}

/// Takes away all but the newest. What does not go stays: it is in nobody's way.
pub(crate) fn forget_old(live: &Path) {
    for name in all(live).iter().rev().skip(KEPT) {
        let _ = file::remove(name);
    }
}
