//! A checkpoint: the shards are brought up to date with one instant of the store, by whoever holds the sync lock. Readers and
//! writers go on.
//!
//! | step | a kill or a power cut leaves |
//! |---|---|
//! | take the sync lock; end what a dead holder began | the same again |
//! | under the mutex: note the instant, count changes anew from it | a count that is too high |
//! | write the shards that changed aside, make them and their names power-safe | files aside that nobody looks at |
//! | make the intent power-safe: **the commit** | a checkpoint that the next one, or the next first opener, ends |
//! | put the shards in place, then the manifest (`install.rs`) | the same |
//! | under the mutex: what is not newer counts as saved | shards that are saved once more |
//!
//! What is saved needs no log: if a power cut leaves a log that ends before, it is loaded from the shards. So the log is not flushed.

use crate::checkpoint::install::{self, Edits};
use crate::checkpoint::line;
use crate::checkpoint::manifest::{Digest, Manifest, Marks, Saved};
use crate::checkpoint::names::ShardName;
use crate::checkpoint::place::Place;
use crate::checkpoint::recover;
use crate::checkpoint::shard;
use crate::checkpoint::stamps;
use crate::error::{Error, Result};
use crate::store::core::files::cannot;
use crate::store::core::settings::Settings;
use crate::store::core::shared::Shared;
use crate::store::read::snapshot::Instant;
use crate::store::saving::sync_lock::SyncLock;
use crate::store::write::locked::Locked;
use crate::sys::file::Open as _;
use crate::sys::{file, process};
use crate::value::Archive;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// Text is handed on in pieces of so many bytes.
const PIECE_BYTES: usize = 1 << 20;

/// How to save.
#[derive(Debug, Clone)]
pub(crate) struct Saving {
    pub(crate) timeout: Duration,
    pub(crate) edits: Edits,
    /// Whether to wait for somebody else who saves; else nothing is done.
    pub(crate) waits: bool,
}

impl Saving {
    pub(crate) fn patient(timeout: Duration) -> Saving {
        Saving { timeout, edits: Edits::Refuse, waits: true }
    }
}

/// The store's directory itself: another that stands at its path by now is left alone.
pub(crate) fn place_of(shared: &Shared) -> Result<Place> {
    shared.require_files()?;
    let directory = shared.directory_handle.file().map_err(|error| Error::io("find", &shared.directory, error))?;
    Ok(Place { directory: file::path_of(directory), file_mode: shared.file_mode })
}

/// Whether something was changed since the shards were saved, or they never were.
pub(crate) fn is_behind(shared: &Shared) -> bool {
    shared.saved() < shared.control.commit.newest()
}

/// Entries in the shards that changed, as far as that is found out quickly.
pub(crate) fn entries_to_write(shared: &Shared) -> u64 {
    let file_size = shared.settings().ok().flatten().unwrap_or_default().file_size;
    let (Ok(counters), since) = (shared.counters(), shared.saved()) else { return 0 };
    let first = shared.first_ordinal(counters.sequence);
    let shards = counters.next_ordinal.saturating_sub(first).div_ceil(file_size);
    let range = |number: u64| first + number * file_size..counters.next_ordinal.min(first + (number + 1) * file_size);
    let changed = (0..shards).filter(|number| is_changed(shared, range(*number), since).unwrap_or(true));
    changed.map(|number| range(number).end - range(number).start).sum()
}

/// Brings the shards up to date: on return everything that was committed before survives a power cut.
pub(crate) fn save(shared: &Shared, saving: &Saving) -> Result<()> {
    shared.enter()?;
    shared.require_writer()?;
    shared.require_not_held()?;
    let place = place_of(shared)?;
    save_in(&place, shared, saving).map_err(|error| {
        // What fails in a directory that is gone fails for that reason.
        shared.require_in_place().err().unwrap_or_else(|| error.renamed(&place.directory, &shared.directory))
    })
}

