//! LMDB through heed. Every read is a read transaction of its own, as it must be to see what others have written.

use std::path::Path;

use anyhow::Result;
use heed::types::{Bytes, Str};
use heed::{Database, Env, EnvFlags, EnvOpenOptions};
use serde_json::Value;

use super::text::{self, Scan};
use super::{Engine, Entries};
use crate::data::Doc;

/// Address space, not memory: LMDB cannot grow a map that others have open.
const MAP_SIZE_BASE: usize = 8 << 30;
const MAP_SIZE_PER_KEY: usize = 1 << 10;

#[derive(Clone, Copy, PartialEq)]
pub enum Writes {
    /// Straight into the map.
    Mapped,
    /// With write(2).
    Copied,
    /// With write(2), and on the disk before a commit returns.
    Durable,
}

struct Store {
    environment: Env,
    database: Database<Str, Bytes>,
}

#[allow(unsafe_code)]
pub fn open(directory: &Path, capacity: usize, writes: Writes) -> Result<Box<dyn Engine>> {
    let flags = match writes {
        Writes::Mapped => EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP,
        Writes::Copied => EnvFlags::NO_SYNC,
        Writes::Durable => EnvFlags::empty(),
    };
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_SIZE_BASE + capacity * MAP_SIZE_PER_KEY);
    // SAFETY: without syncs a power cut may spoil the file, which is deleted after the run; NO_LOCK is not asked for.
    unsafe { options.flags(flags) };
    // SAFETY: only LMDB touches the files of this directory, which the run has made for itself.
    let environment = unsafe { options.open(directory)? };
    let mut transaction = environment.write_txn()?;
    let database = environment.create_database(&mut transaction, None)?;
    transaction.commit()?;
    Ok(Box::new(Store { environment, database }))
}

impl Store {
    fn read<R>(&self, key: &str, use_text: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        let transaction = self.environment.read_txn()?;
        use_text(text::present(self.database.get(&transaction, key)?)?)
    }
}

impl Scan for Store {
    fn scan(&self, mut visit: impl FnMut(&[u8])) -> Result<()> {
        let transaction = self.environment.read_txn()?;
        for entry in self.database.iter(&transaction)? {
            visit(entry?.1);
        }
        Ok(())
    }
}

impl Engine for Store {
    fn view(&self, key: &str) -> Result<u64> {
        self.read(key, |text| Ok(text::touch(text)))
    }

    fn get_as(&self, key: &str) -> Result<Doc> {
        self.read(key, text::to_doc)
    }

    fn get(&self, key: &str) -> Result<Value> {
        self.read(key, text::to_value)
    }

    fn set(&self, key: &str, document: &Doc) -> Result<()> {
        let text = text::encode(document)?;
        let mut transaction = self.environment.write_txn()?;
        self.database.put(&mut transaction, key, &text)?;
        Ok(transaction.commit()?)
    }

    fn extend(&self, entries: &mut Entries<'_>) -> Result<()> {
        let mut transaction = self.environment.write_txn()?;
        for (key, document) in entries {
            self.database.put(&mut transaction, key, &text::encode(document)?)?;
        }
        Ok(transaction.commit()?)
    }

    fn increment(&self, key: &str) -> Result<()> {
        let mut transaction = self.environment.write_txn()?;
        let text = text::incremented(text::present(self.database.get(&transaction, key)?)?)?;
        self.database.put(&mut transaction, key, &text)?;
        Ok(transaction.commit()?)
    }

    fn iterate(&self) -> Result<u64> {
        text::count(self)
    }

    fn sum_tries(&self) -> Result<u64> {
        text::sum_tries(self)
    }
}
