//! Saving: the calls, and when it is done by itself.

use crate::checkpoint::install::Edits;
use crate::checkpoint::revert;
use crate::checkpoint::save::{self, Saving};
use crate::error::Result;
use crate::key::{AsKey, Key};
use crate::pod::calls::absent;
use crate::pod::options::SyncMode;
use crate::pod::{Pod, target::Hashed};
use crate::store::attach::isolated::Overwritten;
use crate::store::core::shared::Shared;
use crate::store::read::snapshot::Instant;
use crate::store::write::transaction::Change;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Stops automatic saving in all processes until it is dropped. Made by [`Pod::hold`].
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Options::new().sync_at(1).open(dir.path().join("a.pod"))?;
/// let held = pod.hold()?;
/// pod.set("a", 1)?;
/// assert_eq!(pod.dirty_len(), 1);
/// drop(held);
/// pod.set("b", 2)?;
/// assert_eq!(pod.dirty_len(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the hold ends when the guard is dropped"]
#[derive(Debug)]
pub struct HoldGuard {
    pod: Pod,
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        self.pod.unhold();
    }
}

impl Pod {
    /// Brings the JSON files up to date with everything that was committed before the call. When it returns, all of that survives a power cut.
    /// All processes can read and write meanwhile.
    ///
    /// # Errors
    /// - `ChangedOnDisk` if a file that would be replaced was edited while the store was open. [`sync_overwrite`](Pod::sync_overwrite) keeps
    ///   the store's entries, [`revert`](Pod::revert) takes the edit.
    /// - `Full` and `Io`: the files stay as they were, and the changes stay in the log.
    /// - `LockTimeout` if another process has been saving for too long.
    /// - `Conflict` through an [isolated](crate::Options::isolated) handle, if somebody else changed one of the same keys. Then nothing was
    ///   published.
    /// - `ReadOnly`, `Reentrant`, `StoreRemoved`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", [1, 2])?;
    /// pod.sync()?;
    /// assert_eq!(std::fs::read_to_string(dir.path().join("a.pod/0.json"))?, "\"a\"\t[1,2]\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self) -> Result<()> {
        self.save(&Saving::patient(self.options.lock_timeout), Overwritten::Refuse)
    }

    fn save(&self, saving: &Saving, overwritten: Overwritten) -> Result<()> {
        self.require_writable()?;
        self.shared.require_not_held()?;
        let Some(origin) = self.origin() else { return save::save(&self.shared, saving) };
        origin.publish(&self.shared, overwritten)?;
        save::save(&origin.store, saving)
    }

    /// Calls [`sync`](Pod::sync) if the key was changed since it was last saved. The whole store is saved, so that all files are of one instant.
    ///
    /// # Errors
    /// `InvalidKey`; `ChangedOnDisk` if a file was edited while the store was open; `Full`, `Io`, `LockTimeout`, `ReadOnly`, `Reentrant`,
    /// `StoreRemoved`; `Conflict` through an [isolated](crate::Options::isolated) handle.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// pod.sync_key("a")?;
    /// assert_eq!(pod.dirty_len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync_key(&self, key: impl AsKey) -> Result<()> {
        self.require_writable()?;
        self.shared.require_not_held()?;
        self.shared.enter()?;
        let key = Hashed::new(&key, self.shared.header.seed)?;
        if self.shared.is_newer_than(self.shared.saved(), key.hash, &key.key)? { self.sync() } else { Ok(()) }
    }

    /// Like [`sync`](Pod::sync), but overwrites files that were edited while the store was open. An
    /// [isolated](crate::Options::isolated) handle also overwrites what others changed.
    ///
    /// # Errors
    /// `Full`, `Io`, `LockTimeout`, `ReadOnly`, `Reentrant`, `StoreRemoved`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// pod.sync()?;
    /// std::fs::write(dir.path().join("a.pod/0.json"), "edited")?;
    /// pod.set("a", 2)?;
    /// assert!(pod.sync().is_err());
    /// pod.sync_overwrite()?;
    /// assert_eq!(std::fs::read_to_string(dir.path().join("a.pod/0.json"))?, "\"a\"\t2\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync_overwrite(&self) -> Result<()> {
        let saving = Saving { edits: Edits::Overwrite, ..Saving::patient(self.options.lock_timeout) };
        self.save(&saving, Overwritten::Allow)
    }

    /// Goes back to what the JSON files say, for every process. In one transaction it undoes the changes since the store was last saved, and
    /// takes over edits of the files.
    ///
    /// Entries keep their places in the order. They all get new places if an edit added or moved entries, or if a key was removed and added
    /// again. Then the next `sync` writes all files.
    ///
    /// Through an [isolated](crate::Options::isolated) handle: goes back to what the store is now, for this handle alone.
    ///
    /// # Errors
    /// `Integrity`, which names file and line, for a bad edit; `Full`, `Io`, `LockTimeout`, `ReadOnly`, `Reentrant`, `StoreRemoved`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// pod.sync()?;
    /// pod.remove("a")?;
    /// pod.set("c", 3)?;
    /// pod.revert()?;
    /// assert_eq!(pod.keys().collect::<Result<Vec<_>, _>>()?, ["a", "b"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn revert(&self) -> Result<()> {
        self.require_writable()?;
        self.shared.require_not_held()?;
        match self.origin() {
            Some(origin) => origin.refresh(&self.shared, self.options.lock_timeout),
            None => revert::revert(&self.shared, self.options.lock_timeout),
        }
    }

    /// Marks a key as changed, so that the next `sync` writes its file.
    ///
    /// # Errors
    /// `KeyNotFound` if the key is absent; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// pod.sync()?;
    /// pod.mark_dirty("a")?;
    /// assert_eq!(pod.dirty()?, ["a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mark_dirty(&self, key: impl AsKey) -> Result<()> {
        let target = self.target()?;
        let key = target.hashed(&key)?;
        // A new version with the old value.
        target.change(&key, |before, out| {
            let before = before.ok_or_else(absent)?;
            out.extend_from_slice(before.as_bytes());
            Ok((Change::Set, ()))
        })
    }

    /// The keys that were changed or removed since the store was last saved, in order.
    ///
    /// # Errors
    /// `Integrity`; `Reentrant`; `Io` in a child made by fork that cannot join.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.extend([("a", 1), ("b", 2)])?;
    /// pod.sync()?;
    /// pod.remove("b")?;
    /// assert_eq!(pod.dirty()?, ["b"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dirty(&self) -> Result<Vec<Key>> {
        self.shared.require_not_held()?;
        self.shared.enter()?;
        let saved = self.shared.saved();
        let mut keys = Vec::new();
        let instant = Instant::take(&*self.shared)?;
        let shared = &self.shared;
        for ordinal in instant.first_ordinal()..instant.counters().next_ordinal {
            if shared.ordinal_version(ordinal)?.is_some_and(|version| version > saved)
                && let Some(key) = shared.changed_key(instant.counters().sequence, saved, ordinal)?
            {
                let key = Key::decode(&key).map_err(|what| shared.integrity(0, what))?;
                keys.push(key);
            }
        }
        // A key that was removed and added again has two places.
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        Ok(keys)
    }

    /// How many keys were changed since the store was last saved. After a writer was killed, the count may be too high for a while.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("a", 1)?;
    /// pod.set("a", 2)?;
    /// assert_eq!(pod.dirty_len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dirty_len(&self) -> usize {
        self.shared.dirty_length() as usize
    }

    /// Stops automatic saving in all processes, until the guard is dropped, [`unhold`](Pod::unhold) is called, or this process ends.
    /// [`sync`](Pod::sync) still saves, and so does the last process to leave.
    ///
    /// # Errors
    /// `ReadOnly`; `Io` in a child made by fork that cannot join.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Options::new().sync_at(0).open(dir.path().join("a.pod"))?;
    /// let held = pod.hold()?;
    /// pod.extend((0..100).map(|n| (n, n)))?;
    /// drop(held);
    /// pod.sync()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold(&self) -> Result<HoldGuard> {
        self.require_writable()?;
        let shared = self.saved();
        shared.enter()?;
        shared.set_hold(true);
        Ok(HoldGuard { pod: self.clone() })
    }

    /// Ends the hold of this process, whichever thread began it.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// std::mem::forget(pod.hold()?);
    /// pod.unhold();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unhold(&self) {
        self.saved().set_hold(false);
    }

    /// The store that has files.
    fn saved(&self) -> &Shared {
        self.origin().map_or(&*self.shared, |origin| &*origin.store)
    }

    /// To be called after each write through this handle: saves if it is time.
    #[inline(always)]
    pub(crate) fn after_write(&self) {
        if self.shared.dirty_length() >= self.options.sync_at as u64 {
            self.save_if_due();
        }
    }

    #[cold]
    fn save_if_due(&self) {
        let never = self.options.sync_mode == SyncMode::Manual || self.options.sync_at == usize::MAX || self.origin().is_some();
        if never || self.shared.is_held_here() {
            return;
        }
        let dirty = self.shared.dirty_length();
        let is_postponed =
            || dirty < self.shared.auto.at.load(Ordering::Relaxed) && self.shared.saved() == self.shared.auto.since.load(Ordering::Relaxed);
        if self.options.sync_at > 0 && is_postponed() || !save::is_behind(&self.shared) || self.shared.is_saving_held() {
            return;
        }
        if self.options.sync_at > 0 {
            let worth = save::entries_to_write(&self.shared) / 4;
            if worth > dirty && worth > SMALL {
                self.postpone((worth / 2).max(dirty + dirty / 2));
                return;
            }
        }
        match self.options.sync_mode {
            SyncMode::Inline => self.save_now(),
            _ => self.save_behind(),
        }
    }

    /// Looks again only when so many keys changed.
    fn postpone(&self, dirty: u64) {
        self.shared.auto.since.store(self.shared.saved(), Ordering::Relaxed);
        self.shared.auto.at.store(dirty, Ordering::Relaxed);
    }

    fn save_now(&self) {
        // The write is done, whatever becomes of the saving: `sync` and `close` report what keeps failing.
        let saving = Saving { waits: false, ..Saving::patient(self.options.lock_timeout) };
        if save::save(&self.shared, &saving).is_err() {
            self.postpone(2 * self.shared.dirty_length());
        }
    }

    fn save_behind(&self) {
        if self.shared.auto.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let pod = Pod { shared: Arc::clone(&self.shared), options: Arc::clone(&self.options) };
        let spawned = std::thread::Builder::new().name("tastypod-sync".to_owned()).spawn(move || {
            pod.save_now();
            pod.shared.auto.is_running.store(false, Ordering::Release);
        });
        if spawned.is_err() {
            self.shared.auto.is_running.store(false, Ordering::Release);
        }
    }
}

/// Saving so many entries costs little more than making files power-safe does anyway.
const SMALL: u64 = 4 * 1024;
