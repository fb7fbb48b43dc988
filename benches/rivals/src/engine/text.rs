//! What the rivals share: they store the document as JSON text.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::data::Doc;

pub fn encode(document: &Doc) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(document)?)
}

pub fn to_doc(text: &[u8]) -> Result<Doc> {
    Ok(serde_json::from_slice(text)?)
}

pub fn to_value(text: &[u8]) -> Result<Value> {
    Ok(serde_json::from_slice(text)?)
}

pub fn incremented(text: &[u8]) -> Result<Vec<u8>> {
    let mut document = to_doc(text)?;
    document.tries += 1;
    encode(&document)
}

/// The cheapest proof that the bytes can be read.
#[inline]
pub fn touch(text: &[u8]) -> u64 {
    text.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

pub fn present<T>(found: Option<T>) -> Result<T> {
    found.context("a key that was stored is missing")
}

/// The engine's own fastest loop over all values in place.
pub trait Scan {
    fn scan(&self, visit: impl FnMut(&[u8])) -> Result<()>;
}

pub fn count(store: &impl Scan) -> Result<u64> {
    let (mut count, mut touched) = (0, 0);
    store.scan(|text| {
        count += 1;
        touched ^= touch(text);
    })?;
    std::hint::black_box(touched);
    Ok(count)
}

pub fn sum_tries(store: &impl Scan) -> Result<u64> {
    let mut sum = Ok(0);
    store.scan(|text| {
        if let Ok(total) = &mut sum {
            match to_doc(text) {
                Ok(document) => *total += document.tries,
                Err(error) => sum = Err(error),
            }
        }
    })?;
    sum
}
