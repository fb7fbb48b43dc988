//! `Mutex<IndexMap>` of one process, as the measure of what memory alone allows.

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use indexmap::IndexMap;
use serde_json::Value;

use super::text::{self, Scan};
use super::{Engine, Entries};
use crate::data::Doc;

type Map = IndexMap<String, Vec<u8>>;

#[derive(Clone)]
struct Store(Arc<Mutex<Map>>);

pub fn open(_capacity: usize) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Store(Arc::default())))
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.lock().expect("no lane panics with the lock in its hand")
    }
}

impl Scan for Store {
    fn scan(&self, mut visit: impl FnMut(&[u8])) -> Result<()> {
        self.lock().values().for_each(|text| visit(text));
        Ok(())
    }
}

impl Engine for Store {
    fn view(&self, key: &str) -> Result<u64> {
        text::present(self.lock().get(key).map(|text| text::touch(text)))
    }

    fn get_as(&self, key: &str) -> Result<Doc> {
        text::to_doc(text::present(self.lock().get(key))?)
    }

    fn get(&self, key: &str) -> Result<Value> {
        text::to_value(text::present(self.lock().get(key))?)
    }

    fn set(&self, key: &str, document: &Doc) -> Result<()> {
        let text = text::encode(document)?;
        let mut map = self.lock();
        match map.get_mut(key) {
            Some(place) => *place = text,
            None => drop(map.insert(key.to_owned(), text)),
        }
        Ok(())
    }

    fn extend(&self, entries: &mut Entries<'_>) -> Result<()> {
        let mut map = self.lock();
        for (key, document) in entries {
            map.insert(key.to_owned(), text::encode(document)?);
        }
        Ok(())
    }

    fn increment(&self, key: &str) -> Result<()> {
        let mut map = self.lock();
        let text = text::present(map.get_mut(key))?;
        *text = text::incremented(text)?;
        Ok(())
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
