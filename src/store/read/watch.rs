//! Tasks of an async runtime that wait for a commit: one thread for each store with such tasks sleeps for all of them.
//!
//! It keeps no store open: it looks at a store only while somebody waits, whose handle keeps it, and sleeps on a word of the control page,
//! which stays mapped. Who ceases to wait only says so. The thread ends when nobody has waited for a while.

use crate::error::{Error, Result};
use crate::segment::control::Control;
use crate::store::core::shared::{Mode, Shared};
use crate::store::read::wait::nap_of;
use crate::sys::atomic::{Ordering, fence};
use crate::sys::fork_lock::ForkLock;
use crate::sys::{fork, futex};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::task::Waker;
use std::thread::{Builder, Thread, park_timeout};
use std::time::Duration;

/// How long a thread stays for who waits next.
const STAYS: Duration = Duration::from_millis(100);
/// How often a store in memory of its own is looked at: nobody can sleep on what may be gone.
const LOOKS_EACH: Duration = Duration::from_millis(1);

/// Held across forks (`store/attach/register.rs`). No waker is made, dropped or called under it: those are others' code.
pub(crate) static WATCHES: ForkLock<Vec<Watch>> = ForkLock::new(Vec::new());

/// A thread, and whom it is to wake.
pub(crate) struct Watch {
    store: Store,
    thread: Thread,
    /// By their numbers, with the transaction that each has seen.
    waiting: BTreeMap<u64, (u64, Waker)>,
}

/// What a thread watches.
#[derive(Clone, Copy)]
struct Store {
    control: &'static Control,
    mode: Mode,
    /// Whether the control page stays mapped.
    lasts: bool,
    /// Of the process that the thread runs in: a child made by fork does not have it.
    generation: u64,
}

impl Store {
    fn is(&self, other: &Store) -> bool {
        std::ptr::eq(self.control, other.control) && self.generation == other.generation
    }
}

/// A number that nobody else has.
pub(crate) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

impl Shared {
    fn watched(&self) -> Store {
        Store { control: self.control, mode: self.mode, lasts: self.own_control.is_none(), generation: fork::generation() }
    }

    /// Sees to it that a task is woken once something newer than `since` is committed. What was committed before the return may be missed.
    pub(crate) fn wake_at_commit(&self, since: u64, number: u64, waker: Waker) -> Result<()> {
        let store = self.watched();
        let mut watches = WATCHES.lock();
        // Those of the process that this one is a copy of.
        let foreign: Vec<Watch> = watches.extract_if(.., |watch| watch.store.generation != store.generation).collect();
        let at = match watches.iter().position(|watch| watch.store.is(&store)) {
            Some(at) => at,
            None => {
                let spawned = Builder::new().name("tastypod-wait".to_owned()).spawn(move || watch(store));
                let thread = spawned.map_err(|error| Error::io("start a thread that waits for commits to", &self.directory, error));
                watches.push(Watch { store, thread: thread?.thread().clone(), waiting: BTreeMap::new() });
                watches.len() - 1
            }
        };
        let before = watches[at].waiting.insert(number, (since, waker));
        watches[at].thread.unpark();
        drop(watches);
        drop((before, foreign));
        Ok(())
    }

    /// The task does not wait any more.
    pub(crate) fn cease_to_wait(&self, number: u64) {
        let store = self.watched();
        let mut watches = WATCHES.lock();
        let waited = watches.iter_mut().find(|watch| watch.store.is(&store)).and_then(|watch| watch.waiting.remove(&number));
        drop(watches);
        drop(waited);
    }
}

/// Wakes those who wait for commits, until there are none.
fn watch(store: Store) {
    let mut is_idle = false;
    loop {
        let wake = store.lasts.then_some(&store.control.wake);
        let notice = wake.map(|wake| wake.notice.load(Ordering::Acquire));
        if let Some(wake) = wake.filter(|_| store.mode == Mode::Writer && !is_idle) {
            wake.sleepers.store(1, Ordering::Relaxed);
        }
        // As `Shared::nap`: the flag before the look, and who commits looks at the flag after the commit.
        fence(Ordering::SeqCst);
        let mut watches = WATCHES.lock();
        let Some(at) = watches.iter().position(|watch| watch.store.is(&store)) else { return };
        let waiting = &mut watches[at].waiting;
        if waiting.is_empty() {
            if is_idle {
                watches.swap_remove(at);
                return;
            }
            drop(watches);
            is_idle = true;
            park_timeout(STAYS);
            continue;
        }
        // Whoever waits has a handle, so that the store is there.
        let newest = store.control.commit.newest();
        let due: Vec<u64> = waiting.iter().filter(|(_, (since, _))| newest > *since).map(|(number, _)| *number).collect();
        let due: Vec<_> = due.into_iter().filter_map(|number| waiting.remove(&number)).collect();
        drop(watches);
        let has_woken = !due.is_empty();
        for (_, waker) in due {
            // A panic of one runtime is not the others'.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        if std::mem::take(&mut is_idle) || has_woken {
            continue;
        }
        match (wake, notice) {
            (Some(wake), Some(notice)) => futex::wait(&wake.notice, notice, nap_of(store.mode)),
            _ => park_timeout(LOOKS_EACH),
        }
    }
}
