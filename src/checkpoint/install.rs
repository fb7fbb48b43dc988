//! The second half of a checkpoint, from the power-safe intent on: the shards take their places, then the manifest. Whoever finds an
//! intent goes through it, the one who made it or another after his death; `recover.rs` says what is done with each shard.

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::names::ShardName;
use crate::checkpoint::place::Place;
use crate::checkpoint::recover::{self, Step};
use crate::checkpoint::shard;
use crate::error::{Error, ErrorKind, Result};
use crate::store::core::files::cannot;
use crate::sys::{file, names};
use std::io;
use std::path::Path;

/// What becomes of a file that somebody else changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edits {
    /// It stays, and the checkpoint fails.
    Refuse,
    /// It stays, and the rest is done.
    Keep,
    Overwrite,
}

#[cold]
pub(crate) fn changed_on_disk(path: &Path) -> Error {
    let message = format!(
        "{} was edited while the store was open; nothing was overwritten: revert() takes the edit and gives up what was not saved, sync_overwrite() keeps the store's entries",
        path.display()
    );
    Error::new(ErrorKind::ChangedOnDisk { path: path.to_owned() }, message)
}

/// Ends a checkpoint. May be repeated after a kill or a power cut at any moment.
pub(crate) fn end(place: &Place, old: Option<&Manifest>, intent: &Manifest, edits: Edits) -> Result<()> {
    let gzipped = intent.settings.gzipped;
    let was = old.filter(|old| old.settings.gzipped == gzipped);
    let changed = recover::changed(old, intent);
    let names = |number: &u64| {
        let name = ShardName { number: *number, gzipped };
        (name.path(&place.directory), name.path(&place.aside()))
    };
    for number in &changed {
        let (in_place, aside) = names(number);
        let (Some(new), before) = (recover::saved_in(Some(intent), *number), recover::saved_in(was, *number)) else { continue };
        let found = shard::digest(&in_place)?;
        match recover::step(before, new, found, shard::digest(&aside)?) {
            Step::Done => {}
            Step::Edited if edits == Edits::Keep => {}
            Step::Edited if edits == Edits::Refuse => return Err(changed_on_disk(&in_place)),
            Step::Edited if !shard::digest(&aside)?.is_some_and(|digest| new.is(digest)) => return Err(shard::missing(&aside)),
            Step::Install | Step::Edited if found.is_none() => {
                match names::rename_to_new(&aside, &in_place) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(changed_on_disk(&in_place)),
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => file::rename(&aside, &in_place),
                    outcome => outcome,
                }
                .map_err(|error| cannot("put in place", &in_place, error))?;
            }
            // What a link leads to was looked at just now, and is nobody's to move.
            Step::Install | Step::Edited if in_place.is_symlink() => {
                file::rename(&aside, &in_place).map_err(|error| cannot("put in place", &in_place, error))?;
            }
            Step::Install | Step::Edited => {
                let replaced = match names::exchange(&aside, &in_place) {
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        // It was looked at a moment ago.
                        file::rename(&aside, &in_place).map_err(|error| cannot("put in place", &in_place, error))?;
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(changed_on_disk(&in_place)),
                    Err(error) => return Err(cannot("put in place", &in_place, error)),
                    Ok(()) => shard::digest(&aside)?,
                };
                let is_expected = replaced.is_some_and(|digest| before.is_some_and(|before| before.is(digest)));
                if !is_expected && edits != Edits::Overwrite {
                    names::exchange(&aside, &in_place).map_err(|error| cannot("put back", &in_place, error))?;
                    if edits == Edits::Refuse {
                        return Err(changed_on_disk(&in_place));
                    }
                }
            }
        }
    }
    for name in recover::dropped(old, intent) {
        let path = name.path(&place.directory);
        let was = recover::saved_in(old, name.number);
        match shard::digest(&path)? {
            None => {}
            Some(digest) if edits == Edits::Overwrite || was.is_some_and(|was| was.is(digest)) => {
                file::remove(&path).map_err(|error| cannot("remove", &path, error))?;
            }
            Some(_) if edits == Edits::Keep => {}
            Some(_) => return Err(changed_on_disk(&path)),
        }
    }
    place.sync(&place.directory)?;
    file::rename(&place.intent(), &place.manifest()).map_err(|error| cannot("put in place", &place.manifest(), error))?;
    place.sync(&place.directory)?;
    place.sync(&place.live())?;
    for number in &changed {
        // What stood there before, or a copy that was not needed.
        let _ = file::remove(&names(number).1);
    }
    place.note_stamps(intent);
    Ok(())
}
