//! What is compared. One file for each engine; `NAMES` and `open` are the only places that list them.

mod bare;
mod dashmap;
mod floor;
mod indexmap;
mod lmdb;
#[cfg(feature = "ours")]
mod ours;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tdb;
mod text;

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::data::Doc;

pub type Entries<'a> = dyn Iterator<Item = (&'a str, &'a Doc)> + 'a;

/// One open store. A missing key is an error: the workloads ask for existing keys only.
pub trait Engine {
    /// Finds the value and touches its first bytes in place, without copying or parsing it.
    fn view(&self, key: &str) -> Result<u64>;
    fn get_as(&self, key: &str) -> Result<Doc>;
    fn get(&self, key: &str) -> Result<Value>;
    fn set(&self, key: &str, document: &Doc) -> Result<()>;
    /// The same, and returns when it is on the disk, of the engines that can be asked for that now and then.
    fn set_on_disk(&self, key: &str, document: &Doc) -> Result<()> {
        self.set(key, document)
    }
    /// The fastest way to write many entries at once that the engine offers without sorting them first.
    fn extend(&self, entries: &mut Entries<'_>) -> Result<()>;
    /// Adds one to `_tries`; no two increments may be lost to one another.
    fn increment(&self, key: &str) -> Result<()>;
    /// Touches every value in place, in the engine's own order; returns their number.
    fn iterate(&self) -> Result<u64>;
    /// The sum of all `_tries`, to check that no increment was lost.
    fn sum_tries(&self) -> Result<u64>;
    /// Another handle on the same memory for another thread, of the engines that live in one process.
    fn share(&self) -> Option<Box<dyn Engine + Send>> {
        None
    }
}

/// Name, whether real processes share it (else threads of one process), and whether a plain run includes it.
pub struct Description {
    pub name: &'static str,
    pub processes: bool,
    pub default: bool,
    /// Whether it grows: the floor does not, and has no part in workloads that add keys.
    pub grows: bool,
    pub label: &'static str,
    /// Of its bars and lines in the plot; the colours differ for the colour-blind too.
    pub colour: &'static str,
}

#[rustfmt::skip]
pub const ALL: &[Description] = &[
    Description { name: "ours", processes: true, default: cfg!(feature = "ours"), grows: true, label: "tastypod", colour: "#0072b2" },
    Description { name: "lmdb", processes: true, default: true, grows: true, label: "LMDB, NO_SYNC + WRITE_MAP", colour: "#e69f00" },
    Description { name: "lmdb-nosync", processes: true, default: false, grows: true, label: "LMDB, NO_SYNC", colour: "#b8860b" },
    Description { name: "tdb", processes: true, default: true, grows: true, label: "Samba TDB, robust mutexes", colour: "#009e73" },
    Description { name: "indexmap", processes: false, default: true, grows: true, label: "Mutex<IndexMap>, threads", colour: "#a6adb4" },
    Description { name: "dashmap", processes: false, default: true, grows: true, label: "DashMap, threads", colour: "#cc79a7" },
    Description { name: "floor", processes: true, default: true, grows: false, label: "the floor: no store", colour: "#d0c8b8" },
    Description { name: "redb", processes: false, default: cfg!(feature = "redb"), grows: true, label: "redb, Durability::None, threads", colour: "#d55e00" },
    Description { name: "sqlite", processes: true, default: cfg!(feature = "sqlite"), grows: true, label: "SQLite WAL, synchronous OFF", colour: "#56b4e9" },
    Description { name: "ours-disk", processes: true, default: false, grows: true, label: "tastypod, Durability::Disk", colour: "#0072b2" },
    Description { name: "bare-disk", processes: true, default: false, grows: false, label: "bare pwrite + fdatasync", colour: "#d0c8b8" },
    Description { name: "lmdb-disk", processes: true, default: false, grows: true, label: "LMDB with syncs", colour: "#e69f00" },
    Description { name: "redb-disk", processes: false, default: false, grows: true, label: "redb, Durability::Immediate, threads", colour: "#d55e00" },
    Description { name: "sqlite-disk", processes: true, default: false, grows: true, label: "SQLite WAL, synchronous FULL", colour: "#56b4e9" },
];

/// The engine that the thresholds are about.
pub const OURS: &str = "ours";
/// The same on the disk.
pub const OURS_ON_DISK: &str = "ours-disk";

pub fn describe(name: &str) -> Result<&'static Description> {
    match ALL.iter().find(|engine| engine.name == name) {
        Some(engine) => Ok(engine),
        None => bail!("no engine is called {name:?}; there are {}", ALL.iter().map(|engine| engine.name).collect::<Vec<_>>().join(", ")),
    }
}

/// Opens or creates the store in `directory`; `capacity` is the number of keys to prepare for, where an engine asks.
pub fn open(name: &str, directory: &Path, capacity: usize) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(directory)?;
    match name {
        #[cfg(feature = "ours")]
        "ours" => ours::open(directory, tastypod::Durability::Process),
        #[cfg(feature = "ours")]
        "ours-disk" => ours::open(directory, tastypod::Durability::Disk),
        "bare-disk" => bare::open(directory, capacity),
        "lmdb-disk" => lmdb::open(directory, capacity, lmdb::Writes::Durable),
        "lmdb" => lmdb::open(directory, capacity, lmdb::Writes::Mapped),
        "lmdb-nosync" => lmdb::open(directory, capacity, lmdb::Writes::Copied),
        "tdb" => tdb::open(directory, capacity),
        "floor" => floor::open(directory, capacity),
        "indexmap" => indexmap::open(capacity),
        "dashmap" => dashmap::open(capacity),
        #[cfg(feature = "redb")]
        "redb" => redb::open(directory, ::redb::Durability::None),
        #[cfg(feature = "redb")]
        "redb-disk" => redb::open(directory, ::redb::Durability::Immediate),
        #[cfg(feature = "sqlite")]
        "sqlite" => sqlite::open(directory, "OFF"),
        #[cfg(feature = "sqlite")]
        "sqlite-disk" => sqlite::open(directory, "FULL"),
        _ => bail!("{} is not built in: build with `--features {name}`", describe(name)?.label),
    }
}
