//! The first opener's work: deciding between log and files (`choose.rs`), and making a log from the files.
//!
//! A log that is loaded is made under another name and renamed when it is whole: a kill leaves the old one, or none. Its head names
//! the checkpoint that it was loaded from, so that the files stand for it without being written again.

use crate::error::{Error, ErrorKind, Result};
use crate::log::header::LogHeader;
use crate::log::record::Kind;
use crate::segment::control;
use crate::store::attach::assemble::{assemble, map_control};
use crate::store::attach::choose::{self, Action, choose};
use crate::store::attach::create;
use crate::store::core::canon::{Rest, Surveyed};
use crate::store::core::files::{CONTROL, Files, INDEX, LIVE, LOCKS, LOG, ORDER, SEGMENTS, cannot, kept};
use crate::store::core::how::How;
use crate::store::core::shared::{Loss, Mode, Shared};
use crate::store::recover::aside;
use crate::sys::file;
use std::fs::File;
use std::path::Path;

impl Rest {
    fn of(shared: &Shared, saved: u64) -> Result<Rest> {
        let mut rest = Rest::default();
        shared.for_each_changed(saved, |record| {
            match record.kind() {
                Kind::Remove => rest.removed.push(record.key().to_vec()),
                _ => rest.set.push((record.key().to_vec(), record.value().to_vec())),
            }
            Ok(())
        })?;
        Ok(rest)
    }
}

/// Where the files of a store come from.
struct Sources<'a> {
    directory: &'a Path,
    how: &'a How,
    /// Files in memory, for a reader of a store that nobody has open.
    in_memory: bool,
}

impl Sources<'_> {
    fn file(&self, name: &str) -> Result<File> {
        let path = self.directory.join(LIVE).join(name);
        if self.in_memory {
            return file::in_memory(name).map_err(|error| Error::io("make a memory file for", &path, error));
        }
        file::open_or_create(&path, self.how.file_mode).map_err(|error| cannot("open", &path, error))
    }

    /// Maps a store over this log.
    fn assemble(&self, log: File, mode: Mode) -> Result<Shared> {
        let live = self.directory.join(LIVE);
        let kept = |name: &str, file: File| kept(&live, name, file);
        let files = Files {
            log: kept(LOG, log)?,
            index: kept(INDEX, self.file(INDEX)?)?,
            order: kept(ORDER, self.file(ORDER)?)?,
            segments: kept(SEGMENTS, self.file(SEGMENTS)?)?,
        };
        let control_file = self.file(CONTROL)?;
        let path = self.directory.join(LIVE).join(CONTROL);
        let (control, own_control) = map_control(&control_file, &path, self.in_memory)?;
        let mut shared = assemble(self.directory, mode, self.how, files, control, true)?;
        shared.own_control = own_control;
        Ok(shared)
    }

    /// Reads the log that is there.
    fn log(&self) -> Result<Option<File>> {
        let path = self.directory.join(LIVE).join(LOG);
        match file::open(&path, !self.in_memory) {
            Ok(log) => Ok(Some(log)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("open", &path, error)),
        }
    }

    /// Makes a new log of what the files hold.
    fn load(&self, surveyed: &dyn Surveyed, rest: &Rest) -> Result<Shared> {
        let live = self.directory.join(LIVE);
        let draft = live.join("tmp").join(LOG);
        let log = if self.in_memory { create::memory_log(LOG) } else { create::draft_log(&live, &draft, self.how.file_mode) };
        let log = log.map_err(|error| cannot("create", &draft, error))?;
        let mut shared = self.assemble(log, Mode::Writer)?;
        shared.prepare_alone()?;
        let sequence = surveyed.fill(&shared, rest)?;
        shared.note_saved(sequence)?;
        shared.header = LogHeader { loaded: [surveyed.checkpoint(), sequence], ..shared.header };
        let written = file::write_at(&shared.files.log, &shared.header.encode(), 0);
        if self.in_memory {
            written.map_err(|error| Error::io("write", &draft, error))?;
            shared.mode = Mode::Private;
            return Ok(shared);
        }
        // What only the old log held was perhaps power-safe.
        let synced = if rest.is_empty() { Ok(()) } else { file::sync_data(&shared.files.log) };
        let renamed = written.and(synced).and_then(|()| file::rename(&draft, &live.join(LOG)));
        let synced = renamed.and_then(|()| if rest.is_empty() { Ok(()) } else { file::sync_directory(&live) });
        synced.map_err(|error| cannot("create", &live.join(LOG), error))?;
        Ok(shared)
    }
}

