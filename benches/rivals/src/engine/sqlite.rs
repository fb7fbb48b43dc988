//! SQLite in WAL mode, without syncs or with one for each commit.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::Value;

use super::text::{self, Scan};
use super::{Engine, Entries};
use crate::data::Doc;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
const GET: &str = "SELECT value FROM documents WHERE key = ?1";
const SET: &str = "INSERT INTO documents (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const ALL: &str = "SELECT value FROM documents ORDER BY key";

struct Store {
    connection: Connection,
}

pub fn open(directory: &Path, synchronous: &str) -> Result<Box<dyn Engine>> {
    let connection = Connection::open(directory.join("store.sqlite"))?;
    connection.busy_timeout(Duration::from_secs(60))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "mmap_size", 4_i64 << 30)?;
    connection.execute(CREATE, [])?;
    Ok(Box::new(Store { connection }))
}

impl Store {
    fn read<R>(&self, key: &str, use_text: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        let mut statement = self.connection.prepare_cached(GET)?;
        let outcome = statement.query_row([key], |row| Ok(use_text(row.get_ref(0)?.as_blob()?))).optional()?;
        text::present(outcome)?
    }

    fn write(&self, key: &str, text: &[u8]) -> Result<()> {
        self.connection.prepare_cached(SET)?.execute(params![key, text])?;
        Ok(())
    }

    fn begin(&self) -> Result<Transaction<'_>> {
        Ok(Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?)
    }
}

impl Scan for Store {
    fn scan(&self, mut visit: impl FnMut(&[u8])) -> Result<()> {
        let mut statement = self.connection.prepare_cached(ALL)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?);
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
        self.write(key, &text::encode(document)?)
    }

    fn extend(&self, entries: &mut Entries<'_>) -> Result<()> {
        let transaction = self.begin()?;
        for (key, document) in entries {
            self.set(key, document)?;
        }
        Ok(transaction.commit()?)
    }

    fn increment(&self, key: &str) -> Result<()> {
        let transaction = self.begin()?;
        self.write(key, &self.read(key, text::incremented)?)?;
        Ok(transaction.commit()?)
    }

    fn iterate(&self) -> Result<u64> {
        text::count(self)
    }

    fn sum_tries(&self) -> Result<u64> {
        text::sum_tries(self)
    }
}
