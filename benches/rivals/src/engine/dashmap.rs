//! `DashMap` of one process: locks by shard, no order.

use std::sync::Arc;

use anyhow::Result;
use dashmap::DashMap;
use serde_json::Value;

use super::text::{self, Scan};
use super::{Engine, Entries};
use crate::data::Doc;

#[derive(Clone)]
struct Store(Arc<DashMap<String, Vec<u8>>>);

pub fn open(_capacity: usize) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Store(Arc::default())))
}

impl Scan for Store {
    fn scan(&self, mut visit: impl FnMut(&[u8])) -> Result<()> {
        self.0.iter().for_each(|entry| visit(entry.value()));
        Ok(())
    }
}

impl Engine for Store {
    fn view(&self, key: &str) -> Result<u64> {
        text::present(self.0.get(key).map(|text| text::touch(&text)))
    }

    fn get_as(&self, key: &str) -> Result<Doc> {
        text::to_doc(&text::present(self.0.get(key))?)
    }

    fn get(&self, key: &str) -> Result<Value> {
        text::to_value(&text::present(self.0.get(key))?)
    }

    fn set(&self, key: &str, document: &Doc) -> Result<()> {
        let text = text::encode(document)?;
        match self.0.get_mut(key) {
            Some(mut place) => *place = text,
            None => drop(self.0.insert(key.to_owned(), text)),
        }
        Ok(())
    }

    fn extend(&self, entries: &mut Entries<'_>) -> Result<()> {
        for (key, document) in entries {
            self.0.insert(key.to_owned(), text::encode(document)?);
        }
        Ok(())
    }

    fn increment(&self, key: &str) -> Result<()> {
        let mut text = text::present(self.0.get_mut(key))?;
        *text = text::incremented(&text)?;
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
