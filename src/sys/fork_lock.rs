//! A lock between the threads of one process that can be held across a fork, so that the child finds what it protects
//! in order. For rare work (opening, closing, pins): a waiter yields and sleeps.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct ForkLock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the flag lets one thread at a time at the value, as a mutex would.
unsafe impl<T: Send> Sync for ForkLock<T> {}

pub(crate) struct Guard<'a, T>(&'a ForkLock<T>);

impl<T> ForkLock<T> {
    pub(crate) const fn new(value: T) -> ForkLock<T> {
        ForkLock { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let mut turns = 0u32;
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            turns += 1;
            match turns {
                0..100 => std::hint::spin_loop(),
                100..200 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(100)),
            }
        }
        Guard(self)
    }

    /// Takes the lock and keeps it, for a hook that runs before a fork.
    pub(crate) fn hold_for_fork(&self) {
        std::mem::forget(self.lock());
    }

    /// Gives back what [`ForkLock::hold_for_fork`] took in this thread, or in the parent's thread that this one is a
    /// copy of. The guard in between lets the child mend the value.
    pub(crate) fn end_of_fork(&self) -> Guard<'_, T> {
        debug_assert!(self.locked.load(Ordering::Relaxed), "the hook before the fork took it");
        Guard(self)
    }
}

impl ForkLock<()> {
    /// In a child made by fork: whoever held it is a thread that the child does not have.
    pub(crate) fn reset_in_child(&self) {
        self.locked.store(false, Ordering::Release);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a guard exists only for the thread that set the flag, and once.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}
