//! The store's own options, kept in its log and the same for every process.

use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// What kind of data a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreKind {
    Pod,
    Tracker,
}

/// How keys stand in the shard files of a store.
///
/// ```
/// assert_eq!(tastypod::KeyDialect::default(), tastypod::KeyDialect::Json);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyDialect {
    /// Plain JSON.
    #[default]
    Json,
    /// As the Python library tastypy writes them: JSON with every backslash doubled. Stores that it made keep this, so that it
    /// goes on reading them.
    Tastypy,
}

/// Stored options. New ones get a default here, so that older stores go on being read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) kind: StoreKind,
    pub(crate) file_size: u64,
    pub(crate) gzipped: bool,
    pub(crate) max_tries: u64,
    pub(crate) lease_nanoseconds: Option<u64>,
    /// First delay in nanoseconds, factor, longest delay in nanoseconds.
    pub(crate) backoff: Option<(u64, f64, u64)>,
    /// Whether anybody ever asked for durability: from then on the log keeps what is needed of what is on the disk.
    pub(crate) is_durable: bool,
    #[serde(default)]
    pub(crate) key_dialect: KeyDialect,
}

/// A key in a message.
pub(crate) fn shown(key: &[u8]) -> String {
    crate::key::Key::decode(key).map_or_else(|_| "?".to_owned(), |key| key.to_string())
}

/// Entries in a shard file, where nobody says otherwise.
pub(crate) const DEFAULT_FILE_SIZE: u64 = 4096;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            kind: StoreKind::Pod,
            file_size: DEFAULT_FILE_SIZE,
            gzipped: false,
            max_tries: 0,
            lease_nanoseconds: None,
            backoff: None,
            is_durable: false,
            key_dialect: KeyDialect::Json,
        }
    }
}

/// What an opener asks for: only what is set has to agree.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    /// A tracker, or whatever is there.
    pub(crate) kind: Option<StoreKind>,
    pub(crate) file_size: Option<u64>,
    pub(crate) gzipped: Option<bool>,
    pub(crate) max_tries: Option<u64>,
    pub(crate) lease_nanoseconds: Option<u64>,
    pub(crate) backoff: Option<(u64, f64, u64)>,
}

impl Wanted {
    /// What an opener asks for, and defaults.
    pub(crate) fn settings(&self) -> Settings {
        self.over(Settings::default())
    }

    pub(crate) fn over(&self, settings: Settings) -> Settings {
        Settings {
            kind: self.kind.unwrap_or(settings.kind),
            file_size: self.file_size.unwrap_or(settings.file_size),
            gzipped: self.gzipped.unwrap_or(settings.gzipped),
            max_tries: self.max_tries.unwrap_or(settings.max_tries),
            lease_nanoseconds: self.lease_nanoseconds.or(settings.lease_nanoseconds),
            backoff: self.backoff.or(settings.backoff),
            is_durable: settings.is_durable,
            ..settings
        }
    }
}

/// Fails for files that hold no entries.
pub(crate) fn require_file_size(entries: Option<u64>) -> Result<()> {
    if entries != Some(0) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidValue, "file_size: a file cannot hold 0 entries; give 1 or more, such as 4096; nothing was changed"))
}

/// Fails for a backoff that makes no delays, and that could not be stored: JSON has neither infinite numbers nor NaN.
pub(crate) fn require_delays(backoff: Option<(u64, f64, u64)>) -> Result<()> {
    match backoff {
        Some((_, factor, _)) if !(factor.is_finite() && factor >= 0.0) => Err(Error::new(
            ErrorKind::InvalidValue,
            format!(
                "backoff: delays cannot grow by the factor {factor}; give a finite one that is not negative, such as 2.0; nothing was changed"
            ),
        )),
        _ => Ok(()),
    }
}
