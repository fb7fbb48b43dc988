//! The store: bytes under keys, shared by processes. Opening, reading, committing, repairing, snapshots.
//!
//! One way down for a write: `locked.rs` (mutex, repair) → `transaction.rs` (what it does) → `commit.rs` (log, seal,
//! index, commit word; `replace.rs` for the commonest). One way up for a read: `read.rs`.

pub(crate) mod agree;
pub(crate) mod aside;
pub(crate) mod assemble;
pub(crate) mod canon;
pub(crate) mod change_settings;
pub(crate) mod choose;
pub(crate) mod claims;
pub(crate) mod clean;
pub(crate) mod commit;
pub(crate) mod compact;
pub(crate) mod create;
pub(crate) mod dirty;
pub(crate) mod durable;
pub(crate) mod files;
pub(crate) mod hand_over;
pub(crate) mod held;
pub(crate) mod hold;
pub(crate) mod how;
pub(crate) mod in_place;
pub(crate) mod isolated;
pub(crate) mod lasting;
pub(crate) mod leave;
pub(crate) mod load;
pub(crate) mod locked;
pub(crate) mod loss;
pub(crate) mod membership;
pub(crate) mod mend;
pub(crate) mod open;
pub(crate) mod publishing;
pub(crate) mod read;
pub(crate) mod rebuild;
pub(crate) mod recover;
pub(crate) mod register;
pub(crate) mod repair;
pub(crate) mod replace;
pub(crate) mod reserve;
pub(crate) mod segments;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod snapshot;
pub(crate) mod space;
pub(crate) mod sync_lock;
pub(crate) mod tail;
pub(crate) mod tasks;
pub(crate) mod transaction;
pub(crate) mod trust;
pub(crate) mod wait;
