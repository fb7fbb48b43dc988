//! Sleeping in the kernel until another process changes a word.

use super::atomic::{AtomicU32, HalfWord};
use super::crash;
use std::time::Duration;

/// Sleeps while `word` holds `value`, until somebody wakes it or `timeout` passes. May wake for no reason.
pub(crate) fn wait(word: &HalfWord, value: u32, timeout: Duration) {
    wait_on(word.futex(), value, timeout);
}

/// The same for a word inside of libc's mutex. The kernel counts the time by its monotonic clock.
pub(super) fn wait_on(word: &AtomicU32, value: u32, timeout: Duration) {
    let timeout = libc::timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
    // SAFETY: the word outlives the call, it is a valid 4-byte aligned address in this process, and FUTEX_WAIT only
    // reads it. Every outcome (woken, changed, timed out, interrupted) means the same to the caller: look again.
    unsafe {
        libc::syscall(libc::SYS_futex, std::ptr::from_ref(word), libc::FUTEX_WAIT, value, &raw const timeout, 0usize, 0u32);
    }
}

/// Wakes every process and thread that sleeps on `word`.
pub(crate) fn wake_all(word: &HalfWord) {
    wake_all_on(word.futex());
}

/// The same for a word inside of libc's mutex.
pub(super) fn wake_all_on(word: &AtomicU32) {
    // SAFETY: FUTEX_WAKE does not touch the memory, the address only names the queue.
    unsafe {
        libc::syscall(libc::SYS_futex, std::ptr::from_ref(word), libc::FUTEX_WAKE, i32::MAX, 0usize, 0usize, 0u32);
    }
    crash::point("sleepers woken");
}
