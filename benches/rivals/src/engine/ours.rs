//! tastypod. The only file that knows its interface.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use tastypod::{Durability, Options, Pod};

use super::text::present;
use super::{Engine, Entries};
use crate::data::Doc;

struct Store {
    pod: Pod,
    /// Another handle on the same store.
    on_disk: OnceCell<Pod>,
}

pub fn open(directory: &Path, durability: Durability) -> Result<Box<dyn Engine>> {
    let pod = Options::new().durability(durability).sync_at(usize::MAX).open(directory.join("store.pod"))?;
    Ok(Box::new(Store { pod, on_disk: OnceCell::new() }))
}

impl Engine for Store {
    fn view(&self, key: &str) -> Result<u64> {
        let view = present(self.pod.view(key)?)?;
        let tries = present(view.get("_tries").and_then(|tries| tries.as_i64()))?;
        Ok(tries as u64)
    }

    fn get_as(&self, key: &str) -> Result<Doc> {
        present(self.pod.get_as(key)?)
    }

    fn get(&self, key: &str) -> Result<Value> {
        present(self.pod.get(key)?)
    }

    fn set(&self, key: &str, document: &Doc) -> Result<()> {
        Ok(self.pod.set(key, document)?)
    }

    fn set_on_disk(&self, key: &str, document: &Doc) -> Result<()> {
        let pod = match self.on_disk.get() {
            Some(pod) => pod,
            None => {
                let pod = Options::new().durability(Durability::Disk).sync_at(usize::MAX).open(self.pod.path())?;
                self.on_disk.get_or_init(|| pod)
            }
        };
        Ok(pod.set(key, document)?)
    }

    fn extend(&self, entries: &mut Entries<'_>) -> Result<()> {
        Ok(self.pod.extend(entries)?)
    }

    fn increment(&self, key: &str) -> Result<()> {
        self.pod.at(key).key("_tries").add(1)?;
        Ok(())
    }

    fn iterate(&self) -> Result<u64> {
        let (mut count, mut touched) = (0, 0);
        for entry in self.pod.snapshot()?.entries() {
            let (_key, value) = entry?;
            count += 1;
            touched ^= value.get("_tries").and_then(|tries| tries.as_i64()).unwrap_or(0);
        }
        std::hint::black_box(touched);
        Ok(count)
    }

    fn sum_tries(&self) -> Result<u64> {
        let mut sum = 0;
        for entry in self.pod.iter_as::<Doc>() {
            sum += entry?.1.tries;
        }
        Ok(sum)
    }
}