fn save_in(place: &Place, shared: &Shared, saving: &Saving) -> Result<()> {
    let wanted = shared.control.commit.newest();
    let Some(_lock) = SyncLock::acquire(shared, saving.timeout, saving.waits)? else { return Ok(()) };
    shared.require_in_place()?;
    let mut old = place.read_manifest()?;
    if let Some(intent) = place.read_intent()? {
        install::end(place, old.as_ref(), &intent, saving.edits)?;
        shared.note_saved_by_another(intent.sequence, saving.timeout)?;
        old = Some(intent);
    }
    // Whoever held the lock before may have saved it all.
    if shared.saved() >= wanted && old.is_some() && saving.edits == Edits::Refuse {
        return Ok(());
    }
    let instant = begin(shared, saving.timeout)?;
    let settings = shared.settings()?.unwrap_or_default();
    let written = write_aside(place, &instant, &settings, old.as_ref(), saving.edits)
        .and_then(|intent| place.write_whole(intent.encode().as_bytes(), &place.intent()).map(|()| intent));
    drop(instant);
    // What was written takes room, and the disk may be full.
    let intent = written.inspect_err(|_| place.forget_drafts())?;
    place.sync(&place.live())?;
    if old.is_none()
        && let Some(parent) = shared.directory.parent()
    {
        // The store may be as new as its first checkpoint.
        place.sync(parent)?;
    }
    install::end(place, old.as_ref(), &intent, saving.edits)?;
    let locked = Locked::new(shared, saving.timeout)?;
    shared.end_saving(&locked);
    Ok(())
}

/// Takes the instant that is saved.
fn begin(shared: &Shared, timeout: Duration) -> Result<Instant<&Shared>> {
    let locked = Locked::new(shared, timeout)?;
    let instant = Instant::take(shared)?;
    shared.begin_saving(&locked, instant.counters().sequence)?;
    Ok(instant)
}

/// Writes all shards that changed, and says how it will be when they are in place.
fn write_aside(place: &Place, instant: &Instant<&Shared>, settings: &Settings, old: Option<&Manifest>, edits: Edits) -> Result<Manifest> {
    let shared = *instant.shared()?;
    let counters = instant.counters();
    let first = instant.first_ordinal();
    let count = counters.next_ordinal.saturating_sub(first).div_ceil(settings.file_size);
    let is_alike = |old: &&Manifest| {
        let form = |settings: &Settings| (settings.file_size, settings.gzipped, settings.key_dialect);
        form(&old.settings) == form(settings)
    };
    // A log that was loaded from the files counts places from 0.
    let has_same_places = |old: &&Manifest| first == if old.stands_for(shared.header.store) { old.first } else { 0 };
    let known = old.filter(is_alike).filter(has_same_places).filter(|_| edits == Edits::Refuse);
    let stamps = place.read_stamps().filter(|stamps| known.is_some_and(|known| known.checkpoint.0 == stamps.checkpoint));
    let since = shared.saved();
    let mut shards = Vec::new();
    let mut made = Vec::new();
    let mut tail = shared.log_end();
    for number in 0..count {
        tail = shared.prepare_for_others(tail);
        let ordinals = first + number * settings.file_size
            ..counters.next_ordinal.min(first.saturating_add((number + 1).saturating_mul(settings.file_size)));
        let saved = recover::saved_in(known, number);
        if let Some(saved) = saved
            && !is_changed(shared, ordinals.clone(), since)?
        {
            shards.push(saved.clone());
            continue;
        }
        let name = ShardName { number, gzipped: settings.gzipped };
        if edits == Edits::Refuse {
            require_as_saved(
                &name.path(&place.directory),
                number,
                recover::saved_in(old.filter(|old| old.settings.gzipped == settings.gzipped), number),
                stamps.as_ref(),
            )?;
        }
        let aside = name.path(&place.aside());
        let failed = |error| cannot("write", &aside, error);
        let file = place.make_aside(&aside).map_err(failed)?;
        let mut writer = ShardWriter::new(&file, settings.gzipped);
        for ordinal in ordinals {
            if let Some(record) = shared.ordinal_at(counters.sequence, ordinal)? {
                let written = line::write(record.key(), Archive::of(&record), settings.key_dialect, &mut writer.line);
                written.map_err(|what| shared.integrity(0, what))?;
                writer.end_line().map_err(failed)?;
            }
        }
        shards.push(writer.finish().map_err(failed)?);
        file::begin_writing(&file);
        made.push((aside.clone(), file));
    }
    make_power_safe(&made)?;
    if place.aside().exists() {
        place.sync(&place.aside())?;
    }
    let checkpoint = process::random_words::<1>()[0] | 1;
    Ok(Manifest { first, ..Manifest::new(settings.clone(), Some(shared.header.store), counters.sequence, shards, checkpoint) })
}

