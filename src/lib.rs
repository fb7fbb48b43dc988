//! A persistent ordered map from keys to JSON values. Any number of processes on one machine open it by path and use it at
//! memory speed. There is no server.
//!
//! ```sh
//! cargo add --path ../tastypod                  # or the path of your checkout
//! cargo add serde --features derive             # for types of your own
//! ```
//!
//! ```
//! use tastypod::{Pod, json};
//!
//! let dir = tempfile::tempdir()?;                     // any directory of yours
//! let pod = Pod::open(dir.path().join("words.pod"))?; // creates the store, or joins the processes that have it open
//! pod.set("apple", json!({"count": 1}))?;             // from here on it survives the death of this process
//! pod.at("apple").key("count").add(1)?;               // atomic, whatever other processes do
//! for entry in &pod {                                 // one consistent snapshot, in insertion order
//!     let (key, value) = entry?;
//!     println!("{key}: {value}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Pod`] is the map.
//! - [`Tracker`] is a map of tasks, for programs and worker pools that continue where they stopped.
//! - [`Options`] say how a store is opened.
//! - [`ErrorKind`] lists what can go wrong.
//!
//! # Which call for what
//!
//! | You want to | Call |
//! |---|---|
//! | store a value | [`Pod::set`]; [`Pod::insert`] also returns the old value |
//! | store it only if the key is new | [`Pod::set_if_absent`] |
//! | store many entries in one commit | [`Pod::extend`], [`Pod::extend_if_absent`] |
//! | read a value as JSON, or as a type of your own | [`Pod::get`], [`Pod::get_as`] |
//! | work with one type of keys and one of values | [`Pod::typed`] |
//! | read many values of one instant | [`Pod::get_many`], [`Pod::snapshot`] |
//! | read parts of a value without parsing the rest | [`Pod::view`] |
//! | read or write the exact JSON text | [`Pod::raw_json`], [`Pod::set_raw_json`] |
//! | read a value, and make it if it is absent | [`Pod::get_or_insert_with`] |
//! | read or change one field of a value | [`Pod::at`], then a call of [`At`] |
//! | count | [`At::add`], [`At::add_i64`]; [`At::or_insert`] first, if the counter may be absent |
//! | change a value with a closure | [`Pod::update`], [`Pod::update_as`], [`Pod::update_or_insert`], [`Pod::try_update`] |
//! | give a value another key | [`Pod::rename`] |
//! | change a value only if nobody else has | [`Pod::compare_exchange`], [`Pod::compare_exchange_as`] |
//! | change several keys, all or nothing | [`Pod::transaction`]; [`Pod::lock`] where a closure does not fit |
//! | remove entries | [`Pod::remove`], [`Pod::remove_if`], [`Pod::retain`], [`Pod::clear`], [`Pod::drain`] |
//! | see the oldest or the newest entry | [`Pod::first`], [`Pod::last`]; [`Pod::iter`] also goes backwards, with `rev()` |
//! | use it as a queue | [`Pod::pop_first`]; a [`Tracker`] if work must survive its worker |
//! | loop over one instant | [`Pod::iter`], [`Pod::keys`], [`Pod::values`], [`Pod::iter_as`]; [`Snapshot::entries`] copies nothing |
//! | find the keys with a prefix, or the n-th entry (a scan) | [`Pod::keys_with_prefix`], [`Pod::get_index`] |
//! | loop, and see entries that are added meanwhile | [`Pod::iter_live`] |
//! | sleep until something changes, or one key | [`Pod::wait`], [`Pod::wait_key`]; `Pod::changed` in an async runtime |
//! | see later writes through a read-only handle that was opened before any writer | [`Pod::refresh`] |
//! | hand out tasks to workers | [`Tracker::work`], [`Tracker::claim`] |
//! | bring the JSON files up to date now | [`Pod::sync`] |
//! | make every write survive a power cut | [`Options::durability`] |
//! | go back to what the JSON files say | [`Pod::revert`] |
//! | give disk space back after many removals | [`Pod::compact`] |
//! | see who has the store open, and how large it is | [`Pod::stats`] |
//! | check the store | [`Pod::verify`] |
//! | read one JSON file without the store | [`shard::read`] |
//!
//! # Transactions, guards and snapshots
//!
//! Every call is atomic. Use [`Pod::transaction`] for several changes: all of them happen, or none. Other writers wait until it ends.
//! Readers do not wait: they see the state before it. If the closure returns `Err` or panics, nothing has changed.
//!
//! Use [`Pod::lock`] where a closure does not fit. The thread that holds the [`Guard`] calls the pod as usual, and
//! [`Guard::commit`] keeps the changes. A guard that is dropped without it, by an early `?` for example, undoes them.
//!
//! Use [`Pod::snapshot`] for several reads of one instant. It makes nobody wait.
//!
//! ```
//! use tastypod::Pod;
//!
//! let dir = tempfile::tempdir()?;
//! let pod = Pod::open(dir.path().join("accounts.pod"))?;
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
//! # Errors
//!
//! In the closure of a transaction, `?` takes the errors of this crate, of `std::io`, of serde_json, of parsing integers, floats and bools, of
//! UTF-8, and `Box<dyn Error + Send + Sync>`; with the feature `anyhow` also those of anyhow. For all others that are `Send`
//! and `Sync` write `.map_err(Error::other)?`. Each of them rolls the transaction back (under a guard, the guard decides). The [`Error`] that the call
//! returns has its text, and [`Error::get_ref`] gives the error itself.
//! [`Pod::try_transaction`] returns an error type of your own.
//!
//! # Features
//!
//! None is on by default. None changes the files or what other calls do.
//!
//! | Feature | What it adds |
//! |---|---|
//! | `async` | `Pod::changed`: waits for commits in any async runtime |
//! | `anyhow` | `?` on errors of anyhow in [`Pod::transaction`] |
//!
//! # Paths into a value
//!
//! [`Pod::at`] names a place inside the value of one key. [`At::key`], [`At::index`] and [`At::pointer`] go deeper. The last call reads or
//! changes what is there, in one atomic step.
//!
//! ```
//! use tastypod::{Pod, json};
//!
//! let dir = tempfile::tempdir()?;
//! let pod = Pod::open(dir.path().join("pages.pod"))?;
//! let page = pod.at("https://example.org").or_insert(json!({"tags": []}));
//! page.clone().key("visits").add(1)?;
//! page.clone().key("tags").push("new")?;
//! assert_eq!(page.pointer("/tags/0").get_as::<String>()?.as_deref(), Some("new"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Keys and their order
//!
//! A [`Key`] is a string, an integer, or a tuple of keys. `1`, `"1"` and `(1,)` are three different keys. Loops go in insertion order.
//! A new key goes last. A key that is set again keeps its place. A key that is removed and set again goes last.
//! A byte string such as `b"ab"` is a tuple of integers, the same key as `(97, 98)`. It takes 13 bytes for each byte: use text if you can.
//!
//! # Worker pools
//!
//! A worker claims tasks, one at a time or several. A claimed task belongs to this worker alone until the worker finishes it, dies, or
//! exceeds its lease.
//!
//! ```
//! use tastypod::{Tracker, json};
//!
//! let dir = tempfile::tempdir()?;
//! let tracker = Tracker::open(dir.path().join("squares.tracker"))?;
//! tracker.add_many_if_absent(1..=3)?;
//! for claim in tracker.work() {                       // the same loop in any number of processes
//!     let claim = claim?;
//!     let n = claim.key().as_i64().unwrap_or(0);
//!     claim.done_with(json!({"square": n * n}))?;
//! }
//! assert_eq!(tracker.num_done(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Processes, threads, forks
//!
//! A store is a directory. The first process that opens it makes it ready, and all others join. Nothing has to be started or stopped.
//! A handle is cheap to clone, can be used by all threads, and works unchanged in a child made by `fork`. A [`Guard`], a [`Snapshot`] and
//! a [`Claim`] belong to the process that made them, and do nothing in its children. A killed process leaves nothing to clean up: the next
//! process that takes the lock finishes or undoes what it had begun.
//!
//! # What is on the disk
//!
//! | Files | Content |
//! |---|---|
//! | `.live/` | a log and its index, which all processes map into their memory; every write is there at once, and survives the death of any process |
//! | `0.json`, `1.json`, … | the entries as JSON text, 4096 in a file ([`Options::file_size`]) |
//!
//! [`Pod::sync`] brings the JSON files up to date. This also happens by itself after 1000 changed keys ([`Options::sync_at`]), and when
//! the last process leaves. The JSON files alone are a complete store: you can copy them, read them, and edit them while nobody has the
//! store open.
//!
//! What `sync` saved survives a power cut. With [`Durability::Disk`] every write does.
//!
//! The log grows in steps of 4 MiB and reuses the space of old values. A snapshot that is kept for long keeps old values, so the log grows
//! meanwhile. [`Pod::stats`] shows the sizes, and [`Pod::compact`] gives unused space back.
//!
//! # Limits
//!
//! | What | At most |
//! |---|---|
//! | a key | 65 535 bytes, 32 levels of tuples |
//! | a value | 256 MiB as it is stored ([`View::byte_len`]), 127 levels of arrays and objects |
//! | processes that have one store open | 4096 |
//! | the log of one store | 1 TiB |
//!
//! An array of integers from 0 to 255 takes 1 byte for each element, whatever Rust type it came from (`Vec<u8>`, `serde_bytes`, a
//! `Value`). An array of other integers that fit an `i64`, or of floats, takes 8 bytes for each element. Any other array takes 9 bytes for
//! each element, plus what the element itself takes. In JSON all of them are arrays. `serde_bytes` reads and writes an array of bytes in
//! one piece, also as a field; a plain `Vec<u8>` is read element by element, as serde does.
//!
//! # What calls cost
//!
//! | Call | Cost |
//! |---|---|
//! | any write | the whole value is written again: to [`push`](At::push) one element costs as much as the list is long, to change one field as much as the object is large |
//! | a list that grows | make each element an entry of its own, with keys such as `("list", 17)` |
//! | [`Pod::get`] | a copy of the whole value as JSON; [`Pod::get_as`] makes your type without it |
//! | [`Pod::view`] | a copy of the stored bytes; nothing is parsed |
//! | [`Pod::len`], [`Pod::version`] | the same for a store of any size |
//! | [`Pod::retain`], [`Pod::verify`] | all entries are read while other writers wait |

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
#[cfg(feature = "async")]
pub use pod::Changed;
pub use pod::{
    Addend, At, Conversion, Durability, Entries, Guard, HoldGuard, Iter, IterAs, IterLive, KeyInPlace, Keys, KeysWithPrefix, Options, Part,
    Pod, Readable, Snapshot, SyncMode, Txn, Typed, TypedIter, Values, Version, View, Writable,
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
