//! Going back to what the shards say, for every process: one transaction that undoes what was changed since they were saved, and takes
//! over what somebody edited in them since.
//!
//! Entries keep the places that they have in the files: a key that was removed gets its old ordinal back (a *placed* record). Only where an
//! edit added entries or moved them, or a key was removed and added again, all of them get new places, behind the old ones.

use crate::checkpoint::fill;
use crate::checkpoint::install::{self, Edits};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::names::ShardName;
use crate::checkpoint::place::Place;
use crate::checkpoint::save::place_of;
use crate::checkpoint::shard;
use crate::checkpoint::survey;
use crate::error::Result;
use crate::log::batch::Batch;
use crate::log::record::{Kind, Record};
use crate::store::core::shared::Shared;
use crate::store::saving::sync_lock::SyncLock;
use crate::store::write::locked::Locked;
use crate::sys::process;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What shards say, by their numbers.
type Shards = BTreeMap<u64, Vec<Batch>>;

/// Undoes everything that is not in the shards.
pub(crate) fn revert(shared: &Shared, timeout: Duration) -> Result<()> {
    shared.enter()?;
    shared.require_writer()?;
    shared.require_not_held()?;
    let place = place_of(shared)?;
    revert_in(&place, shared, timeout)
        .map_err(|error| shared.require_in_place().err().unwrap_or_else(|| error.renamed(&place.directory, &shared.directory)))
}

fn revert_in(place: &Place, shared: &Shared, timeout: Duration) -> Result<()> {
    let Some(_lock) = SyncLock::acquire(shared, timeout, true)? else { return Ok(()) };
    shared.require_in_place()?;
    let mut manifest = place.read_manifest()?;
    if let Some(intent) = place.read_intent()? {
        install::end(place, manifest.as_ref(), &intent, Edits::Keep)?;
        shared.note_saved_by_another(intent.sequence, timeout)?;
        manifest = Some(intent);
    }
    let settings = shared.settings()?.unwrap_or_default();
    let manifest = manifest.unwrap_or_else(|| Manifest::new(settings, Some(shared.header.store), 0, Vec::new(), 0));
    let (manifest, edited) = survey::with_edits(place, manifest, None)?;
    let mut shards = Shards::new();
    if !has_places(shared, &manifest) {
        return afresh(place, shared, manifest, timeout);
    }
    let sequence = loop {
        let locked = Locked::new(shared, timeout)?;
        let wanted = concerned(shared, &manifest, &edited)?;
        let missing: Vec<u64> = wanted.into_iter().filter(|number| !shards.contains_key(number)).collect();
        if missing.is_empty() {
            break undo(&locked, &manifest, &shards)?;
        }
        // Read without the mutex; meanwhile more may change.
        drop(locked);
        for number in missing {
            shards.insert(number, read(place, shared, &manifest, number)?);
        }
    };
    let sequence = match sequence {
        Some(sequence) => sequence,
        None => return afresh(place, shared, manifest, timeout),
    };
    let checkpoint = process::random_words::<1>()[0] | 1;
    let first = shared.first_ordinal(sequence);
    let manifest = Manifest { first, ..Manifest::new(manifest.settings, Some(shared.header.store), sequence, manifest.shards, checkpoint) };
    survey::write_manifest(place, &manifest)?;
    place.note_stamps(&manifest);
    Ok(())
}

fn read(place: &Place, shared: &Shared, manifest: &Manifest, number: u64) -> Result<Vec<Batch>> {
    let Some(saved) = manifest.shards.get(number as usize) else { return Ok(Vec::new()) };
    let path = ShardName { number, gzipped: manifest.settings.gzipped }.path(&place.directory);
    if !path.exists() {
        return Err(shard::missing(&path));
    }
    fill::parse(&path, saved, manifest.settings.key_dialect, shared.header.seed, Batch::default)
}

/// Whether the places in the files are those in the log: not after a compaction since they were saved, or in the middle of one.
fn has_places(shared: &Shared, manifest: &Manifest) -> bool {
    let first = if manifest.stands_for(shared.header.store) { manifest.first } else { 0 };
    shared.first_ordinal(shared.control.commit.newest()) == first && shared.control.order.fill.get() == 0
}

/// The shards that are other than the store's entries, or may be.
fn concerned(shared: &Shared, manifest: &Manifest, edited: &BTreeSet<u64>) -> Result<BTreeSet<u64>> {
    let first = shared.first_ordinal(shared.control.commit.newest());
    let mut numbers = edited.clone();
    shared.for_each_changed(shared.saved(), |record| {
        numbers.insert((record.ordinal() - first) / manifest.settings.file_size);
        Ok(())
    })?;
    Ok(numbers)
}

