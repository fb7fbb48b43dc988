//! Sleeping until something is committed.
//!
//! A sleeper sets `sleepers`, then looks at the commit word; a committer stores the commit word, then looks at
//! `sleepers`. The sequentially consistent fences between the two steps of each see to it that at least one of them sees
//! the other. A committer that is killed before it woke anybody leaves sleepers who look again after a tenth of a second.

use crate::error::Result;
use crate::store::shared::{Mode, Shared};
use crate::sys::atomic::{Ordering, fence};
use crate::sys::{crash, futex};
use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Shared {
    /// Wakes whoever waits for a commit.
    #[inline]
    pub(crate) fn wake_sleepers(&self) {
        fence(Ordering::SeqCst);
        if self.control.wake.sleepers.load(Ordering::Relaxed) != 0 {
            self.wake_all();
        }
    }

    #[cold]
    fn wake_all(&self) {
        let wake = &self.control.wake;
        wake.sleepers.store(0, Ordering::Relaxed);
        crash::point("sleepers cleared");
        wake.notice.fetch_add(1, Ordering::Release);
        crash::point("notice given");
        futex::wake_all(&wake.notice);
    }

    /// Sleeps until a transaction newer than `since` is committed, at most `timeout`. Returns the newest.
    pub(crate) fn wait_for_commit(&self, since: u64, timeout: Duration) -> Result<u64> {
        self.enter()?;
        let start = Instant::now();
        let wake = &self.control.wake;
        loop {
            let notice = wake.notice.load(Ordering::Acquire);
            if self.mode == Mode::Writer {
                wake.sleepers.store(1, Ordering::Relaxed);
            }
            fence(Ordering::SeqCst);
            let newest = self.control.commit.newest();
            let left = timeout.saturating_sub(start.elapsed());
            if newest > since || left.is_zero() {
                return Ok(newest);
            }
            // A reader may not announce itself, so nobody wakes it: it looks more often.
            let nap = if self.mode == Mode::Writer { LOOK_AGAIN } else { Duration::from_millis(1) };
            futex::wait(&wake.notice, notice, left.min(nap));
        }
    }
}
