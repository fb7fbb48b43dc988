//! What the first opener finds: whether the files are those that were saved, were edited, or are another program's.

use crate::checkpoint::fill;
use crate::checkpoint::install;
use crate::checkpoint::line;
use crate::checkpoint::manifest::{Manifest, Saved};
use crate::checkpoint::names::{MANIFEST, ShardName};
use crate::checkpoint::parallel::in_order;
use crate::checkpoint::place::Place;
use crate::checkpoint::recover::{self, Step};
use crate::checkpoint::shard::{self, Reader};
use crate::checkpoint::stamps::{self, Stamps};
use crate::error::{Error, ErrorKind, Result};
use crate::key::KeyBuf;
use crate::store::core::canon::{Rest, Surveyed};
use crate::store::core::files::{LOG, cannot};
use crate::store::core::how::How;
use crate::store::core::settings::{KeyDialect, Settings};
use crate::store::core::shared::Shared;
use crate::sys::{file, process};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) place: Place,
    /// Not read yet where the stamps told all.
    manifest: Option<Manifest>,
    is_empty: bool,
    is_edited: bool,
    checkpoint: u64,
    log: [u64; 2],
    sequence: u64,
    /// Shards of a checkpoint that was not ended, which a reader reads where they are.
    elsewhere: BTreeMap<u64, PathBuf>,
    /// The manifest says what is not on the disk yet: it is written once the files it tells of went into a log, since only that shows
    /// that they can be used. Until then a person may take an edit back.
    is_unwritten: bool,
}

impl Found {
    fn of(place: Place, manifest: Manifest, elsewhere: BTreeMap<u64, PathBuf>) -> Found {
        Found {
            place,
            is_empty: false,
            is_edited: manifest.is_edited,
            checkpoint: manifest.checkpoint.0,
            log: manifest.log.map_or([0; 2], |(one, other)| [one.0, other.0]),
            sequence: manifest.sequence,
            manifest: Some(manifest),
            elsewhere,
            is_unwritten: false,
        }
    }

    fn nothing(place: Place) -> Found {
        let (is_edited, checkpoint, log, sequence) = (false, 0, [0; 2], 0);
        let elsewhere = BTreeMap::new();
        Found { place, manifest: None, is_empty: true, is_edited, checkpoint, log, sequence, elsewhere, is_unwritten: false }
    }

    /// Where a shard is to be read.
    pub(crate) fn path(&self, manifest: &Manifest, number: u64) -> PathBuf {
        let name = ShardName { number, gzipped: manifest.settings.gzipped };
        self.elsewhere.get(&number).cloned().unwrap_or_else(|| name.path(&self.place.directory))
    }
}

impl Surveyed for Found {
    fn is_empty(&self) -> bool {
        self.is_empty
    }

    fn is_edited(&self, loaded: [u64; 2]) -> bool {
        self.is_edited && loaded[0] != self.checkpoint
    }

    fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    fn saved_in(&self, store: [u64; 2], loaded: [u64; 2]) -> Option<u64> {
        match () {
            () if loaded[0] == self.checkpoint => Some(loaded[1]),
            () if self.log == store => Some(self.sequence),
            () => None,
        }
    }

    fn fill(&self, shared: &Shared, rest: &Rest) -> Result<u64> {
        let read;
        let manifest = match &self.manifest {
            Some(manifest) => manifest,
            None => {
                read = self.place.read_manifest()?.ok_or_else(|| shard::missing(&self.place.manifest()))?;
                &read
            }
        };
        let sequence = fill::fill(self, manifest, shared, rest)?;
        if self.is_unwritten {
            write_manifest(&self.place, manifest)?;
        }
        Ok(sequence)
    }
}

/// Looks at the files of a store that nobody has open.
pub(crate) fn survey(directory: &Path, how: &How) -> Result<Found> {
    let place = Place { directory: directory.to_owned(), file_mode: how.file_mode };
    if let Some(intent) = place.read_intent()? {
        return unended(place, intent, how);
    }
    let known = place.read_stamps();
    if let Some(found) = known.as_ref().and_then(|known| unchanged(&place, known)) {
        return Ok(found);
    }
    match place.read_manifest()? {
        Some(manifest) => compared(place, manifest, known.as_ref(), how),
        None => without_manifest(place, how),
    }
}

