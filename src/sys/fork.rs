//! What changes in a child made by fork: a generation number, and hooks around the fork.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(1);
static HOOKS: [AtomicUsize; 3] = [AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0)];

/// The number of this process in its line of forks: a child's differs from its parent's. Costs one load.
#[inline(always)]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Runs `prepare` before each fork of this process, then `parent` in the parent and `child` in the child. Only the
/// first call has an effect; later calls must pass the same functions.
#[allow(unsafe_code)]
pub(crate) fn install(prepare: fn(), parent: fn(), child: fn()) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (slot, hook) in HOOKS.iter().zip([prepare, parent, child]) {
            slot.store(hook as usize, Ordering::SeqCst);
        }
        // SAFETY: the three functions are `extern "C"`, never unwind (a panic in them aborts), and stay loaded for
        // as long as the process lives, since this crate is linked into the program or into a library that libc
        // deregisters them for.
        let failed = unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
        assert_eq!(failed, 0, "pthread_atfork fails only without memory");
    });
}

#[allow(unsafe_code)]
fn run(index: usize) {
    let hook = HOOKS[index].load(Ordering::SeqCst);
    if hook != 0 {
        // SAFETY: the only store to the slot, in `install`, put a `fn()` there.
        let hook = unsafe { std::mem::transmute::<usize, fn()>(hook) };
        hook();
    }
}

extern "C" fn before() {
    run(0);
}

extern "C" fn after_in_parent() {
    run(1);
}

extern "C" fn after_in_child() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
    run(2);
}
