//! A mutex in memory that processes share; the kernel frees it when its owner dies.
//!
//! It is used by raw calls and not by a guard: whoever takes it decides what an owner's death means before anything
//! else is done, and a guard could not be told that a fork made it foreign. Its image is that of libc's
//! `pthread_mutex_t`, of equal size and different content in glibc and musl: the attach protocol stamps the libc.

use super::atomic::{AtomicU32, Ordering};
use super::crash;
use std::cell::UnsafeCell;
use std::io;
use std::time::{Duration, Instant};

/// How the mutex was obtained. Owner death must be answered by repair and [`RobustMutex::make_consistent`] before
/// unlocking: unlocking without makes the mutex unusable for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Acquired {
    Clean,
    OwnerDied,
}

#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

const _: () = assert!(size_of::<RobustMutex>() == 64);

// SAFETY: the mutex is initialised as process-shared before anybody else can reach it (`initialise`), and libc's
// functions on it may then be called by any thread of any process that maps it.
unsafe impl Sync for RobustMutex {}
// SAFETY: as above; nothing in it belongs to one thread but the ownership, which libc checks.
unsafe impl Send for RobustMutex {}

const OWNER_DIED: u32 = 0x4000_0000;
const HAS_SLEEPERS: u32 = 0x8000_0000;
const THREAD_ID: u32 = 0x3fff_ffff;
/// Where the kernel's lock word stands in the image, in 32-bit words.
const LOCK_WORD: usize = if cfg!(target_env = "musl") { 1 } else { 0 };
/// Spin-loop hints before a mutex that was held is looked at again: some microseconds, then twice as long, and so on up to
/// the greatest number, after which the kernel is asked (a hand-over through a sleeping waiter costs 26 µs). To look all
/// the time would make processes take turns at every operation, and every operation fetch all its cache lines from the
/// other processor: the longer each goes on, the more they do together.
const PAUSES_MIN: u32 = 256;
const PAUSES_MAX: u32 = 1024;

impl RobustMutex {
    /// Makes a fresh mutex of whatever bytes stand here.
    ///
    /// # Safety
    /// No other thread of any process may use the mutex now: the caller is alone with the store.
    pub(crate) unsafe fn initialise(&self) -> io::Result<()> {
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: the attributes are initialised by the first call before the others use them; the mutex memory is
        // ours alone by this function's contract, so that overwriting it disturbs nobody.
        let outcomes = unsafe {
            let attributes = attributes.as_mut_ptr();
            std::ptr::write_bytes(self.0.get().cast::<u8>(), 0, size_of::<RobustMutex>());
            [
                libc::pthread_mutexattr_init(attributes),
                libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST),
                libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_ERRORCHECK),
                libc::pthread_mutex_init(self.0.get(), attributes),
                libc::pthread_mutexattr_destroy(attributes),
            ]
        };
        crash::point("mutex initialised");
        outcomes.into_iter().find(|code| *code != 0).map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    /// The lock word as the kernel knows it.
    fn word(&self) -> &AtomicU32 {
        // SAFETY: `LOCK_WORD` is inside the image, 4-byte aligned, and libc itself accesses it only atomically.
        unsafe { &*self.0.get().cast::<AtomicU32>().add(LOCK_WORD) }
    }

    /// The thread that holds it now, or 0.
    pub(crate) fn owner_thread(&self) -> u32 {
        self.word().load(Ordering::Relaxed) & THREAD_ID
    }

    /// Takes the mutex if it is free, after a short spin while it is not.
    #[inline]
    pub(crate) fn try_lock(&self) -> io::Result<Option<Acquired>> {
        let mut pauses = PAUSES_MIN;
        loop {
            if self.word().load(Ordering::Relaxed) & THREAD_ID == 0 {
                // SAFETY: the mutex was initialised by the first opener before this process could map it.
                let code = unsafe { libc::pthread_mutex_trylock(self.0.get()) };
                crash::point("mutex tried");
                if code != libc::EBUSY {
                    return acquired(code);
                }
            }
            if pauses > PAUSES_MAX {
                return Ok(None);
            }
            for _ in 0..pauses {
                std::hint::spin_loop();
            }
            pauses *= 2;
        }
    }

    /// Takes the mutex, waiting at most `wait` in the kernel.
    ///
    /// The wait is this function's own and not `pthread_mutex_timedlock`, whose deadline is one of the clock on the wall, which may be set
    /// back while one waits. It does what those of glibc and musl do: says in the lock word that somebody sleeps, which makes the owner
    /// wake one, and says so again when it has the mutex, since others may be asleep. A wake-up that is lost, with who was woken,
    /// costs the others the rest of their `wait`.
    #[cold]
    pub(crate) fn lock_within(&self, wait: Duration) -> io::Result<Option<Acquired>> {
        let start = Instant::now();
        let word = self.word();
        loop {
            let seen = word.load(Ordering::Relaxed);
            if seen & THREAD_ID == 0 {
                // SAFETY: as in `try_lock`.
                let code = unsafe { libc::pthread_mutex_trylock(self.0.get()) };
                crash::point("mutex waited for");
                if code != libc::EBUSY {
                    if matches!(code, 0 | libc::EOWNERDEAD) {
                        word.fetch_or(HAS_SLEEPERS, Ordering::Relaxed);
                    }
                    return acquired(code);
                }
            } else if seen & THREAD_ID == nix::unistd::gettid().as_raw() as u32 {
                return Err(io::Error::from_raw_os_error(libc::EDEADLK));
            }
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            let sleepy = seen | HAS_SLEEPERS;
            if seen & THREAD_ID != 0 && word.compare_exchange(seen, sleepy, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                super::futex::wait_on(word, sleepy, left);
            }
        }
    }

    /// Ends the state that an owner's death left, after repair.
    pub(crate) fn make_consistent(&self) {
        // SAFETY: the mutex is initialised. On a mutex that is not ours or not inconsistent the call only fails.
        let code = unsafe { libc::pthread_mutex_consistent(self.0.get()) };
        debug_assert_eq!(code, 0, "the caller holds the mutex after an owner's death");
        crash::point("mutex made consistent");
    }

    /// Gives the mutex back. In a thread that does not hold it (a child made by fork) nothing happens.
    #[inline]
    pub(crate) fn unlock(&self) {
        // SAFETY: the mutex is initialised and of the error-checking kind, for which unlocking without owning fails.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        crash::point("mutex unlocked");
    }

    /// Does what the kernel does for a dying owner, for one that it skipped (an out-of-memory kill may). The caller has
    /// proof that `thread` is dead. False if the owner changed meanwhile.
    #[cold]
    pub(crate) fn declare_owner_dead(&self, thread: u32) -> bool {
        let word = self.word();
        let seen = word.load(Ordering::Relaxed);
        let done = seen & THREAD_ID == thread
            && word.compare_exchange(seen, (seen & !THREAD_ID) | OWNER_DIED, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        crash::point("owner declared dead");
        super::futex::wake_all_on(word);
        done
    }
}

fn acquired(code: i32) -> io::Result<Option<Acquired>> {
    match code {
        0 => Ok(Some(Acquired::Clean)),
        libc::EOWNERDEAD => Ok(Some(Acquired::OwnerDied)),
        libc::EBUSY | libc::ETIMEDOUT => Ok(None),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Whether taking the mutex failed because this thread has it.
pub(crate) fn is_held_by_caller(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EDEADLK)
}
