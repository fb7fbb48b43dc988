//! Crash points: places after which the process may be killed or stopped by a test.
//!
//! Where `build.rs` says so (`tastypod_crash_points`), every change of shared memory and every system call that changes something counts
//! one up; [`arm`] chooses the count at which the process kills or stops itself. A test enumerates all counts, so a
//! new point is covered without anybody adding a test. In all other builds the calls compile to nothing.

/// What happens at the chosen point.
#[cfg(tastypod_crash_points)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL: the process is gone between two instructions.
    Kill,
    /// SIGSTOP: the process stands still until somebody continues it.
    Stop,
}

#[cfg(tastypod_crash_points)]
mod armed {
    use super::Action;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{PoisonError, RwLock};

    // Plain std atomics: these are not part of any protocol and never modelled.
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static TARGET: AtomicU64 = AtomicU64::new(0);
    static STOP: AtomicU64 = AtomicU64::new(0);

    /// Starts to count at 0 and acts at the `target`th point from here (0: only count).
    pub fn arm(target: u64, action: Action) {
        PASSED.store(0, Ordering::SeqCst);
        STOP.store(u64::from(action == Action::Stop), Ordering::SeqCst);
        TARGET.store(target, Ordering::SeqCst);
    }

    type Observer = Box<dyn Fn(&'static str) + Send + Sync>;
    static IS_OBSERVED: AtomicU64 = AtomicU64::new(0);
    static OBSERVER: RwLock<Option<Observer>> = RwLock::new(None);

    thread_local! {
        static ABOUT: std::cell::RefCell<std::path::PathBuf> = std::cell::RefCell::default();
    }

    /// Says what the next point of this thread is about.
    pub(crate) fn about(path: impl FnOnce() -> std::path::PathBuf) {
        if IS_OBSERVED.load(Ordering::Relaxed) != 0 {
            ABOUT.set(path());
        }
    }

    /// What the point that is being observed is about, where it says so.
    pub fn subject() -> std::path::PathBuf {
        ABOUT.with_borrow(Clone::clone)
    }

    /// Calls `observer` with the name of each point from here on, in the thread that passes it.
    pub fn observe(observer: impl Fn(&'static str) + Send + Sync + 'static) {
        *OBSERVER.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(observer));
        IS_OBSERVED.store(1, Ordering::SeqCst);
    }

    /// Ends that.
    pub fn look_away() {
        IS_OBSERVED.store(0, Ordering::SeqCst);
    }

    /// How many points were passed since [`arm`].
    pub fn passed() -> u64 {
        PASSED.load(Ordering::SeqCst)
    }

    #[inline]
    pub(crate) fn point(name: &'static str) {
        let count = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if count == TARGET.load(Ordering::Relaxed) {
            act(name, count);
        }
        if IS_OBSERVED.load(Ordering::Relaxed) != 0 {
            show(name);
        }
    }

    #[cold]
    fn show(name: &'static str) {
        if let Some(observer) = &*OBSERVER.read().unwrap_or_else(PoisonError::into_inner) {
            observer(name);
        }
    }

    #[cold]
    fn act(name: &'static str, count: u64) {
        let signal = if STOP.load(Ordering::SeqCst) == 1 { nix::sys::signal::Signal::SIGSTOP } else { nix::sys::signal::Signal::SIGKILL };
        if std::env::var_os("TASTYPOD_CRASH_TRACE").is_some() {
            eprintln!("crash point {count}: {name}\n{}", std::backtrace::Backtrace::force_capture());
        }
        // A failure to signal oneself would make the test pass without testing.
        nix::sys::signal::kill(nix::unistd::getpid(), signal).expect("a process may signal itself");
    }
}

#[cfg(tastypod_crash_points)]
pub(crate) use armed::{about, point};
#[cfg(tastypod_crash_points)]
pub use armed::{arm, look_away, observe, passed, subject};

#[cfg(not(tastypod_crash_points))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) {}

#[cfg(not(tastypod_crash_points))]
#[inline(always)]
pub(crate) fn about(_path: impl FnOnce() -> std::path::PathBuf) {}
