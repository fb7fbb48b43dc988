//! Tasks of an async runtime that wait for a commit: one thread for each store with such tasks sleeps for all of them.
//!
//! It lives only while somebody waits, since its reference keeps the store open: it gives that back before it wakes the last ones, and whoever
//! ceases to wait, being the last, waits for its end.

use crate::error::{Error, Result};
use crate::store::core::shared::{Mode, Shared};
use crate::sys::fork;
use crate::sys::fork_lock::ForkLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Held across forks (`store/attach/register.rs`).
pub(crate) static WATCHES: ForkLock<Vec<Watch>> = ForkLock::new(Vec::new());

/// A thread, and whom it is to wake.
pub(crate) struct Watch {
    /// Which of all that this process ever had.
    number: u64,
    /// The address of what it has of the store, which keeps it from being another's.
    store: usize,
    /// Of the process that the thread runs in: a child made by fork does not have it.
    generation: u64,
    thread: JoinHandle<()>,
    waiting: Vec<(u64, Waker)>,
}

impl Watch {
    fn is_of(&self, shared: &Arc<Shared>) -> bool {
        (self.store, self.generation) == (Arc::as_ptr(shared) as usize, fork::generation())
    }
}

/// A number that nobody else has.
pub(crate) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Shared {
    /// Sees to it that a task is woken once something newer than `since` is committed. What was committed before the return may be missed.
    pub(crate) fn wake_at_commit(self: &Arc<Shared>, since: u64, number: u64, waker: &Waker) -> Result<()> {
        let mut watches = WATCHES.lock();
        if let Some(watch) = watches.iter_mut().find(|watch| watch.is_of(self)) {
            match watch.waiting.iter_mut().find(|(other, _)| *other == number) {
                Some((_, before)) => before.clone_from(waker),
                None => watch.waiting.push((number, waker.clone())),
            }
            return Ok(());
        }
        let (shared, mine) = (Arc::clone(self), self::number());
        let thread = Builder::new().name("tastypod-wait".to_owned()).spawn(move || watch(shared, mine, since));
        watches.push(Watch {
            number: mine,
            store: Arc::as_ptr(self) as usize,
            generation: fork::generation(),
            thread: thread.map_err(|error| Error::io("start a thread that waits for commits to", &self.directory, error))?,
            waiting: vec![(number, waker.clone())],
        });
        Ok(())
    }

    /// The task does not wait any more.
    pub(crate) fn cease_to_wait(self: &Arc<Shared>, number: u64) {
        let mut watches = WATCHES.lock();
        let Some(at) = watches.iter().position(|watch| watch.is_of(self)) else { return };
        watches[at].waiting.retain(|(other, _)| *other != number);
        if !watches[at].waiting.is_empty() {
            return;
        }
        let watch = watches.swap_remove(at);
        drop(watches);
        // A reader's thread looks often, and may not write.
        if self.mode == Mode::Writer {
            self.wake_all();
        }
        let _ = watch.thread.join();
    }
}

/// Waits for commits after `seen` while anybody else does.
fn watch(shared: Arc<Shared>, number: u64, mut seen: u64) {
    loop {
        let newest = shared.nap(seen, Duration::MAX);
        let mut watches = WATCHES.lock();
        let Some(at) = watches.iter().position(|watch| watch.number == number) else { return };
        if watches[at].waiting.is_empty() || newest > seen {
            let waiting = watches.swap_remove(at).waiting;
            drop(watches);
            drop(shared);
            waiting.into_iter().for_each(|(_, waker)| waker.wake());
            return;
        }
        seen = seen.max(newest);
    }
}
