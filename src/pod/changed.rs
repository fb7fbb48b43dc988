//! A wait for commits that an async runtime can do.

use crate::error::Result;
use crate::pod::{Pod, Version};
use crate::store::read::watch;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that ends when any process commits something newer. See [`Pod::changed`].
///
/// ```
/// # fn main() -> tastypod::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// let changed: tastypod::Changed = pod.changed(pod.version());
/// drop(changed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing before it is awaited"]
pub struct Changed {
    pod: Pod,
    since: Version,
    /// Its number among those who wait, once it does.
    number: Option<u64>,
}

impl Pod {
    /// Waits, in any async runtime, until any process commits something newer than `since`. Returns the newest version. To wait no longer than
    /// some time, use the runtime's own timeout: a future that is dropped ceases to wait.
    ///
    /// A future keeps the store open, as a handle does. One thread of this process sleeps for all futures of a store, and ends soon after the
    /// last of them. Needs the feature `async`.
    ///
    /// `compact` and `revert` are commits too. Through an isolated handle only its own commits count. Through a read-only handle that was opened
    /// while nobody had the store open it never ends: use [`refresh`](Pod::refresh) first.
    ///
    /// # Errors
    /// `Reentrant`; `Io` if the thread cannot be started, or in a child made by fork that cannot join the store.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// use std::time::Duration;
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// let seen = pod.version();
    /// let writer = pod.clone();
    /// std::thread::spawn(move || writer.set("k", 1));
    /// let now = tokio::time::timeout(Duration::from_secs(60), pod.changed(seen)).await??;
    /// assert!(now > seen);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn changed(&self, since: Version) -> Changed {
        Changed { pod: self.clone(), since, number: None }
    }
}

impl Future for Changed {
    type Output = Result<Version>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Version>> {
        let shared = &self.pod.shared;
        shared.require_not_held()?;
        shared.enter()?;
        if self.pod.version() <= self.since {
            let number = self.number.unwrap_or_else(watch::number);
            shared.wake_at_commit(self.since.0, number, context.waker().clone())?;
            self.number = Some(number);
            if self.pod.version() <= self.since {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(self.pod.version()))
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.pod.shared.cease_to_wait(number);
        }
    }
}
