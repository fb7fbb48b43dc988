//! How a store is opened.

use crate::checkpoint::canon::Shards;
use crate::error::Result;
use crate::pod::Pod;
use crate::store::core::how::{How, Writing};
use crate::store::core::settings::Wanted;
use std::path::Path;
use std::time::Duration;

/// What a write survives once it has returned.
///
/// ```
/// use tastypod::{Durability, Options};
/// let options = Options::new().durability(Durability::Process);
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The death of any process, at any instant. Not a power cut.
    #[default]
    Process,
    /// A power cut too. Writers that wait at the same time, in any process, share one flush of the disk.
    ///
    /// Others may see a write shortly before it is on the disk. If the disk fails, the call returns `Io`. The write is then committed and
    /// visible to all, but a power cut may undo it. The next durable write tries to flush it again.
    Disk,
}

/// Who saves a store when [`Options::sync_at`] is reached.
///
/// ```
/// use tastypod::{Options, SyncMode};
/// let options = Options::new().sync_mode(SyncMode::Background);
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SyncMode {
    /// The write that reaches the limit. It returns when the store is saved.
    #[default]
    Inline,
    /// A background thread of this process.
    Background,
    /// Nobody. Only [`Pod::sync`] and the last process to leave save.
    Manual,
}

/// Options of a store and of one handle on it.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// use std::time::Duration;
/// use tastypod::Options;
/// let pod = Options::new().lock_timeout(Duration::from_secs(5)).open(dir.path().join("a.pod"))?;
/// pod.set("k", 1)?;
/// let reader = Options::new().read_only(true).open(dir.path().join("a.pod"))?;
/// assert_eq!(reader.get_as::<i64>("k")?, Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) wanted: Wanted,
    pub(crate) durability: Durability,
    pub(crate) sync_at: usize,
    pub(crate) sync_mode: SyncMode,
    pub(crate) sync_on_signals: bool,
    pub(crate) lock_timeout: Duration,
    pub(crate) create: bool,
    pub(crate) read_only: bool,
    pub(crate) file_mode: u32,
    pub(crate) any_file_system: bool,
    pub(crate) salvage: bool,
    pub(crate) isolated: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

