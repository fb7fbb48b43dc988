//! A persistent ordered map from keys to JSON values that any number of processes open by path and use at memory speed,
//! without a broker process.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("words.pod");
//! use serde_json::json;
//! use tastypod::Pod;
//!
//! let pod = Pod::open(&path)?;                        // creates, or joins whoever has it open
//! pod.set("apple", &json!({"count": 1}))?;            // survives the death of this process from here on
//! pod.at("apple").key("count").add(1)?;               // atomic over all processes
//! for entry in &pod {                                 // one consistent snapshot, in insertion order
//!     let (key, value) = entry?;
//!     println!("{key}: {value}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Pod`] is the map. [`Options`] say how to open it. [`ErrorKind`] lists what can go wrong.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "tastypod needs Linux on x86-64 or aarch64: it relies on robust process-shared mutexes, open-file-description locks and futexes"
);

mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod key;
mod limits;
mod log;
mod pod;
mod segment;
mod store;
mod sys;
mod value;
mod verify;

pub use error::{Error, ErrorKind, Owner, Result};
pub use key::{AsKey, Key};
pub use pod::{
    Addend, At, Durability, Entries, Guard, Iter, IterAs, IterLive, KeyInPlace, Keys, Options, Part, Pod, Snapshot, Txn, Values, Version,
    View,
};
/// A JSON value; objects keep the order of their keys. This is `serde_json::Value`.
pub use serde_json::Value;
pub use verify::{Report, Stats};

/// tastypy's name of [`Pod`].
pub type PersistentOrderedDict = Pod;
/// tastypy's name of [`Pod`].
pub type SharedPersistentOrderedDict = Pod;
/// tastypy's name of [`Pod`].
pub type SharedPod = Pod;

/// Entries in a shard file, where nobody says otherwise.
pub const DEFAULT_FILE_SIZE: u64 = store::settings::DEFAULT_FILE_SIZE;

/// Crash points, for this crate's own tests.
#[cfg(feature = "crash-points")]
#[doc(hidden)]
pub mod crash {
    pub use crate::sys::crash::{Action, arm, passed};
}
