//! Several changes of tasks as one.

use crate::error::{Error, Result};
use crate::pod::Txn;
use crate::tracker::Tracker;
use std::ops::Deref;

/// A tracker inside a transaction: the calls of [`Txn`] and those on tasks.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
/// tracker.transaction(|t| {
///     t.add("parent")?;
///     t.mark_done("parent")?;
///     t.at("parent").key("result").set(42)?;
///     t.add_many_if_absent(["child 1", "child 2"]).map(|_| ())
/// })?;
/// assert_eq!((tracker.num_done(), tracker.len()), (1, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TrackerTxn<'a> {
    pub(super) txn: &'a Txn,
    pub(super) max_tries: u64,
}

impl Deref for TrackerTxn<'_> {
    type Target = Txn;

    fn deref(&self) -> &Txn {
        self.txn
    }
}

impl Tracker {
    /// Several changes in one commit, like [`Pod::transaction`](crate::Pod::transaction), with the calls on tasks.
    ///
    /// # Errors
    /// The closure's; `LockTimeout`, `Full`, `Reentrant`, `ReadOnly`; `Closed` in a child made by a fork inside the closure.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// let outcome = tracker.transaction(|t| {
    ///     t.add("a")?;
    ///     t.add("a")
    /// });
    /// assert_eq!(outcome.unwrap_err().kind(), tastypod::ErrorKind::DuplicateKey);
    /// assert!(tracker.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transaction<R>(&self, body: impl FnOnce(&TrackerTxn<'_>) -> Result<R>) -> Result<R> {
        self.try_transaction(body)
    }

    /// Like [`transaction`](Tracker::transaction), with an error type of your own.
    ///
    /// # Errors
    /// The closure's; `LockTimeout`, `Full`, `Reentrant`, `ReadOnly`; `Closed` in a child made by a fork inside the closure.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.try_transaction(|t| Ok::<_, Box<dyn std::error::Error>>(t.add("a")?))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_transaction<R, E: From<Error>>(
        &self,
        body: impl FnOnce(&TrackerTxn<'_>) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        let max_tries = self.max_tries();
        self.pod().try_transaction(|txn| body(&TrackerTxn { txn, max_tries }))
    }
}