/// Undoes it in place, if the files' entries have places: returns the transaction that the files stand for from then on. A key's place
/// is where it stands, or, if it was removed since, where it stood.
fn undo(locked: &Locked<&Shared>, manifest: &Manifest, shards: &Shards) -> Result<Option<u64>> {
    let shared = locked.shared();
    let counters = shared.counters()?;
    let (start, next_ordinal) = (shared.first_ordinal(counters.sequence), counters.next_ordinal);
    let mut changes = Batch { is_copied: true, ..Batch::default() };
    let mut gone: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut restored: HashMap<&[u8], (u64, Record<'_>)> = HashMap::new();
    for (number, batches) in shards {
        let mut entries =
            batches.iter().flat_map(|batch| (0..batch.records.len()).filter_map(|index| Record::of(batch.record(index)))).peekable();
        let first = start + number * manifest.settings.file_size;
        for ordinal in first..next_ordinal.min(first.saturating_add(manifest.settings.file_size)) {
            let Some(position) = shared.ordinal_head(ordinal) else { continue };
            let there = shared.record(position)?;
            let entry = entries.next_if(|entry| entry.key() == there.key());
            match (there.is_set(), entry) {
                (true, Some(entry)) if entry.value() == there.value() => {}
                (true, Some(entry)) => changes.push(Kind::Set, entry.hash(), entry.key(), false, |out| {
                    out.extend_from_slice(entry.value());
                    Ok::<(), crate::Error>(())
                })?,
                (true, None) => gone.push((there.hash(), there.key().to_vec())),
                (false, Some(entry)) => drop(restored.insert(entry.key(), (ordinal, entry))),
                (false, None) => {}
            }
        }
        if entries.peek().is_some() {
            return Ok(None);
        }
    }
    // Of one transaction, the record with the highest ordinal is a key's newest: none can be removed and get a lower one in the same.
    if gone.iter().any(|(_, key)| restored.contains_key(&key[..])) {
        return Ok(None);
    }
    for (hash, key) in &gone {
        changes.push(Kind::Remove, *hash, key, false, |_| Ok::<(), crate::Error>(()))?;
    }
    for (ordinal, entry) in restored.into_values() {
        changes.push(Kind::Set, entry.hash(), entry.key(), false, |out| {
            out.extend_from_slice(entry.value());
            Ok::<(), crate::Error>(())
        })?;
        if let Some(placed) = changes.records.last_mut() {
            (placed.is_placed, placed.ordinal) = (true, ordinal);
        }
    }
    let sequence = if changes.is_empty() { shared.control.commit.newest() } else { locked.commit(&mut changes)? };
    shared.begin_saving(locked, sequence)?;
    shared.end_saving(locked);
    Ok(Some(sequence))
}

/// Gives all entries new places, in the order of the files.
fn afresh(place: &Place, shared: &Shared, manifest: Manifest, timeout: Duration) -> Result<()> {
    let mut all = Batch::default();
    for number in 0..manifest.shards.len() as u64 {
        for batch in read(place, shared, &manifest, number)? {
            for entry in (0..batch.records.len()).filter_map(|index| Record::of(batch.record(index))) {
                all.push(Kind::Set, entry.hash(), entry.key(), false, |out| {
                    out.extend_from_slice(entry.value());
                    Ok::<(), crate::Error>(())
                })?;
            }
        }
    }
    if let Some(double) = all.first_double() {
        let key = Record::of(all.record(double)).and_then(|record| crate::key::Key::decode(record.key()).ok());
        let what = format!("key {} stands in two files", key.map_or_else(String::new, |key| key.to_json()));
        return Err(crate::checkpoint::line::wrong(&place.manifest(), 0, &what));
    }
    let locked = Locked::new(shared, timeout)?;
    let mut batch = Batch { is_copied: true, ..Batch::default() };
    let counters = shared.counters()?;
    let mut there: HashMap<Vec<u8>, u64> = HashMap::new();
    for ordinal in shared.first_ordinal(counters.sequence)..counters.next_ordinal {
        if let Some(record) = shared.ordinal_head(ordinal).map(|position| shared.record(position)).transpose()?
            && record.is_set()
        {
            there.insert(record.key().to_vec(), record.hash());
        }
    }
    for entry in (0..all.records.len()).filter_map(|index| Record::of(all.record(index))) {
        let was_there = there.remove(entry.key()).is_some();
        if was_there {
            batch.push(Kind::Remove, entry.hash(), entry.key(), false, |_| Ok::<(), crate::Error>(()))?;
        }
        batch.push(Kind::Set, entry.hash(), entry.key(), was_there, |out| {
            out.extend_from_slice(entry.value());
            Ok::<(), crate::Error>(())
        })?;
    }
    for (key, hash) in there {
        batch.push(Kind::Remove, hash, &key, false, |_| Ok::<(), crate::Error>(()))?;
    }
    if !batch.is_empty() {
        let sequence = locked.commit(&mut batch)?;
        locked.finish(sequence)?;
    }
    // From here on the files are what was saved: what is there now is written anew with the next saving.
    survey::write_manifest(place, &manifest)?;
    place.note_stamps(&manifest);
    Ok(())
}
