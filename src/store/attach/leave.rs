//! Leaving a store: the last process to leave brings the files beside the log up to date and notes that all is in order.

use crate::error::Result;
use crate::store::attach::register;
use crate::store::core::membership::{ATTACHED, Opening};
use crate::store::core::shared::{Mode, Shared};
use crate::sys::file::{Kept, Open as _};
use crate::sys::{file, fork, locks, signals};
use std::time::Duration;

/// How long the last to leave waits for what keeps it from saving.
const LEAVING: Duration = Duration::from_secs(10);

/// Has all stores of this process saved before SIGTERM or SIGINT end it.
pub(crate) fn save_before_termination() -> std::io::Result<()> {
    signals::before_termination(register::leave_all_at_exit)
}

impl Shared {
    /// Gives up this process's part. The last to leave brings the files beside the log up to date, and notes that all is in order, so
    /// that the next open is instant. The error is that of the former.
    pub(crate) fn leave(&self) -> Result<()> {
        if self.generation.load(std::sync::atomic::Ordering::Relaxed) != fork::generation() {
            return Ok(());
        }
        let path = self.locks_path();
        // The open file that is attached: giving it up is part of the same step.
        let clone = self.membership.members.lock().locks.as_ref().map(file::duplicate);
        let Some(Ok(locks)) = clone else { return Ok(()) };
        let mut outcome = self.save_as_last();
        let mut alone = None;
        if self.mode == Mode::Writer
            && let Ok(mut opening) = Opening::acquire(&path, || file::duplicate(&locks), Duration::from_millis(500))
            // Whoever opens or leaves at this moment makes us not the last.
            && matches!(opening.try_alone(), Ok(true))
        {
            // Somebody left in the same moment, and each took the other for the last.
            if outcome.is_ok() && self.canon.is_behind(self) {
                outcome = self.canon.save(self, LEAVING);
            }
            alone = Some(opening);
        }
        let mut members = self.membership.members.lock();
        members.locks = None;
        members.pins.clear();
        if self.mode == Mode::Writer {
            if let Some(entry) = self.control.processes.get(self.membership.slot() as usize) {
                entry.pid.set(0);
            }
            if alone.is_some() {
                self.close_in_order();
            }
        }
        let _ = locks::release(&locks, ATTACHED, 1);
        drop(alone);
        outcome
    }

    /// Saves if nobody else has the store open who could do it later.
    fn save_as_last(&self) -> Result<()> {
        let is_last = || {
            let members = self.membership.members.lock();
            let holder = members.locks.as_ref().map(|locks| locks.file().and_then(|locks| locks::first_holder(locks, ATTACHED, 1)));
            matches!(holder, Some(Ok(None)))
        };
        if self.mode != Mode::Writer || !is_last() || !self.canon.is_behind(self) {
            return Ok(());
        }
        self.require_in_place()?;
        self.canon.save(self, LEAVING)
    }

    /// At the exit of the process: if it is the last, saves and notes that all is in order, but stays attached.
    pub(crate) fn close_at_exit(&self) {
        if self.mode != Mode::Writer || self.generation.load(std::sync::atomic::Ordering::Relaxed) != fork::generation() {
            return;
        }
        // Nobody is left to be told of a failure: what is not saved stays in the log.
        let _ = self.save_as_last();
        let mut members = self.membership.members.lock();
        let Some(locks) = members.locks.take() else { return };
        let path = self.locks_path();
        if let Ok(mut opening) = Opening::acquire(&path, || file::duplicate(&locks), Duration::from_millis(500)) {
            if matches!(opening.try_alone(), Ok(true)) {
                self.close_in_order();
            }
            if opening.attach().is_ok() {
                members.locks = Some(Kept::of(opening.finish()));
            }
        }
        // Kept open: only the kernel ends this process's part.
        std::mem::forget(locks);
    }
}
