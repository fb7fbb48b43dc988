//! redb in one process: its multi-process mode refuses commits without durability.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde_json::Value;

use super::text::{self, Scan};
use super::{Engine, Entries};
use crate::data::Doc;

const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("documents");

#[derive(Clone)]
struct Store(Arc<Database>, Durability);

pub fn open(directory: &Path, durability: Durability) -> Result<Box<dyn Engine>> {
    let store = Store(Arc::new(Database::create(directory.join("store.redb"))?), durability);
    let transaction = store.begin_write()?;
    transaction.open_table(TABLE)?;
    transaction.commit()?;
    Ok(Box::new(store))
}

impl Store {
    fn begin_write(&self) -> Result<WriteTransaction> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(self.1)?;
        Ok(transaction)
    }

    fn read<R>(&self, key: &str, use_text: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        use_text(text::present(table.get(key)?)?.value())
    }
}

impl Scan for Store {
    fn scan(&self, mut visit: impl FnMut(&[u8])) -> Result<()> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        for entry in table.iter()? {
            visit(entry?.1.value());
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
        let transaction = self.begin_write()?;
        transaction.open_table(TABLE)?.insert(key, text.as_slice())?;
        Ok(transaction.commit()?)
    }

    fn extend(&self, entries: &mut Entries<'_>) -> Result<()> {
        let transaction = self.begin_write()?;
        let mut table = transaction.open_table(TABLE)?;
        for (key, document) in entries {
            table.insert(key, text::encode(document)?.as_slice())?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn increment(&self, key: &str) -> Result<()> {
        let transaction = self.begin_write()?;
        let mut table = transaction.open_table(TABLE)?;
        let text = text::incremented(text::present(table.get(key)?)?.value())?;
        table.insert(key, text.as_slice())?;
        drop(table);
        Ok(transaction.commit()?)
    }

    fn iterate(&self) -> Result<u64> {
        text::count(self)
    }

    fn sum_tries(&self) -> Result<u64> {
        text::sum_tries(self)
    }

    fn share(&self) -> Option<Box<dyn Engine + Send>> {
        Some(Box::new(self.clone()))
    }
}
