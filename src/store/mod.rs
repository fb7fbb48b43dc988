//! The store: bytes under keys, shared by processes. Opening, reading, committing, repairing, snapshots.
//!
//! One way down for a write: `write/locked.rs` (mutex, repair) → `write/transaction.rs` (what it does) → `write/commit.rs` (log,
//! seal, index, commit word; `write/replace.rs` for the commonest). One way up for a read: `read/get.rs`.
//!
//! Its rooms, from the bottom up; a file names only its own room and those of lower steps, which `tests/it/tidy.rs` holds:
//!
//! ```text
//! core  ←  read  ←  write  ←  flush, saving, tasks  ←  shrink  ←  recover  ←  attach
//! ```

pub(crate) mod core;

pub(crate) mod read;

pub(crate) mod write;

pub(crate) mod flush;
pub(crate) mod saving;
pub(crate) mod tasks;

pub(crate) mod shrink;

pub(crate) mod recover;

pub(crate) mod attach;