/// So many files are made power-safe one after the other; more by several threads, since the system writes together what is asked for
/// together.
const FILES_ALONE: usize = 16;
const SYNCING_THREADS: usize = 8;

fn make_power_safe(made: &[(PathBuf, File)]) -> Result<()> {
    let sync = |(aside, file): &(PathBuf, File)| file::sync_data(file).map_err(|error| cannot("make power-safe", aside, error));
    if made.len() <= FILES_ALONE {
        return made.iter().try_for_each(sync);
    }
    std::thread::scope(|scope| {
        let parts = made.chunks(made.len().div_ceil(SYNCING_THREADS)).map(|part| scope.spawn(move || part.iter().try_for_each(sync)));
        let parts: Vec<_> = parts.collect();
        // A thread that panicked did not make its files power-safe.
        parts.into_iter().try_for_each(|part| part.join().unwrap_or_else(|_| Err(Error::other("a thread that saves files panicked"))))
    })
}

/// Whether anything with one of these ordinals is newer than a transaction.
fn is_changed(shared: &Shared, ordinals: std::ops::Range<u64>, since: u64) -> Result<bool> {
    for ordinal in ordinals {
        // Most stand where they stood when they were saved, and need not be looked at.
        if let Some(position) = shared.ordinal_head(ordinal)
            && !shared.may_be_unsaved(position)?
        {
            continue;
        }
        if shared.ordinal_version(ordinal)?.is_some_and(|version| version > since) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fails where a file that will be replaced is not the one that was saved. Looked at once more when it is replaced.
fn require_as_saved(path: &Path, number: u64, saved: Option<&Saved>, stamps: Option<&stamps::Stamps>) -> Result<()> {
    if let Some(stamps) = stamps
        && let Some(stamp) = usize::try_from(number).ok().and_then(|number| stamps.shards.get(number))
        && stamps.vouches_for(stamp)
        && file::stamp_at(path).is_ok_and(|now| stamps::of(&now) == *stamp)
    {
        return Ok(());
    }
    match (saved, shard::digest(path)?) {
        (None, None) => Ok(()),
        (Some(saved), Some(digest)) if saved.is(digest) => Ok(()),
        _ => Err(install::changed_on_disk(path)),
    }
}

/// Counts and sums what goes into a file.
struct Summing<'a> {
    file: &'a std::fs::File,
    hasher: Box<Xxh3>,
    bytes: u64,
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        file::write_at(self.file, bytes, self.bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Form<'a> {
    Plain(Summing<'a>),
    Gzipped(Box<GzEncoder<io::BufWriter<Summing<'a>>>>),
}

/// Writes one shard.
struct ShardWriter<'a> {
    form: Form<'a>,
    /// The line that is being written, behind those that are not yet handed on.
    line: String,
    start: usize,
    marks: Marks,
}

impl ShardWriter<'_> {
    fn new(file: &std::fs::File, gzipped: bool) -> ShardWriter<'_> {
        let summing = Summing { file, hasher: Box::new(Xxh3::new()), bytes: 0 };
        let form = if gzipped {
            Form::Gzipped(Box::new(GzEncoder::new(io::BufWriter::with_capacity(PIECE_BYTES, summing), Compression::fast())))
        } else {
            Form::Plain(summing)
        };
        ShardWriter { form, line: String::new(), start: 0, marks: Marks::default() }
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.marks.add(&self.line.as_bytes()[self.start..]);
        self.start = self.line.len();
        if self.start >= PIECE_BYTES { self.hand_on() } else { Ok(()) }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        // In one piece: the text is in memory.
        match &mut self.form {
            Form::Plain(summing) => io::copy(&mut self.line.as_bytes(), summing)?,
            Form::Gzipped(encoder) => io::copy(&mut self.line.as_bytes(), encoder)?,
        };
        self.line.clear();
        self.start = 0;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Saved> {
        if !self.line.is_empty() {
            self.hand_on()?;
        }
        let summing = match self.form {
            Form::Plain(summing) => summing,
            Form::Gzipped(encoder) => encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?,
        };
        Ok(self.marks.saved(Digest { bytes: summing.bytes, hash: summing.hasher.digest() }))
    }
}