/// Opens a store for the first opener, who is alone: for a writer, or as a private copy for a reader.
pub(crate) fn open_alone(directory: &Path, how: &How, private_log: Option<File>) -> Result<Shared> {
    let surveyed = how.canon.survey(directory, how)?;
    let live = directory.join(LIVE);
    let sources = Sources { directory, how, in_memory: how.read_only };
    let files = |loaded: [u64; 2]| match (surveyed.is_empty(), surveyed.is_edited(loaded)) {
        (true, _) => choose::Files::None,
        (_, false) => choose::Files::AsSaved,
        (_, true) => choose::Files::Edited,
    };
    let found = match private_log {
        Some(log) => Some(log),
        None => sources.log()?,
    };
    let Some(found) = found else {
        let log = if is_missing(&live)? { choose::Log::Missing } else { choose::Log::None };
        return match choose(files([0; 2]), log) {
            Action::Refuse => Err(lost(&live.join(LOG))),
            Action::New if !how.read_only => {
                create::log_if_absent(&live, how.file_mode)?;
                let log = file::open(&live.join(LOG), true).map_err(|error| cannot("open", &live.join(LOG), error))?;
                let shared = sources.assemble(log, Mode::Writer)?;
                shared.prepare_alone()?;
                Ok(shared)
            }
            Action::New => Err(create::no_store(directory)),
            _ => sources.load(&*surveyed, &Rest::default()),
        };
    };
    let mut shared = sources.assemble(found, if how.read_only { Mode::Private } else { Mode::Writer })?;
    shared.loss = Loss::of(&shared, how)?;
    let header = shared.header;
    let files = files(header.loaded);
    let saved = if files == choose::Files::None { Some(0) } else { surveyed.saved_in(header.store, header.loaded) };
    // What the log itself remembers of files that it does not belong to.
    let was_in_order = shared.is_ours() && shared.was_closed_in_order();
    let all_saved = was_in_order && shared.control.log.dirty.get() == 0 && shared.control.log.saved.get() == shared.control.commit.newest();
    // Prepared only where it may be used: that a log was in order is not to be forgotten.
    let prepared = if saved.is_some() { shared.prepare_alone() } else { Err(of_others(directory)) };
    let (log, outcome) = match (saved, prepared) {
        (None, outcome) => (choose::Log::OfOthers { is_saved: all_saved }, outcome),
        (Some(saved), Ok(())) if shared.control.commit.newest() >= saved => (choose::Log::Reaches, shared.note_saved(saved)),
        (Some(_), Ok(())) => (choose::Log::EndsBefore, Ok(())),
        (Some(saved), Err(error)) if matches!(error.kind(), ErrorKind::Integrity { .. }) => {
            // What was acknowledged as power-safe after the files were saved is only in the log.
            let may_go = match shared.loss {
                Loss::Nothing => false,
                Loss::Unflushed => shared.claimed_durable() <= saved,
                Loss::Anything => true,
            };
            (choose::Log::Damaged { may_go }, Err(error))
        }
        (Some(_), Err(error)) => return Err(error),
    };
    match choose(files, log) {
        Action::Use | Action::New => outcome.map(|()| shared),
        Action::Refuse => Err(outcome.err().unwrap_or_else(|| of_others(directory))),
        Action::LoadWithRest => {
            outcome?;
            let rest = Rest::of(&shared, saved.unwrap_or(0))?;
            drop(shared);
            sources.load(&*surveyed, &rest)
        }
        Action::Load => {
            drop(shared);
            sources.load(&*surveyed, &Rest::default())
        }
        Action::LoadAndPutAside => {
            if !how.read_only {
                // What it says of the log is not to be missed when that is aside.
                shared.control.stamps.magic.set(0);
                let aside = aside::next_name(&live);
                file::rename(&live.join(LOG), &aside).map_err(|error| cannot("put the damaged log aside as", &aside, error))?;
                aside::forget_old(&live);
            }
            drop(shared);
            sources.load(&*surveyed, &Rest::default())
        }
    }
}

/// Whether there was a log with more than the files beside it: absence needs proof, and the control page remembers. A log that is being made
/// of the files is elsewhere until it is whole.
fn is_missing(live: &Path) -> Result<bool> {
    let path = live.join(CONTROL);
    let Ok(control) = file::open_only_file(&path) else { return Ok(false) };
    let bytes = file::read_at(&control, 0, 4096).map_err(|error| Error::io("read", &path, error))?;
    Ok(control::has_unsaved(&bytes) && !live.join("tmp").join(LOG).exists())
}

/// An empty store in memory, which nobody else has, and a file for its locks.
pub(crate) fn empty_in_memory(directory: &Path, how: &How) -> Result<(Shared, File)> {
    let failed = |error| Error::io("make a memory file for", directory, error);
    let log = create::memory_log(LOG).map_err(failed)?;
    let shared = Sources { directory, how, in_memory: true }.assemble(log, Mode::Writer)?;
    shared.prepare_alone()?;
    Ok((shared, file::in_memory(LOCKS).map_err(failed)?))
}

#[cold]
fn lost(log: &Path) -> Error {
    let what = "the file is missing, and held changes that were not saved";
    let message = format!(
        "{}: {what}; put it back, or move {LIVE} away to go on with the files beside it and without those changes; nothing was changed",
        log.display()
    );
    Error::new(ErrorKind::Integrity { path: log.to_owned(), line: 0, what: what.to_owned() }, message)
}

#[cold]
fn of_others(directory: &Path) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "{}: the log in {LIVE} holds changes to other files than those that are there now; put back the files that belong to it, or move {LIVE} away to go on with the files and without those changes",
            directory.display()
        ),
    )
}
