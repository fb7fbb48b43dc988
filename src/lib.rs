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
//! [`Pod`] is the map. [`Tracker`] is one of tasks, for programs and pools of workers that go on where they were left off. [`Options`] say how to open it. [`ErrorKind`] lists what can go wrong.
//!
//! # Processes, threads, forks
//!
//! A store is a directory. Whoever opens its path first makes it ready, all others join; there is nothing to start and nothing to stop.
//! Handles are cheap to clone, may be used by all threads, and work unchanged in a child made by `fork`; what belongs to one process alone
//! (a [`Guard`], a [`Snapshot`], a [`Claim`]) is inert in its children. A process that is killed leaves nothing to be cleaned up: the next one
//! that takes the lock finishes or forgets what it had begun.
//!
//! # Several things at once
//!
//! Every call is atomic. For more than one there is [`Pod::transaction`], which commits all or nothing, and [`Pod::snapshot`], whose reads are all of
//! one instant and make nobody wait.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let pod = tastypod::Pod::open(dir.path().join("accounts.pod"))?;
//! pod.extend([("a", 10), ("b", 0)])?;
//! pod.transaction(|txn| {
//!     txn.at("a").add(-3)?;
//!     txn.at("b").add(3)?;
//!     Ok(())
//! })?;
//! let snapshot = pod.snapshot()?;
//! pod.set("a", 0)?;
//! assert_eq!(snapshot.get_as::<i64>("a")?, Some(7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Pools of workers
//!
//! A worker claims tasks, one at a time or several; each is his alone until he ends it, dies, or overstays its lease.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let tracker = tastypod::Tracker::open(dir.path().join("squares.tracker"))?;
//! tracker.add_many_if_absent(1..=3)?;
//! for claim in tracker.work() {                       // the same loop in any number of processes
//!     let claim = claim?;
//!     let n = claim.key().as_i64().unwrap_or(0);
//!     claim.done_with(serde_json::json!({"square": n * n}))?;
//! }
//! assert_eq!(tracker.num_done(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is kept where
//!
//! A write is in a log that all processes map, and survives the death of any of them. [`Pod::sync`] brings the JSON files of the directory up
//! to date; so do writers now and then, after so many changes ([`Options::sync_at`]), and the last process that leaves. Those files alone are the store: copy them, read
//! them, edit them while nobody has it open. What `sync` saved survives a power cut; with [`Durability::Disk`] every write does.
//!
//! # What takes how much
//!
//! A value has at most 256 MiB as it is stored ([`View::byte_len`]). An array of integers from 0 to 255 takes a byte an element, whatever Rust type it
//! came from (`Vec<u8>`, `serde_bytes`, a `Value`); an array of other integers that fit an `i64`, or of floats, takes 8 bytes an element; the elements
//! of all other arrays take 9 bytes each and what they consist of. In JSON all are arrays of numbers. `serde_bytes` copies or borrows an array of bytes in one piece, also as
//! a field; a plain `Vec<u8>` is read element by element, as serde does.
//!
//! # Which call for what
//!
//! | wanted | call |
//! |---|---|
//! | to store a value, whatever was there | [`Pod::set`]; [`Pod::insert`] also returns the old one |
//! | to store it only if the key is new | [`Pod::set_if_absent`] |
//! | many at once, in one commit | [`Pod::extend`], [`Pod::extend_if_absent`]; read at one instant: [`Pod::get_many`] |
//! | the value of a key, made where it is absent | [`Pod::get_or_insert_with`] |
//! | the oldest and the newest entry; the oldest taken out | [`Pod::first`], [`Pod::last`]; [`Pod::pop_first`] |
//! | entries gone that are not wanted any more | [`Pod::remove_if`], [`Pod::retain`] |
//! | a value as JSON, or in a type of one's own | [`Pod::get`], [`Pod::get_as`] |
//! | a value without copying it | [`Pod::view`] |
//! | its exact text | [`Pod::raw_json`], [`Pod::set_raw_json`] |
//! | one field of it read or changed | [`Pod::at`], and the endings of [`At`] |
//! | a counter | [`At::add`], [`At::add_i64`]; [`At::or_insert`] for one that may be absent |
//! | read, changed and written back by a closure | [`Pod::update`], [`Pod::update_or_insert`], [`Pod::try_update`] |
//! | changed only if nobody else did | [`Pod::compare_exchange`] |
//! | several keys changed, all or nothing | [`Pod::transaction`]; [`Pod::lock`] where a closure does not fit |
//! | several reads of one instant | [`Pod::snapshot`] |
//! | a loop over one instant | [`Pod::iter`], [`Pod::keys`], [`Pod::values`], [`Pod::iter_as`]; [`Snapshot::entries`] copies nothing |
//! | a loop that also sees what is added meanwhile | [`Pod::iter_live`] |
//! | to sleep until something changes | [`Pod::wait`] |
//! | the JSON files up to date, now | [`Pod::sync`] |
//! | every write safe from power cuts | [`Options::durability`] |
//! | back to what the JSON files say | [`Pod::revert`] |
//! | space back after many removals | [`Pod::compact`] |
//! | tasks for a pool of workers | [`Tracker::work`], [`Tracker::claim`] |
//! | to know who has it open, and how full it is | [`Pod::stats`] |
//! | to be sure that it is in order | [`Pod::verify`] |
//! | one JSON file, without the store | [`shard::read`] |

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    any(target_env = "gnu", target_env = "musl"),
)))]
compile_error!(
    "tastypod needs Linux on x86-64 or aarch64 with glibc or musl: it relies on robust process-shared mutexes, open-file-description locks and futexes"
);

