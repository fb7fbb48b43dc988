//! Sleeping until something is committed, or until there is work.
//!
//! A sleeper sets `sleepers`, then looks at the commit word; a committer stores the commit word, then looks at
//! `sleepers`. The sequentially consistent fences between the two steps of each see to it that at least one of them sees
//! the other. A committer that is killed before it woke anybody leaves sleepers who look again after a tenth of a second.
//!
//! Workers who wait for tasks are not woken by every commit. In place of the commit word stands `brought`, which a commit raises, under
//! the mutex, where it makes a task wait or leaves nobody at work; in place of `sleepers` stands `idle`. A worker who sees another
//! `brought` than before his attempt attempts again, and so has the mutex after whoever raised it. So they may be woken *before* the commit
//! that they are woken for: who is about to set a new key wakes them before he takes the mutex, others when they find that a task will wait,
//! and commit while the workers get up. What `idle` said too late for that, or again, is seen by the look after the commit.

use crate::error::Result;
use crate::store::core::shared::{Mode, Shared};
use crate::sys::atomic::{Ordering, fence};
use crate::sys::futex;
use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A reader may not announce itself, so nobody wakes it: it looks more often.
pub(super) fn nap_of(mode: Mode) -> Duration {
    if mode == Mode::Writer { LOOK_AGAIN } else { Duration::from_millis(1) }
}

impl Shared {
    /// Wakes whoever waits for a commit, or for what it brought.
    #[inline]
    pub(crate) fn wake_sleepers(&self) {
        fence(Ordering::SeqCst);
        let (wake, tasks) = (&self.control.wake, &self.control.tasks);
        if wake.sleepers.load(Ordering::Relaxed) != 0 {
            self.wake_all();
        }
        if wake.idle.load(Ordering::Relaxed) != 0 && tasks.woken.get() != tasks.brought.get() {
            self.wake_idle();
        }
    }

    #[cold]
    fn wake_all(&self) {
        let wake = &self.control.wake;
        wake.sleepers.store(0, Ordering::Relaxed);
        wake.notice.increment(Ordering::Release);
        futex::wake_all(&wake.notice);
    }

    #[cold]
    fn wake_idle(&self) {
        if self.mode != Mode::Writer {
            return;
        }
        let (wake, tasks) = (&self.control.wake, &self.control.tasks);
        let brought = tasks.brought.get();
        // Who says that he is idle after what follows sees what was brought.
        fence(Ordering::SeqCst);
        wake.idle.store(0, Ordering::Relaxed);
        tasks.woken.set(brought);
        wake.work.increment(Ordering::Release);
        futex::wake_all(&wake.work);
    }

    /// Wakes workers who wait for tasks, of which a commit is about to bring one, or most likely is.
    #[inline(always)]
    pub(crate) fn wake_early(&self) {
        if self.control.wake.idle.load(Ordering::Relaxed) != 0 {
            self.wake_idle();
        }
    }

    /// Notes that an attempt to claim may come to something else than before. Under the mutex.
    #[inline]
    pub(crate) fn note_brought(&self) {
        let brought = &self.control.tasks.brought;
        brought.set(brought.get().wrapping_add(1));
    }

    /// What was brought so far, for [`wait_for_work`](Shared::wait_for_work): to be asked before an attempt to claim.
    pub(crate) fn brought(&self) -> u64 {
        self.control.tasks.brought.load(Ordering::Acquire)
    }

    /// Sleeps until more is brought than before an attempt to claim, at most `timeout`. May wake for no reason.
    pub(crate) fn wait_for_work(&self, seen: u64, timeout: Duration) {
        let wake = &self.control.wake;
        let work = wake.work.load(Ordering::Acquire);
        if self.brought() != seen {
            return;
        }
        wake.idle.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.brought() == seen {
            futex::wait(&wake.work, work, timeout);
        }
    }

    /// Sleeps until a transaction newer than `since` is committed, at most `timeout`. Returns the newest.
    pub(crate) fn wait_for_commit(&self, since: u64, timeout: Duration) -> Result<u64> {
        self.enter()?;
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let newest = self.nap(since, left);
            if newest > since || left.is_zero() {
                return Ok(newest);
            }
        }
    }

    /// Sleeps until a transaction newer than `since` is committed, at most `timeout`, or for less than that. Returns the newest.
    pub(crate) fn nap(&self, since: u64, timeout: Duration) -> u64 {
        let wake = &self.control.wake;
        let newest = self.control.commit.newest();
        if newest > since || timeout.is_zero() {
            return newest;
        }
        let notice = wake.notice.load(Ordering::Acquire);
        if self.mode == Mode::Writer {
            wake.sleepers.store(1, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        let newest = self.control.commit.newest();
        if newest > since {
            return newest;
        }
        futex::wait(&wake.notice, notice, timeout.min(nap_of(self.mode)));
        self.control.commit.newest()
    }
}