/// A checkpoint was not ended.
fn unended(place: Place, intent: Manifest, how: &How) -> Result<Found> {
    let old = place.read_manifest()?;
    if !how.read_only {
        install::end(&place, old.as_ref(), &intent, install::Edits::Refuse)?;
        return Ok(Found::of(place, intent, BTreeMap::new()));
    }
    let mut elsewhere = BTreeMap::new();
    for number in recover::changed(old.as_ref(), &intent) {
        let name = ShardName { number, gzipped: intent.settings.gzipped };
        let (in_place, aside) = (name.path(&place.directory), name.path(&place.aside()));
        let Some(new) = recover::saved_in(Some(&intent), number) else { continue };
        let was = old.as_ref().filter(|old| old.settings.gzipped == intent.settings.gzipped);
        match recover::step(recover::saved_in(was, number), new, shard::digest(&in_place)?, shard::digest(&aside)?) {
            Step::Done => {}
            Step::Install => drop(elsewhere.insert(number, aside)),
            Step::Edited => return Err(install::changed_on_disk(&in_place)),
        }
    }
    Ok(Found::of(place, intent, elsewhere))
}

/// The short way: every file is the one that somebody looked at before.
fn unchanged(place: &Place, known: &Stamps) -> Option<Found> {
    let directory = file::open(&place.directory, false).ok()?;
    let is_same = |name: &str, stamp: &stamps::FileStamp| {
        known.vouches_for(stamp) && file::stamp_in(&directory, name).is_ok_and(|now| stamps::of(&now) == *stamp)
    };
    let name = |number: usize, gzipped: bool| ShardName { number: number as u64, gzipped }.to_string();
    let count = known.shards.len();
    let all_same = is_same(MANIFEST, &known.manifest)
        && known.shards.iter().enumerate().all(|(number, stamp)| is_same(&name(number, known.gzipped), stamp))
        && ![false, true].iter().any(|gzipped| file::stamp_in(&directory, &name(count, *gzipped)).is_ok());
    all_same.then(|| Found {
        place: place.clone(),
        manifest: None,
        is_empty: false,
        is_edited: known.is_edited,
        checkpoint: known.checkpoint,
        log: known.log,
        sequence: known.sequence,
        elsewhere: BTreeMap::new(),
        is_unwritten: false,
    })
}

/// Compares the files with what the manifest says of them.
fn compared(place: Place, manifest: Manifest, known: Option<&Stamps>, how: &How) -> Result<Found> {
    let (manifest, edited) = with_edits(&place, manifest, known)?;
    // Files that were edited are noted by the next one who finds them unchanged.
    if !how.read_only && edited.is_empty() {
        place.note_stamps(&manifest);
    }
    let is_unwritten = !how.read_only && !edited.is_empty();
    Ok(Found { is_unwritten, ..Found::of(place, manifest, BTreeMap::new()) })
}

/// The manifest of the files as they are, and which of them were edited.
pub(crate) fn with_edits(place: &Place, mut manifest: Manifest, known: Option<&Stamps>) -> Result<(Manifest, BTreeSet<u64>)> {
    let (gzipped, dialect) = (manifest.settings.gzipped, manifest.settings.key_dialect);
    let known = known.filter(|known| (known.checkpoint, known.gzipped) == (manifest.checkpoint.0, gzipped));
    let mut edited = BTreeSet::new();
    let is_known = |number: u64, path: &Path| {
        let stamp = known.and_then(|known| known.shards.get(number as usize).filter(|stamp| known.vouches_for(stamp)));
        stamp.is_some_and(|stamp| file::stamp_at(path).is_ok_and(|now| stamps::of(&now) == *stamp))
    };
    let shards = std::mem::take(&mut manifest.shards);
    let look = |number: u64| {
        let (path, saved) = (ShardName { number, gzipped }.path(&place.directory), &shards[number as usize]);
        if is_known(number, &path) {
            return Ok(None);
        }
        let Some(digest) = shard::digest(&path)? else { return Err(shard::missing(&path)) };
        if saved.is(digest) { Ok(None) } else { read_through(&path, Some(saved), dialect).map(Some) }
    };
    in_order(shards.len() as u64, look, |number, changed| {
        if changed.is_some() {
            edited.insert(number);
        }
        manifest.shards.push(changed.unwrap_or_else(|| shards[number as usize].clone()));
        Ok(())
    })?;
    for name in shards_in(place)? {
        let next = manifest.shards.len() as u64;
        match () {
            () if name.gzipped == gzipped && name.number < next => {}
            () if name.gzipped == gzipped && name.number == next => {
                manifest.shards.push(read_through(&name.path(&place.directory), None, dialect)?);
                edited.insert(next);
            }
            () => return Err(line::wrong(&name.path(&place.directory), 0, "the manifest, pod.json, knows of no such file")),
        }
    }
    if !edited.is_empty() {
        manifest.is_edited = true;
        manifest.checkpoint.0 = process::random_words::<1>()[0] | 1;
    }
    Ok((manifest, edited))
}

