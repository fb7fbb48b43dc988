//! The map: the public calls on keys and values.

mod addend;
mod at;
mod calls;
#[cfg(feature = "async")]
mod changed;
mod convert;
mod iter;
mod many;
mod options;
mod part;
mod place;
mod snapshot;
mod sync;
mod target;
mod transaction;
mod typed;
mod view;
mod walk;

pub use addend::Addend;
pub use at::At;
#[cfg(feature = "async")]
pub use changed::Changed;
pub use convert::Conversion;
pub use iter::{Iter, IterAs, IterLive, Keys, KeysWithPrefix, Values};
pub(crate) use options::nanoseconds;
pub use options::{Durability, Options, SyncMode};
pub use part::Part;
pub use place::{Readable, Writable};
pub use snapshot::{Entries, KeyInPlace, Snapshot};
pub use sync::HoldGuard;
pub(crate) use target::{Hashed, Target};
pub use transaction::{Guard, Txn};
pub use typed::{Typed, TypedIter};
pub use view::View;

use crate::error::{Error, ErrorKind, Result};
use crate::key::AsKey;
use crate::store::attach::isolated;
use crate::store::attach::{leave, open};
use crate::store::core::settings::{require_delays, require_file_size};
use crate::store::core::shared::{Mode, Origin, Shared};
use crate::verify::{Report, Stats};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of a committed transaction. Each commit has the number after the one before it. A store that is loaded from its JSON files
/// alone, without `.live`, begins anew: do not keep numbers beyond that.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// let before = pod.version();
/// pod.set("k", 1)?;
/// assert!(pod.version() > before);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

/// From a number that you kept, to wait for what comes after it.
impl From<u64> for Version {
    fn from(transaction: u64) -> Version {
        Version(transaction)
    }
}

impl From<Version> for u64 {
    fn from(version: Version) -> u64 {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A persistent ordered map from keys to JSON values, shared by all processes that open the same path.
///
/// Handles are cheap to clone, may be used by any thread, and work unchanged in a child made by `fork`.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// use serde_json::json;
/// let pod = tastypod::Pod::open(dir.path().join("crawl.pod"))?;
/// pod.set("https://example.org", json!({"status": 200}))?;
/// pod.set(7, "an integer key")?;
/// assert_eq!(pod.get("https://example.org")?, Some(json!({"status": 200})));
/// assert_eq!(pod.keys().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pod {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Arc<Options>,
}

// What a panic interrupts is rolled back or repaired, as after the death of a process.
impl UnwindSafe for Pod {}
impl RefUnwindSafe for Pod {}

impl Pod {
    /// Opens the store at `path` with default options. If there is none, it is made, with the directories above it.
    ///
    /// # Errors
    /// See [`Options::open`].
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// let same = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1)?;
    /// assert_eq!(same.get_as::<i64>("k")?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Pod> {
        Options::new().open(path)
    }

    pub(crate) fn with_options(path: &Path, options: Options) -> Result<Pod> {
        require_delays(options.wanted.backoff)?;
        require_file_size(options.wanted.file_size)?;
        let shared = open::open(path, &options.how())?;
        shared.agree(&options.wanted, options.lock_timeout)?;
        if options.writing().is_durable && !options.read_only {
            shared.ask_for_durability(options.lock_timeout)?;
        }
        if options.sync_on_signals {
            leave::save_before_termination().map_err(|error| Error::io("watch for signals to save", path, error))?;
        }
        if !options.isolated {
            return Ok(Pod { shared, options: Arc::new(options) });
        }
        let shared = isolated::copy_of(shared, &options.how(), options.writing())?;
        // Memory is as durable as it gets; what is published is written as was asked for.
        Ok(Pod { shared, options: Arc::new(Options { durability: Durability::Process, ..options }) })
    }

    /// Fails for an isolated handle, which publishes entries and nothing else.
    pub(crate) fn require_shared(&self, doing: &str) -> Result<()> {
        if self.origin().is_none() {
            return Ok(());
        }
        let path = self.path().display();
        Err(Error::new(ErrorKind::Conflict, format!("{path}: an isolated handle cannot {doing}; open it without isolated(true) to do so")))
    }

