//! How a store is opened.

use crate::checkpoint::canon::Shards;
use crate::error::Result;
use crate::pod::Pod;
use crate::store::core::how::{How, Writing};
use crate::store::core::settings::Wanted;
use std::path::Path;
use std::time::Duration;

/// What a write that returned has survived.
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
    /// A power cut too. Writers who wait at the same time, in any processes, share one flush of the disk.
    ///
    /// Others may see a write shortly before it is on the disk. Where the disk fails, the call returns `Io`: the write is
    /// committed, and seen by all, but a power cut may undo it; the next durable write tries to bring it to the disk again.
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
    /// The write that reaches it: it returns when the store is saved.
    #[default]
    Inline,
    /// A thread of this process, which ends when it is through.
    Background,
    /// Nobody: only [`Pod::sync`] saves, and the last process to leave.
    Manual,
}

/// Options of a store and of one handle on it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use std::time::Duration;
/// use tastypod::Options;
/// let pod = Options::new().lock_timeout(Duration::from_secs(5)).open(dir.path().join("a.pod"))?;
/// pod.set("k", &1)?;
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
    /// The defaults, named at each option.
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

    /// Of the store: entries in a shard file (default 4096); 0 is `InvalidValue` at opening. Unset adopts what is stored; other than stored is
    /// [`Conflict`](crate::ErrorKind::Conflict).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
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

    /// Of the store: whether shard files are compressed (default no).
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

    /// Of the store: how often a task may be tried; 0 is without limit (default).
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

    /// Of the store: for how long a claim holds without a heartbeat (default: as long as its process lives).
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

    /// Of the store: after the n-th failure a task waits `first * factor^(n-1)`, at most `longest` (default: not at all).
    /// Opening fails where the factor is negative or not finite.
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

    /// Of this handle: what a returned write has survived (default [`Durability::Process`]).
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

    /// Of this handle: once so many keys changed since the store was saved, a write through it saves the store by itself (default
    /// 1000). 0 saves with every commit; `usize::MAX` leaves it to [`Pod::sync`] and to the last process that leaves.
    ///
    /// Where far more entries would have to be written than were changed, because the changes are spread over a large store, more
    /// changes are awaited: until a quarter as many keys changed as stand in the files that would be written.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Options::new().sync_at(2).open(dir.path().join("a.pod"))?;
    /// pod.set("a", &1)?;
    /// assert_eq!(pod.dirty_len(), 1);
    /// pod.set("b", &2)?;
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
    /// # let dir = tempfile::tempdir()?;
    /// use tastypod::{Options, SyncMode};
    /// let pod = Options::new().sync_at(1).sync_mode(SyncMode::Manual).open(dir.path().join("a.pod"))?;
    /// pod.set("a", &1)?;
    /// assert_eq!(pod.dirty_len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sync_mode(mut self, mode: SyncMode) -> Options {
        self.sync_mode = mode;
        self
    }

    /// Of this process: before SIGTERM or SIGINT end it, its stores are saved as at its exit (default no). Then the signal does what it did
    /// before. The data is safe in any case; this is about the JSON files.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Options::new().sync_on_signals(true).open(dir.path().join("a.pod"))?;
    /// # drop(pod);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sync_on_signals(mut self, saves: bool) -> Options {
        self.sync_on_signals = saves;
        self
    }

    /// Of this handle: how long a write waits for a process that is stopped or in a long transaction, before it fails with
    /// [`LockTimeout`](crate::ErrorKind::LockTimeout) (default 30 s). Reads never wait.
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

    /// Of this handle: whether to make a store where there is none (default yes).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// assert!(tastypod::Options::new().create(false).open(dir.path().join("absent")).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn create(mut self, create: bool) -> Options {
        self.create = create;
        self
    }

    /// Of this handle: never change anything, work also without the right to write (default no). A store that nobody has
    /// open is then read into memory once and stays as it was at the open.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use tastypod::{ErrorKind, Options, Pod};
    /// let pod = Pod::open(dir.path().join("a.pod"))?;
    /// let reader = Options::new().read_only(true).open(dir.path().join("a.pod"))?;
    /// assert_eq!(reader.set("k", &1).unwrap_err().kind(), ErrorKind::ReadOnly);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Options {
        self.read_only = read_only;
        self
    }

    /// Of this handle: permission bits of files that it makes (default `0o600`), whatever the process's umask; directories
    /// get the right to enter for whoever may read.
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

    /// Of this handle: vouch that one machine alone uses the store, where it lies on a network file system (default no).
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

    /// Of this handle: where a part of the log cannot be read, open the store as it was before that part and let go of what stands behind
    /// it (default no: that is an [`Integrity`](crate::ErrorKind::Integrity) error which says how much that is). With JSON files, the store
    /// is never older than those. The whole log is put aside first, as `.live/log.cut-…`; of such logs the newest three are kept. Where
    /// others have the store open it changes nothing. After a power cut nobody needs this: what was not power-safe then is let go anyway.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("a.pod");
    /// # tastypod::Pod::open(&path)?;
    /// let pod = tastypod::Options::new().create(false).salvage(true).open(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn salvage(mut self, allow: bool) -> Options {
        self.salvage = allow;
        self
    }

    /// Of this handle: work on a copy of the store in memory of its own (default no). Reads see the store as it was when it was opened,
    /// and what was changed through this handle, its clones and its forks; nobody else sees that until [`Pod::sync`] publishes it, in
    /// one commit, and saves the store. Where somebody else changed one of the same keys meanwhile, `sync` changes nothing and returns
    /// [`Conflict`](crate::ErrorKind::Conflict): then [`Pod::revert`] takes the store as it is now, and [`Pod::sync_overwrite`]
    /// publishes over what others changed.
    ///
    /// What is not published ends with the process, whatever its end. Nothing is published by itself: `sync_at` does not count.
    /// Claims on tasks are the copy's own. Opening costs as much memory and time as all entries do.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use tastypod::{Options, Pod};
    /// let shared = Pod::open(dir.path().join("a.pod"))?;
    /// shared.set("a", &1)?;
    /// let mine = Options::new().isolated(true).open(dir.path().join("a.pod"))?;
    /// mine.set("b", &2)?;
    /// shared.set("c", &3)?;
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

    /// Opens the store at `path`, or makes one there with the directories above it.
    ///
    /// # Errors
    /// `Conflict` where stored options differ from those set here; `InvalidValue` for a [`backoff`](Options::backoff) that makes no
    /// delays; `WrongKind` for a directory that holds something else;
    /// `VersionMismatch`, `ForeignState`, `UnsupportedFilesystem` and `Integrity` for stores that cannot be used; `LockTimeout`
    /// where a stopped process is opening or closing it; `Full` and `Io` as the system says.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
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