mod checkpoint;
mod error;
#[cfg(tastypod_fuzzing)]
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
mod tracker;
mod value;
mod verify;

pub use checkpoint::shard;
pub use error::{Error, ErrorKind, Owner, Result};
pub use key::{AsKey, Key};
pub use pod::{
    Addend, At, Conversion, Durability, Entries, Guard, HoldGuard, Iter, IterAs, IterLive, KeyInPlace, Keys, Options, Part, Pod, Snapshot,
    SyncMode, Txn, Values, Version, View,
};
/// A JSON value; objects keep the order of their keys. This is `serde_json::Value`, and `json!` writes one.
pub use serde_json::{Value, json};
pub use store::core::settings::KeyDialect;
pub use tracker::{Claim, ClaimInfo, Failure, Next, Progress, Retry, TaskItems, TaskKeys, TaskValues, Todo, Tracker, TrackerTxn, Work};
pub use verify::{PinHolder, Report, Stats};

/// tastypy's name of [`Pod`].
pub type PersistentOrderedDict = Pod;
/// tastypy's name of [`Pod`].
pub type SharedPersistentOrderedDict = Pod;
/// tastypy's name of [`Pod`].
pub type SharedPod = Pod;

/// tastypy's name of [`Tracker`].
pub type ProgressTracker = Tracker;
/// tastypy's name of [`Tracker`].
pub type SharedProgressTracker = Tracker;
/// tastypy's name of [`Tracker`].
pub type SharedTracker = Tracker;

/// Changed keys at which a store is saved by itself, where nobody says otherwise.
pub const DEFAULT_SYNC_AT: usize = 1000;

/// Entries in a shard file, where nobody says otherwise.
pub const DEFAULT_FILE_SIZE: u64 = store::core::settings::DEFAULT_FILE_SIZE;

/// For readers of tastypy's manual; its programs are run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-tastypy.md")]
struct FromTastypy;

/// The README's programs are compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Crash points, for this crate's own tests.
#[cfg(tastypod_crash_points)]
#[doc(hidden)]
pub mod crash {
    pub use crate::sys::crash::{Action, arm, look_away, observe, passed, subject};
}
