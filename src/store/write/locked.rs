//! Holding the store's mutex: waiting for it, naming who has it, and repairing what a dead owner left.

use crate::error::{Error, ErrorKind, Owner, Result};
use crate::segment::control::{DAMAGED, READY};
use crate::store::core::how::Writing;
use crate::store::core::shared::Shared;
use crate::sys::atomic::Ordering;
use crate::sys::process::{self, Identity};
use crate::sys::robust_mutex::Acquired;
use crate::sys::{clock, fork, robust_mutex};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// The longest wait in the kernel before the owner is looked at: an owner whose death the kernel missed is found then.
const LOOK_AT_OWNER: Duration = Duration::from_millis(100);

thread_local! {
    /// The stores whose mutex this thread holds, with the fork generation that took it.
    static HELD: RefCell<Held> = const { RefCell::new(Vec::new()) };
}

type Held = Vec<(usize, u64, HeldBy)>;

/// What runs while a thread holds the mutex, for whom it has to tell that a call cannot be made meanwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum HeldBy {
    /// A single call or a transaction, and so at most a closure of the caller's.
    Closure,
    /// A guard in the caller's hand.
    Guard,
}

/// Proof that this thread holds the mutex of a store, and that the store is in order. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct Locked<S: Deref<Target = Shared>> {
    shared: S,
    /// How what is committed is written, where it is more than looked at.
    pub(crate) writing: Writing,
    generation: u64,
    released: Cell<bool>,
    /// The mutex belongs to the thread.
    _not_send: PhantomData<*const ()>,
}

impl<S: Deref<Target = Shared>> Locked<S> {
    /// Waits for the mutex at most `timeout`, then repairs what its last owner may have left by dying.
    #[inline]
    pub(crate) fn new(shared: S, timeout: Duration) -> Result<Locked<S>> {
        Locked::for_writing(shared, Writing { timeout, is_durable: false })
    }

    /// The same, to commit something.
    #[inline]
    pub(crate) fn for_writing(shared: S, writing: Writing) -> Result<Locked<S>> {
        shared.enter()?;
        shared.require_writer()?;
        shared.require_not_held()?;
        let acquired = match shared.control.lock.mutex.try_lock() {
            Ok(Some(acquired)) => acquired,
            Ok(None) => shared.wait_for_mutex(writing.timeout)?,
            Err(error) => return Err(shared.mutex_failed(error)),
        };
        Locked::hold(shared, writing, acquired)
    }

    /// The same where nobody has the mutex; nothing where somebody does.
    pub(crate) fn attempt(shared: S) -> Result<Option<Locked<S>>> {
        shared.enter()?;
        shared.require_writer()?;
        shared.require_not_held()?;
        let writing = Writing { timeout: Duration::ZERO, is_durable: false };
        match shared.control.lock.mutex.try_lock() {
            Ok(acquired) => acquired.map(|acquired| Locked::hold(shared, writing, acquired)).transpose(),
            Err(error) => Err(shared.mutex_failed(error)),
        }
    }

    #[inline]
    fn hold(shared: S, writing: Writing, acquired: Acquired) -> Result<Locked<S>> {
        // A thread that exits may have lost the list already: then only the mutex itself tells re-entry.
        let _ = HELD.try_with(|held| held.borrow_mut().push((std::ptr::from_ref(&*shared) as usize, fork::generation(), HeldBy::Closure)));
        let locked = Locked { shared, writing, generation: fork::generation(), released: Cell::new(false), _not_send: PhantomData };
        locked.shared.note_holder();
        // An owner may also have left between seal and commit without dying: by a panic, or because this process could not
        // reach what another one wrote.
        if acquired == Acquired::OwnerDied || locked.shared.is_unfinished() {
            locked.shared.repair_before_use(acquired)?;
        }
        locked.shared.require_reach()?;
        if locked.shared.control.stamps.state.load(Ordering::Relaxed) != READY {
            return Err(locked.shared.is_damaged());
        }
        Ok(locked)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Fails in a child made by a fork since: the mutex is the parent's.
    pub(crate) fn require_same_process(&self) -> Result<()> {
        if self.generation == fork::generation() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Closed,
            "this transaction or guard was begun before the fork and belongs to the parent process; begin one of your own",
        ))
    }
}

impl<S: Deref<Target = Shared>> Locked<S> {
    /// Gives the mutex back.
    #[inline]
    pub(crate) fn release(&self) {
        if self.released.replace(true) {
            return;
        }
        let id = std::ptr::from_ref(&*self.shared) as usize;
        // A thread that exits runs destructors when the list may be gone already.
        let _ = HELD.try_with(|held| held.borrow_mut().retain(|entry| entry.0 != id));
        if self.generation == fork::generation() {
            self.shared.control.lock.mutex.unlock();
        }
    }
}

impl<S: Deref<Target = Shared>> Drop for Locked<S> {
    #[inline]
    fn drop(&mut self) {
        self.release();
    }
}

impl Shared {
    /// What runs while this thread holds the mutex of this store, if it does.
    #[inline]
    fn held_by(&self) -> Option<HeldBy> {
        let id = std::ptr::from_ref(self) as usize;
        let held_by =
            |held: &RefCell<Held>| held.borrow().iter().find(|entry| (entry.0, entry.1) == (id, fork::generation())).map(|entry| entry.2);
        HELD.try_with(held_by).unwrap_or(None)
    }

    /// Whether this thread holds the mutex of this store.
    #[inline]
    pub(crate) fn is_held_here(&self) -> bool {
        self.held_by().is_some()
    }

