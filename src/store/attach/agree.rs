//! Agreeing on the store's options: those of a new one, those that an old one has, and changes that count tasks anew.

use crate::error::{Error, ErrorKind, Result};
use crate::log::batch::Batch;
use crate::log::record::{self, Kind, Record};
use crate::segment::counters::Counters;
use crate::store::core::how::Writing;
use crate::store::core::settings::{Settings, StoreKind, Wanted, shown};
use crate::store::core::shared::{Mode, Shared};
use crate::store::write::locked::Locked;
use crate::value::{self, Archive, Task, field};
use std::time::Duration;

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
