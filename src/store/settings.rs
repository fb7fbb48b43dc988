//! The store's own options, kept in its log and the same for every process.

use crate::error::{Error, ErrorKind, Result};
use crate::log::batch::Batch;
use crate::log::record::Kind;
use crate::store::locked::Locked;
use crate::store::shared::{Mode, Shared};
use crate::value::{self, Archive};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What kind of data a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreKind {
    Pod,
    Tracker,
}

/// Stored options. New ones get a default here, so that older stores go on being read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) kind: StoreKind,
    pub(crate) file_size: u64,
    pub(crate) gzipped: bool,
    pub(crate) max_tries: u64,
    pub(crate) lease_nanoseconds: Option<u64>,
    /// First delay in nanoseconds, factor, longest delay in nanoseconds.
    pub(crate) backoff: Option<(u64, f64, u64)>,
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
        }
    }
}

/// What an opener asks for: only what is set has to agree.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) file_size: Option<u64>,
    pub(crate) gzipped: Option<bool>,
    pub(crate) max_tries: Option<u64>,
    pub(crate) lease_nanoseconds: Option<u64>,
    pub(crate) backoff: Option<(u64, f64, u64)>,
}

impl Wanted {
    fn over(&self, settings: Settings) -> Settings {
        Settings {
            file_size: self.file_size.unwrap_or(settings.file_size),
            gzipped: self.gzipped.unwrap_or(settings.gzipped),
            max_tries: self.max_tries.unwrap_or(settings.max_tries),
            lease_nanoseconds: self.lease_nanoseconds.or(settings.lease_nanoseconds),
            backoff: self.backoff.or(settings.backoff),
            ..settings
        }
    }
}

impl Shared {
    /// The stored options; nothing in a store whose maker was killed before it wrote them.
    pub(crate) fn settings(&self) -> Result<Option<Settings>> {
        self.read_settings()?.map(|copied| Archive::of(&copied.record()).node().read()).transpose()
    }

    /// Writes the options of a new store, or fails where those of an old one are other than wanted.
    pub(crate) fn agree(&self, wanted: &Wanted, timeout: Duration) -> Result<Settings> {
        if self.settings()?.is_none() && self.mode == Mode::Writer {
            let locked = Locked::new(self, timeout)?;
            // Another opener may have been faster.
            if self.settings()?.is_none() {
                let mut batch = Batch::default();
                batch.push(Kind::Settings, 0, &[], false, |out| value::encode(&wanted.over(Settings::default()), out))?;
                let sequence = locked.commit(&mut batch)?;
                locked.finish(sequence);
            }
        }
        let settings = self.settings()?.unwrap_or_default();
        let merged = wanted.over(settings.clone());
        if merged == settings {
            return Ok(settings);
        }
        let text = |settings: &Settings| serde_json::to_string(settings).unwrap_or_default();
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{}: the store has the options {}, this opener asks for {}; leave options unset to adopt what is stored",
                self.directory.display(),
                text(&settings),
                text(&merged)
            ),
        ))
    }
}
