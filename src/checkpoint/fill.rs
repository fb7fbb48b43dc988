//! Loading: from shard files into an empty store. Shards are read by as many threads as there are processors; one thread commits them in
//! their order.

use crate::checkpoint::line;
use crate::checkpoint::manifest::{Manifest, Saved};
use crate::checkpoint::parallel::in_order;
use crate::checkpoint::shard::Reader;
use crate::checkpoint::survey::Found;
use crate::error::{ErrorKind, Result};
use crate::key::{Key, KeyBuf};
use crate::limits::GAP_MAX;
use crate::log::batch::Batch;
use crate::log::record::{self, Kind, Record};
use crate::store::core::canon::Rest;
use crate::store::core::settings::KeyDialect;
use crate::store::core::shared::Shared;
use crate::store::write::locked::Locked;
use crate::value;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Nobody else can hold the mutex of a store that is being loaded.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A transaction of the loading is at most so large, but for one record.
const BATCH_RECORDS: usize = 16 * 1024;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Puts everything in: returns the last transaction that the files stand for.
pub(crate) fn fill(found: &Found, manifest: &Manifest, shared: &Shared, rest: &Rest) -> Result<u64> {
    let mut batch = Batch::default();
    batch.push(Kind::Settings, 0, &[], false, |out| value::encode(&manifest.settings, out))?;
    commit(shared, &mut batch)?;
    expect_keys(shared, manifest)?;
    // Memory of batches that are in the log, for the next ones.
    let spare: Mutex<Vec<Batch>> = Mutex::default();
    let spare = || spare.lock().unwrap_or_else(PoisonError::into_inner);
    let mut loading = Loading { shared, file_size: manifest.settings.file_size, saved: None };
    let parse = |number: u64| {
        let path = found.path(manifest, number);
        let batch = || spare().pop().unwrap_or_default();
        parse(&path, &manifest.shards[number as usize], manifest.settings.key_dialect, shared.header.seed, batch)
    };
    let count = manifest.shards.len() as u64;
    in_order(count, parse, |number, mut batches| {
        loading.add(number, &found.path(manifest, number), &mut batches)?;
        batches.iter_mut().for_each(Batch::clear);
        spare().append(&mut batches);
        Ok(())
    })?;
    let saved = loading.saved.unwrap_or_else(|| shared.control.commit.newest());
    add_rest(shared, rest)?;
    Ok(saved)
}

fn commit(shared: &Shared, batch: &mut Batch) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let locked = Locked::new(shared, TIMEOUT)?;
    batch.is_copied = true;
    let sequence = locked.commit(batch)?;
    locked.finish(sequence)
}

/// What a log had beyond the files comes on top of them.
fn add_rest(shared: &Shared, rest: &Rest) -> Result<()> {
    let hash = |key: &[u8]| record::hash_of(key, shared.header.seed);
    let mut batch = Batch::default();
    for key in &rest.removed {
        if shared.get(hash(key), key)?.is_some() {
            batch.push(Kind::Remove, hash(key), key, false, |_| Ok::<(), crate::Error>(()))?;
        }
    }
    batch.keep_one_of_each_key(true);
    commit(shared, &mut batch)?;
    let mut batch = Batch::default();
    for (key, value) in &rest.set {
        batch.push(Kind::Set, hash(key), key, false, |out| {
            out.extend_from_slice(value);
            Ok::<(), crate::Error>(())
        })?;
    }
    commit(shared, &mut batch)
}

/// Makes the table large enough at once, as far as the manifest can be believed: an entry takes four bytes of a file at least.
fn expect_keys(shared: &Shared, manifest: &Manifest) -> Result<()> {
    let most = |saved: &Saved| if manifest.settings.gzipped { saved.file_bytes() } else { saved.file_bytes() / 4 };
    let keys = manifest.shards.iter().map(|saved| saved.lines().min(most(saved))).sum();
    let _locked = Locked::new(shared, TIMEOUT)?;
    shared.expect_keys(keys)
}

/// Reads one file, into batches that `fresh` makes.
pub(crate) fn parse(path: &Path, saved: &Saved, dialect: KeyDialect, seed: u64, fresh: impl Fn() -> Batch) -> Result<Vec<Batch>> {
    let mut reader = Reader::open(path, Some(saved))?.without_marks();
    let mut batches = Vec::new();
    let mut batch = fresh();
    let mut key = KeyBuf::default();
    loop {
        let next = reader.next(|line| {
            let (key_text, value_text) = line::parts(line)?;
            line::parse_key(key_text, dialect, &mut key)?;
            let pushed = batch.push(Kind::Set, record::hash_of(&key, seed), &key, false, |out| value::encode_json(value_text, out));
            pushed.map_err(|error| error.to_string())
        })?;
        let is_full = batch.records.len() >= BATCH_RECORDS || batch.bytes.len() >= BATCH_BYTES;
        if next.is_none() || is_full {
            batch.records.iter_mut().for_each(|record| record.must_be_new = true);
            batches.push(batch);
            if next.is_none() {
                break;
            }
            batch = fresh();
        }
    }
    if saved.is(reader.digest()) { Ok(batches) } else { Err(line::wrong(path, 0, "it was changed while the store was being opened")) }
}

/// A store that is being filled.
struct Loading<'a> {
    shared: &'a Shared,
    file_size: u64,
    /// The last transaction whose entries stand in the places that the files give them, once there are others.
    saved: Option<u64>,
}

impl Loading<'_> {
    /// Adds a shard's entries.
    fn add(&mut self, number: u64, path: &Path, batches: &mut [Batch]) -> Result<()> {
        let lines: usize = batches.iter().map(|batch| batch.records.len()).sum();
        let counters = self.shared.counters()?;
        let first = number.saturating_mul(self.file_size);
        let gap = first.checked_sub(counters.next_ordinal);
        if lines > 0 && (gap.is_none_or(|gap| gap > GAP_MAX) || lines as u64 > self.file_size) {
            self.saved.get_or_insert(counters.sequence);
        }
        let mut line = 1;
        for (index, batch) in batches.iter_mut().enumerate() {
            if let Some(record) = batch.records.first_mut()
                && index == 0
                && gap.is_some_and(|gap| (1..=GAP_MAX).contains(&gap))
            {
                (record.is_placed, record.ordinal) = (true, first);
            }
            let double = batch.first_double();
            let outcome = if double.is_some() { Ok(()) } else { commit(self.shared, batch) };
            if let Some(refused) = double.or(batch.refused) {
                let key = Record::of(batch.record(refused)).and_then(|record| Key::decode(record.key()).ok());
                let what = match outcome {
                    Err(error) if error.kind() != ErrorKind::DuplicateKey => error.to_string(),
                    _ => format!("key {} stands in an earlier line too", key.map_or_else(String::new, |key| key.to_json())),
                };
                return Err(line::wrong(path, line + refused as u64, &what));
            }
            outcome?;
            line += batch.records.len() as u64;
        }
        Ok(())
    }
}
