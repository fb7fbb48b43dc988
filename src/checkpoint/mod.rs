//! The canonical form of a store: JSON files that a person can read, and what brings them up to date.
//!
//! | file | what it holds |
//! |---|---|
//! | `pod.json` | the manifest: how the shards are laid out, up to which transaction they are saved, what each should hold |
//! | `N.json`, `N.json.gz` | shard N: the entries with places N × `file_size` and on in insertion order, one a line |
//!
//! `line.rs` is one entry, `shard.rs` one file, `manifest.rs` the manifest, `recover.rs` the decisions after a kill, a power cut or
//! an edit; none of these changes anything.

pub(crate) mod canon;
pub(crate) mod fill;
pub(crate) mod gzip;
pub(crate) mod install;
pub(crate) mod line;
pub(crate) mod lines;
pub(crate) mod manifest;
pub(crate) mod names;
pub(crate) mod parallel;
mod place;
pub(crate) mod recover;
pub(crate) mod revert;
pub(crate) mod save;
pub mod shard;
pub(crate) mod stamps;
pub(crate) mod survey;
