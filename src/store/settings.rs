//! The store's own options, kept in its log and the same for every process.

use crate::error::{Error, ErrorKind, Result};
use crate::log::batch::Batch;
use crate::log::record::{self, Kind, Record};
use crate::segment::counters::Counters;
use crate::store::locked::{Locked, Writing};
use crate::store::shared::{Mode, Shared};
use crate::value::{self, Archive, Task, field};
use serde::{Deserialize, Serialize};
use std::time::Duration;

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

    fn over(&self, settings: Settings) -> Settings {
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

/// What settings that change what counts bring with them.
fn push_settings(batch: &mut Batch, settings: &Settings, counters: &Counters) -> Result<()> {
    batch.push(Kind::Settings, 0, &record::encode_counts(counters), false, |out| value::encode(settings, out))
}

impl Shared {
    /// Makes a pod a tracker whose values all are tasks already, or fails.
    fn upgrade(&self, timeout: Duration) -> Result<Settings> {
        let refuse = |why: String| {
            let path = self.directory.display();
            Error::new(ErrorKind::WrongKind, format!("{path} is a pod and not a tracker: {why}; make it one with Pod::convert_to_tracker"))
        };
        self.require_writer().map_err(|_| refuse("it was opened read-only".to_owned()))?;
        self.become_tracker(Writing { timeout, is_durable: false }, |key, value, _| match Task::of(value.node()) {
            Err(why) => Err(refuse(format!("{}: {why}", shown(key)))),
            Ok(_) if [field::TRIES, field::DONE, field::ABORTED].iter().all(|name| value.node().get(name).is_some()) => Ok(false),
            Ok(_) => Err(refuse(format!("the value for {} lacks _tries, _done or _aborted", shown(key)))),
        })?;
        Ok(self.settings()?.unwrap_or_default())
    }

    /// Makes the store a tracker, in one transaction. `convert` appends what a value becomes, and says whether it changes.
    pub(crate) fn become_tracker(
        &self,
        writing: Writing,
        mut convert: impl FnMut(&[u8], Archive<'_>, &mut Vec<u8>) -> Result<bool>,
    ) -> Result<()> {
        let locked = Locked::for_writing(self, writing)?;
        let settings = self.settings()?.unwrap_or_default();
        if settings.kind == StoreKind::Tracker {
            return Ok(());
        }
        let mut batch = Batch::default();
        push_settings(&mut batch, &Settings { kind: StoreKind::Tracker, ..settings.clone() }, &self.count_tasks(settings.max_tries)?)?;
        for ordinal in 0..self.counters()?.next_ordinal {
            let Some(record) = self.ordinal_head(ordinal).map(|at| self.record(at)).transpose()?.filter(Record::is_set) else { continue };
            let mut changes = false;
            batch.push(Kind::Set, record.hash(), record.key(), false, |out| {
                changes = convert(record.key(), Archive::of(&record), out)?;
                Ok::<(), Error>(())
            })?;
            if !changes {
                batch.drop_last();
            }
        }
        let sequence = locked.commit(&mut batch)?;
        locked.finish(sequence)
    }

    /// Changes how often a task may be tried. Looks at every task.
    pub(crate) fn set_max_tries(&self, writing: Writing, max_tries: u64) -> Result<()> {
        let locked = Locked::for_writing(self, writing)?;
        let settings = self.settings()?.unwrap_or_default();
        if settings.max_tries != max_tries {
            let mut batch = Batch::default();
            push_settings(&mut batch, &Settings { max_tries, ..settings }, &self.count_tasks(max_tries)?)?;
            let sequence = locked.commit(&mut batch)?;
            locked.finish(sequence)?;
        }
        Ok(())
    }

    /// The stored options; nothing in a store whose maker was killed before it wrote them.
    pub(crate) fn settings(&self) -> Result<Option<Settings>> {
        self.read_settings()?.map(|copied| Archive::of(&copied.record()).node().read()).transpose()
    }

    /// Fails for a new key that tastypy could not go on with, in a store whose files are in its dialect.
    #[inline]
    pub(crate) fn require_storable(&self, key: &[u8]) -> Result<()> {
        if !crate::key::is_tuple(key) || self.settings()?.is_none_or(|settings| settings.key_dialect != KeyDialect::Tastypy) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidKey,
            format!(
                "{}: key {} is a tuple, and the files are kept so that tastypy can go on with them, which loses what follows a tuple; \
                 convert the store to KeyDialect::Json first (Pod::convert, tastypod convert)",
                self.directory.display(),
                shown(key)
            ),
        ))
    }

    /// Writes other options, where `change` makes others of those that are stored.
    pub(crate) fn change_settings(&self, timeout: Duration, change: impl FnOnce(Option<Settings>) -> Settings) -> Result<()> {
        let locked = Locked::new(self, timeout)?;
        let stored = self.settings()?;
        let changed = change(stored.clone());
        if stored.as_ref() == Some(&changed) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.push(Kind::Settings, 0, &[], false, |out| value::encode(&changed, out))?;
        let sequence = locked.commit(&mut batch)?;
        locked.finish(sequence)
    }

    /// Writes the options of a new store, or fails where those of an old one are other than wanted.
    pub(crate) fn agree(&self, wanted: &Wanted, timeout: Duration) -> Result<Settings> {
        if self.settings()?.is_none() && self.mode == Mode::Writer {
            // Another opener may have been faster.
            self.change_settings(timeout, |stored| stored.unwrap_or_else(|| wanted.over(Settings::default())))?;
        }
        let mut settings = self.settings()?.unwrap_or_default();
        if wanted.kind == Some(StoreKind::Tracker) && settings.kind == StoreKind::Pod {
            settings = self.upgrade(timeout)?;
        }
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
