//! Work on many files by as many threads as there are processors.

use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// Calls `make` for each number below `count`, in several threads, and `take` for each result, in order.
pub(crate) fn in_order<T: Send>(
    count: u64,
    make: impl Fn(u64) -> Result<T> + Sync,
    mut take: impl FnMut(u64, T) -> Result<()>,
) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64).min(count).min(16);
    if threads < 2 {
        return (0..count).try_for_each(|number| take(number, make(number)?));
    }
    struct Progress<T> {
        begun: u64,
        taken: u64,
        made: BTreeMap<u64, Result<T>>,
        is_over: bool,
    }
    let progress = Mutex::new(Progress { begun: 0, taken: 0, made: BTreeMap::new(), is_over: false });
    let changed = Condvar::new();
    let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let mut state = lock();
                    // Not far ahead: what is made takes memory.
                    while !state.is_over && state.begun >= state.taken + 3 * threads {
                        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    if state.is_over || state.begun == count {
                        return;
                    }
                    let number = state.begun;
                    state.begun += 1;
                    drop(state);
                    let made = make(number);
                    lock().made.insert(number, made);
                    changed.notify_all();
                }
            });
        }
        let outcome = (0..count).try_for_each(|number| {
            let mut state = lock();
            let made = loop {
                if let Some(made) = state.made.remove(&number) {
                    break made;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let outcome = made.and_then(|made| take(number, made));
            lock().taken = number + 1;
            changed.notify_all();
            outcome
        });
        lock().is_over = true;
        changed.notify_all();
        outcome
    })
}