    /// What this handle works on a copy of, if it is isolated.
    #[inline]
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.shared.origin.as_deref()
    }

    #[inline]
    pub(crate) fn require_writable(&self) -> Result<()> {
        if self.options.read_only { self.is_read_only() } else { Ok(()) }
    }

    #[cold]
    fn is_read_only(&self) -> Result<()> {
        Err(Error::new(
            ErrorKind::ReadOnly,
            format!("{} was opened with read_only(true): open it without to change it", self.shared.directory.display()),
        ))
    }

    /// The store's directory, links resolved.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert!(pod.path().ends_with("a.pod"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.shared.directory
    }

    /// The number of keys. Inside a transaction or under a guard, its own writes count.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1)?;
    /// assert_eq!(pod.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        let in_hand = self.look_in_hand(|transaction| transaction.length());
        in_hand.or_else(|| self.shared.counters().ok().map(|counters| counters.length)).map_or(0, |length| length as usize)
    }

    /// Whether there are no keys.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert!(pod.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the newest committed transaction. A transaction that is not committed yet has no number.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// let before = pod.version();
    /// pod.get("absent")?;
    /// assert_eq!(pod.version(), before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn version(&self) -> Version {
        Version(self.shared.control.commit.newest())
    }

    /// Sleeps until any process commits something newer than `since`, or until `timeout` has passed. Returns the newest version.
    ///
    /// # Errors
    /// `Reentrant`; `Io` in a child made by fork that cannot join the store.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// use std::time::Duration;
    /// let seen = pod.version();
    /// pod.set("k", 1)?;
    /// assert!(pod.wait(seen, Duration::from_secs(60))? > seen);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self, since: Version, timeout: Duration) -> Result<Version> {
        self.shared.require_not_held()?;
        self.shared.wait_for_commit(since.0, timeout).map(Version)
    }

    /// The number of the transaction that last wrote a key; nothing if the key is absent. [`compact`](Pod::compact) may write it anew.
    ///
    /// # Errors
    /// `InvalidKey`; `Integrity`; `Reentrant`: what is not committed has no number.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1)?;
    /// assert_eq!(pod.version_of("k")?, Some(pod.version()));
    /// assert_eq!(pod.version_of("absent")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn version_of(&self, key: impl AsKey) -> Result<Option<Version>> {
        self.shared.enter()?;
        self.shared.require_not_held()?;
        self.version_of_hashed(&Hashed::new(&key, self.shared.header.seed)?)
    }

    fn version_of_hashed(&self, key: &Hashed) -> Result<Option<Version>> {
        self.shared.read(key.hash, &key.key, |record| Ok(record.map(|record| Version(record.version()))))
    }

    /// Sleeps until the version of a key is another than `seen`, or until `timeout` has passed. Returns its version then, which is `seen` if
    /// the time is over. Any process may have set, inserted or removed the key, or [`compact`](Pod::compact) given it another version. Each
    /// commit, also to other keys, wakes this process for a look. A key that is set and removed between two looks is not noticed.
    ///
    /// # Errors
    /// `InvalidKey`; `Integrity`; `Reentrant`; `Io` in a child made by fork that cannot join the store.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// use std::time::Duration;
    /// let seen = pod.version_of("settings")?;
    /// let writer = pod.clone();
    /// std::thread::spawn(move || writer.set("settings", 1));
    /// let now = pod.wait_key("settings", seen, Duration::from_secs(60))?;
    /// assert_ne!(now, seen);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_key(&self, key: impl AsKey, seen: Option<Version>, timeout: Duration) -> Result<Option<Version>> {
        let start = Instant::now();
        self.shared.enter()?;
        self.shared.require_not_held()?;
        let key = Hashed::new(&key, self.shared.header.seed)?;
        loop {
            // What is committed after this look ends the sleep.
            let newest = self.version();
            let now = self.version_of_hashed(&key)?;
            let left = timeout.saturating_sub(start.elapsed());
            if now != seen || left.is_zero() {
                return Ok(now);
            }
            self.shared.wait_for_commit(newest.0, left)?;
        }
    }

    /// Makes a read-only handle see what was written since it was opened. Only a handle that was opened while nobody had the store open needs
    /// it: that one reads what it found. All others see every commit at once, and are left as they are. Clones of the handle, snapshots and
    /// iterators that were made before stay as they were.
    ///
    /// # Errors
    /// Those of [`Options::open`]; the handle is then as before.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("a.pod");
    /// tastypod::Pod::open(&path)?.set("k", 1)?;
    /// let mut reader = tastypod::Options::new().read_only(true).open(&path)?;
    /// tastypod::Pod::open(&path)?.set("k", 2)?;
    /// reader.refresh()?;
    /// assert_eq!(reader.get_as::<u8>("k")?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refresh(&mut self) -> Result<()> {
        if self.shared.mode == Mode::Private && self.options.read_only {
            *self = Pod::with_options(self.path(), (*self.options).clone())?;
        }
        Ok(())
    }

    /// Sizes and counts of the store, and who has it open.
    ///
    /// # Errors
    /// `Reentrant`; `Io` if the system does not tell.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1)?;
    /// assert_eq!(pod.stats()?.keys, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> Result<Stats> {
        self.shared.require_not_held()?;
        crate::verify::stats(&self.shared)
    }

    /// Checks the whole store: the checksum of every transaction, the index entry of every key, and every counter. Writers wait meanwhile;
    /// readers do not.
    ///
    /// # Errors
    /// `LockTimeout`, `Reentrant`, `Io`. Damage is not an error of this call. It is in the report.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1)?;
    /// let report = pod.verify()?;
    /// assert!(report.is_clean(), "{report}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self) -> Result<Report> {
        self.shared.require_not_held()?;
        self.shared.require_linked()?;
        crate::verify::verify(&self.shared, self.options.lock_timeout)
    }

    /// Closes this handle. When the last handle of the last process is closed, the store is saved. Dropping a handle does the same, but cannot
    /// report an error; this call does.
    ///
    /// # Errors
    /// `StoreRemoved` if the store was removed or replaced while it was open; `ChangedOnDisk` if a file was edited meanwhile; `Full`, `Io`,
    /// `LockTimeout`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1)?;
    /// pod.close()?;
    /// assert_eq!(std::fs::read_to_string(dir.path().join("a.pod/0.json"))?, "\"k\"\t1\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(self) -> Result<()> {
        let Pod { shared, .. } = self;
        if shared.mode != Mode::Private {
            shared.require_in_place()?;
        }
        Arc::into_inner(shared).map_or(Ok(()), |last| last.leave())
    }
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pod").field("path", &self.path()).field("len", &self.len()).finish_non_exhaustive()
    }
}