pub(crate) fn write_manifest(place: &Place, manifest: &Manifest) -> Result<()> {
    place.write_whole(manifest.encode().as_bytes(), &place.manifest())?;
    place.sync(&place.directory)
}

/// Reads a file that nobody vouches for: what a manifest is to say of it.
fn read_through(path: &Path, saved: Option<&Saved>, dialect: KeyDialect) -> Result<Saved> {
    let mut reader = Reader::open(path, saved)?;
    let (mut key, mut value) = (KeyBuf::default(), Vec::new());
    while reader
        .next(|line| {
            value.clear();
            line::parse(line, dialect, &mut key, &mut value)
        })?
        .is_some()
    {}
    if let Some(saved) = saved.filter(|saved| saved.is_cut_off_to(reader.marks())) {
        let what = format!("the file ends here; {} lines were saved, and all before this is as it was: it was cut off", saved.lines());
        return Err(line::wrong(path, reader.marks().lines() + 1, &what));
    }
    Ok(reader.marks().saved(reader.digest()))
}

/// The shard files in the directory, in order.
fn shards_in(place: &Place) -> Result<Vec<ShardName>> {
    let entries = std::fs::read_dir(&place.directory).map_err(|error| cannot("read", &place.directory, error))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| cannot("read", &place.directory, error))?;
        names.extend(entry.file_name().to_str().and_then(ShardName::parse));
    }
    names.sort_unstable();
    Ok(names)
}

const TASTYPY_FILE_SIZE: u64 = 1000;

/// A directory that tastypy made, or an empty one.
fn without_manifest(place: Place, how: &How) -> Result<Found> {
    let names = shards_in(&place)?;
    let Some(first) = names.first() else { return Ok(Found::nothing(place)) };
    if place.live().join(LOG).exists() {
        return Err(line::wrong(&place.manifest(), 0, "the file is missing, and there are shards"));
    }
    for (index, name) in names.iter().enumerate() {
        if name.number != index as u64 || name.gzipped != first.gzipped {
            let expected = ShardName { number: index as u64, gzipped: first.gzipped }.path(&place.directory);
            return Err(if name.number > index as u64 { shard::missing(&expected) } else { two_forms(&name.path(&place.directory)) });
        }
    }
    let shards = names.iter().map(|name| read_through(&name.path(&place.directory), None, KeyDialect::Tastypy));
    let shards = shards.collect::<Result<Vec<Saved>>>()?;
    let longest = shards.iter().map(Saved::lines).max().unwrap_or(0);
    let file_size = match how.wanted.file_size {
        Some(wanted) => wanted,
        None if shards.len() > 1 => shards[0].lines().max(1),
        // With the file size that tastypy takes by itself it goes on reading the store.
        None => TASTYPY_FILE_SIZE.max(longest),
    };
    if let Some(wanted) = how.wanted.file_size {
        let found = shards[0].lines();
        if found > wanted || found != wanted && shards.len() > 1 {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "{}: file_size {wanted} is asked for, and the first of {} files has {found} entries; open it without file_size, and \
                     convert it if you want another",
                    place.directory.display(),
                    shards.len(),
                ),
            ));
        }
    }
    for (index, saved) in shards.iter().enumerate() {
        let is_last = index + 1 == shards.len();
        if saved.lines() != file_size && !(is_last && saved.lines() < file_size) {
            let what = format!("{} entries in a store of {file_size} a file", saved.lines());
            return Err(line::wrong(&names[index].path(&place.directory), saved.lines(), &what));
        }
    }
    let settings = Settings { file_size, gzipped: first.gzipped, key_dialect: KeyDialect::Tastypy, ..how.wanted.settings() };
    let manifest = Manifest::new(settings, None, 0, shards, process::random_words::<1>()[0] | 1);
    Ok(Found { is_unwritten: !how.read_only, ..Found::of(place, manifest, BTreeMap::new()) })
}

#[cold]
fn two_forms(path: &Path) -> Error {
    let what = "it stands beside compressed or uncompressed files of the same store";
    let message = format!("{}: {what}; move those away that are not the store's; nothing was changed", path.display());
    Error::new(ErrorKind::Integrity { path: path.to_owned(), line: 0, what: what.to_owned() }, message)
}