/// As the store keeps durations; a longer one than fits is for ever.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Options {
    /// The default options. Each method below names its default.
    ///
    /// ```
    /// let options = tastypod::Options::new();
    /// # let _ = options;
    /// ```
    pub fn new() -> Options {
        Options {
            wanted: Wanted::default(),
            durability: Durability::Process,
            sync_at: crate::DEFAULT_SYNC_AT,
            sync_mode: SyncMode::Inline,
            sync_on_signals: false,
            lock_timeout: Duration::from_secs(30),
            create: true,
            read_only: false,
            file_mode: 0o600,
            any_file_system: false,
            salvage: false,
            isolated: false,
        }
    }

    /// Of the store: the number of entries in a JSON file (default 4096). 0 is `InvalidValue` when the store is opened. If it is not set, the
    /// stored number is used. If it differs from the stored number, opening fails with [`Conflict`](crate::ErrorKind::Conflict).
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// use tastypod::{ErrorKind, Options};
    /// let path = dir.path().join("a.pod");
    /// let _first = Options::new().file_size(100).open(&path)?;
    /// assert_eq!(Options::new().file_size(200).open(&path).unwrap_err().kind(), ErrorKind::Conflict);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn file_size(mut self, entries: u64) -> Options {
        self.wanted.file_size = Some(entries);
        self
    }

    /// Of the store: whether the JSON files are compressed with gzip (default no).
    ///
    /// ```
    /// let options = tastypod::Options::new().gzipped(true);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn gzipped(mut self, gzipped: bool) -> Options {
        self.wanted.gzipped = Some(gzipped);
        self
    }

    /// Of the store: how often a task may be tried (default 0: without limit).
    ///
    /// ```
    /// let options = tastypod::Options::new().max_tries(3);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn max_tries(mut self, tries: u64) -> Options {
        self.wanted.max_tries = Some(tries);
        self
    }

    /// Of the store: how long a claim lasts without a heartbeat (default: as long as its process lives).
    ///
    /// ```
    /// let options = tastypod::Options::new().lease(std::time::Duration::from_secs(60));
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Options {
        self.wanted.lease_nanoseconds = Some(nanoseconds(lease));
        self
    }

    /// Of the store: after its n-th failure a task waits for `first * factor^(n-1)`, at most `longest` (default: it does not wait). Opening fails
    /// with `InvalidValue` if the factor is negative or not finite.
    ///
    /// ```
    /// use std::time::Duration;
    /// let options = tastypod::Options::new().backoff(Duration::from_secs(1), 2.0, Duration::from_secs(60));
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn backoff(mut self, first: Duration, factor: f64, longest: Duration) -> Options {
        self.wanted.backoff = Some((nanoseconds(first), factor, nanoseconds(longest)));
        self
    }

    /// Of this handle: what a write survives once it has returned (default [`Durability::Process`]).
    ///
    /// ```
    /// let options = tastypod::Options::new().durability(tastypod::Durability::Process);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// Of this handle: a write through it saves the store when this many keys have changed since it was last saved (default 1000). 0 saves
    /// with every commit. With `usize::MAX` only [`Pod::sync`] and the last process that leaves save.
    ///
    /// If the changes are spread over many files, saving would write far more entries than have changed. Then it waits for more changes: until
    /// a quarter as many keys have changed as the files contain.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Options::new().sync_at(2).open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// assert_eq!(pod.dirty_len(), 1);
    /// pod.set("b", 2)?;
    /// assert_eq!(pod.dirty_len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sync_at(mut self, keys: usize) -> Options {
        self.sync_at = keys;
        self
    }

    /// Of this handle: who saves when [`sync_at`](Options::sync_at) is reached (default [`SyncMode::Inline`]).
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// use tastypod::{Options, SyncMode};
    /// let pod = Options::new().sync_at(1).sync_mode(SyncMode::Manual).open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// assert_eq!(pod.dirty_len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sync_mode(mut self, mode: SyncMode) -> Options {
        self.sync_mode = mode;
        self
    }

    /// Of this process: save its stores before SIGTERM or SIGINT ends it (default no). Then the signal has its usual effect. The data is safe
    /// in any case; this is about the JSON files.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Options::new().sync_on_signals(true).open(dir.path().join("a.pod"))?;
    /// # drop(pod);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sync_on_signals(mut self, saves: bool) -> Options {
        self.sync_on_signals = saves;
        self
    }

    /// Of this handle: how long a write waits for the lock (default 30 s), for example because another process is in a long transaction. After
    /// that it fails with [`LockTimeout`](crate::ErrorKind::LockTimeout). Reads never wait.
    ///
    /// ```
    /// let options = tastypod::Options::new().lock_timeout(std::time::Duration::from_millis(100));
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Options {
        self.lock_timeout = timeout;
        self
    }

    /// Of this handle: whether to make a store if there is none (default yes). Otherwise opening is `NotFound`.
    ///
    /// ```
    /// use tastypod::{ErrorKind, Options};
    /// let dir = tempfile::tempdir()?;
    /// let error = Options::new().create(false).open(dir.path().join("absent")).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn create(mut self, create: bool) -> Options {
        self.create = create;
        self
    }

    /// Of this handle: never change anything (default no). It also works without permission to write. If nobody else has the store open, it is
    /// read into memory once, and the handle does not see later changes until [`Pod::refresh`].
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// use tastypod::{ErrorKind, Options, Pod};
    /// let pod = Pod::open(dir.path().join("a.pod"))?;
    /// let reader = Options::new().read_only(true).open(dir.path().join("a.pod"))?;
    /// assert_eq!(reader.set("k", 1).unwrap_err().kind(), ErrorKind::ReadOnly);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Options {
        self.read_only = read_only;
        self
    }

    /// Of this handle: the permission bits of files that it makes (default `0o600`), regardless of the umask. Whoever may read the files may
    /// also enter the directories.
    ///
    /// ```
    /// let options = tastypod::Options::new().file_mode(0o660);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn file_mode(mut self, mode: u32) -> Options {
        self.file_mode = mode & 0o777;
        self
    }

    /// Of this handle: open a store on a network file system too (default no). Only do so if a single machine uses it: processes on two
    /// machines would damage it.
    ///
    /// ```
    /// let options = tastypod::Options::new().allow_network_filesystem(true);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn allow_network_filesystem(mut self, allow: bool) -> Options {
        self.any_file_system = allow;
        self
    }

    /// Of this handle: if a part of the log cannot be read, open the store as it was before that part, and drop what comes after it (default
    /// no: opening fails with [`Integrity`](crate::ErrorKind::Integrity), and the message says how much would be lost).
    ///
    /// The store never becomes older than its JSON files. The whole log is first copied to `.live/log.cut-…`; the newest three of these are
    /// kept. If another process has the store open, this option does nothing. You do not need it after a power cut: writes that were not yet
    /// safe from it are dropped anyway.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("a.pod");
    /// # tastypod::Pod::open(&path)?;
    /// let pod = tastypod::Options::new().create(false).salvage(true).open(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn salvage(mut self, allow: bool) -> Options {
        self.salvage = allow;
        self
    }

    /// Of this handle: work on a private copy of the store in memory (default no). Reads see the store as it was when it was opened, plus the
    /// changes made through this handle, its clones and its forks. Nobody else sees these changes until [`Pod::sync`] publishes them in one
    /// commit and saves the store.
    ///
    /// If somebody else changed one of the same keys meanwhile, `sync` changes nothing and returns
    /// [`Conflict`](crate::ErrorKind::Conflict). Then [`Pod::revert`] takes the store as it is now, and [`Pod::sync_overwrite`] overwrites what
    /// others changed.
    ///
    /// Changes that are not published are lost when the process ends. Nothing is published automatically: `sync_at` has no effect. Claims on
    /// tasks are private to the copy. Opening reads all entries, and needs memory for them.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// use tastypod::{Options, Pod};
    /// let shared = Pod::open(dir.path().join("a.pod"))?;
    /// shared.set("a", 1)?;
    /// let mine = Options::new().isolated(true).open(dir.path().join("a.pod"))?;
    /// mine.set("b", 2)?;
    /// shared.set("c", 3)?;
    /// assert_eq!((shared.get("b")?, mine.get("c")?), (None, None));
    /// mine.sync()?;
    /// assert_eq!(shared.get_as::<i64>("b")?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn isolated(mut self, isolated: bool) -> Options {
        self.isolated = isolated;
        self
    }

    /// Opens the store at `path`. If there is none, it is made, with the directories above it.
    ///
    /// # Errors
    /// - `Conflict` if stored options differ from those set here.
    /// - `InvalidValue` for a file size of 0, or a [`backoff`](Options::backoff) with a factor that is negative or not finite.
    /// - `NotFound` if there is no store, and [`create(false)`](Options::create) or [`read_only`](Options::read_only) says that none is to be made.
    /// - `WrongKind` if the path leads to a file, or to a directory that holds something else.
    /// - `VersionMismatch`, `ForeignState`, `UnsupportedFilesystem` and `Integrity` if the store cannot be used.
    /// - `LockTimeout` if a stopped process is opening or closing it.
    /// - `Full` and `Io` if a system call fails.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Options::new().open(dir.path().join("deep/down/a.pod"))?;
    /// assert!(pod.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self, path: impl AsRef<Path>) -> Result<Pod> {
        Pod::with_options(path.as_ref(), self)
    }

    #[inline]
    pub(crate) fn writing(&self) -> Writing {
        Writing { timeout: self.lock_timeout, is_durable: self.durability == Durability::Disk }
    }

    pub(crate) fn how(&self) -> How {
        How {
            create: self.create,
            read_only: self.read_only,
            file_mode: self.file_mode,
            timeout: self.lock_timeout,
            any_file_system: self.any_file_system,
            salvage: self.salvage,
            wanted: self.wanted.clone(),
            canon: &Shards,
        }
    }
}