    /// Says that a guard is what holds the mutex that this thread holds.
    pub(crate) fn note_guard(&self) {
        let id = std::ptr::from_ref(self) as usize;
        let _ = HELD.try_with(|held| held.borrow_mut().iter_mut().filter(|entry| entry.0 == id).for_each(|entry| entry.2 = HeldBy::Guard));
    }

    /// Fails where this thread holds this store's mutex: waiting for it would never end, and what is committed is not what the thread
    /// has made of it.
    #[inline]
    pub(crate) fn require_not_held(&self) -> Result<()> {
        self.held_by().map_or(Ok(()), |by| Err(self.is_reentrant(by)))
    }

    #[cold]
    pub(crate) fn is_reentrant(&self, by: HeldBy) -> Error {
        let message = match by {
            HeldBy::Closure => "a call on the store from inside a closure that runs under its lock; use the closure's argument instead",
            HeldBy::Guard => {
                "this thread holds a guard on the store, and the call works on what is committed; commit the guard or drop it first"
            }
        };
        Error::new(ErrorKind::Reentrant, format!("{}: {message}", self.directory.display()))
    }

    fn note_holder(&self) {
        let lock = &self.control.lock;
        lock.holder.set(u64::from(lock.mutex.owner_thread()) | self.membership.slot() << 32);
        lock.since.set(clock::coarse_nanoseconds());
    }

    #[cold]
    fn wait_for_mutex(&self, timeout: Duration) -> Result<Acquired> {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            match self.control.lock.mutex.lock_within(left.min(LOOK_AT_OWNER)) {
                Ok(Some(acquired)) => return Ok(acquired),
                Ok(None) => self.free_from_dead_owner(),
                Err(error) => return Err(self.mutex_failed(error)),
            }
            if start.elapsed() >= timeout {
                return Err(self.lock_timeout(timeout));
            }
        }
    }

    /// The kernel marks the mutexes of a dying thread, but an out-of-memory kill may skip that, and so does exec by
    /// another thread than the process's first: that thread has changed its number by then. The owner is the thread in
    /// the lock word; the note beside it says of which process, if the owner came so far as to write it.
    #[cold]
    fn free_from_dead_owner(&self) {
        let thread = self.control.lock.mutex.owner_thread();
        let holder = self.control.lock.holder.load(Ordering::Acquire);
        if thread == 0 || holder as u32 != thread {
            return;
        }
        if let Some(identity) = self.membership.identity_in(self.control, holder >> 32)
            && (process::is_dead(identity) || !process::has_thread(identity.pid, thread))
            && process::is_dead(Identity { pid: thread, started_ticks: 0 })
        {
            self.control.lock.mutex.declare_owner_dead(thread);
        }
    }

    /// Who holds the mutex, and for how long.
    pub(crate) fn lock_holder(&self) -> Option<(Owner, Duration)> {
        let thread = self.control.lock.mutex.owner_thread();
        (thread != 0).then(|| self.noted_holder(thread, Duration::ZERO))
    }

    /// Whose note stands beside the mutex that a thread holds, or held last; `at_least` for one who has not noted it yet.
    fn noted_holder(&self, thread: u32, at_least: Duration) -> (Owner, Duration) {
        let lock = &self.control.lock;
        let holder = lock.holder.load(Ordering::Acquire);
        // Between taking the mutex and noting so, the note is still that of the owner before.
        if thread == 0 || holder as u32 == thread {
            let held = clock::coarse_nanoseconds().saturating_sub(lock.since.load(Ordering::Relaxed));
            (self.membership.owner_in(self.control, holder >> 32), Duration::from_nanos(held))
        } else {
            (self.membership.owner_of_thread(self.control, thread), at_least)
        }
    }

    #[cold]
    fn lock_timeout(&self, timeout: Duration) -> Error {
        let (owner, since) = self.noted_holder(self.control.lock.mutex.owner_thread(), timeout);
        let message = format!(
            "{}: {owner} has held the store's lock for {since:.1?}, longer than the lock timeout of {timeout:?}; it is stopped or inside a long transaction: continue or end it, or wait longer with Options::lock_timeout",
            self.directory.display()
        );
        Error::new(ErrorKind::LockTimeout { owner, since }, message)
    }

    #[cold]
    fn mutex_failed(&self, error: std::io::Error) -> Error {
        if robust_mutex::is_held_by_caller(&error) {
            return self.is_reentrant(HeldBy::Closure);
        }
        Error::caused(
            ErrorKind::Io,
            format!("{}: the store's mutex failed; close the store in all processes and open it again", self.directory.display()),
            error,
        )
    }

    #[cold]
    fn repair_before_use(&self, acquired: Acquired) -> Result<()> {
        /// Sees to it that a panic leaves the mutex usable, and the store refused until it is rebuilt.
        struct Attempt<'a>(&'a Shared, Acquired, bool);
        impl Drop for Attempt<'_> {
            fn drop(&mut self) {
                if !self.2 {
                    self.0.control.stamps.state.set(DAMAGED);
                }
                if self.1 == Acquired::OwnerDied {
                    self.0.control.lock.mutex.make_consistent();
                }
            }
        }
        let mut attempt = Attempt(self, acquired, false);
        let outcome = self.repair();
        // What this process cannot map is no damage: the next owner may be able to.
        attempt.2 = outcome.as_ref().is_ok_and(|()| true) || outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Full);
        outcome
    }

    #[cold]
    fn is_damaged(&self) -> Error {
        self.integrity(
            self.control.log.sealed.get() * 8,
            "a process died and its last transaction contradicts itself; close the store in all processes and open it again to rebuild it",
        )
    }
}
