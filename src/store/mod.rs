//! The store: bytes under keys, shared by processes. Opening, reading, committing, repairing, snapshots.
//!
//! One way down for a write: `locked.rs` (mutex, repair) → `transaction.rs` (what it does) → `commit.rs` (log, seal,
//! index, commit word). One way up for a read: `read.rs`.

pub(crate) mod clean;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod locked;
pub(crate) mod membership;
pub(crate) mod open;
pub(crate) mod read;
pub(crate) mod rebuild;
pub(crate) mod repair;
pub(crate) mod reserve;
pub(crate) mod segments;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod snapshot;
pub(crate) mod transaction;
pub(crate) mod wait;
