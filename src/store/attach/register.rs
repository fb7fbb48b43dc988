//! The stores that this process has open: found again by a later open, carried over a fork, left at exit.
//!
//! A child made by fork closes its copies of the locks files in the fork handler, and joins in its own name when it first uses a store.

use crate::error::{Error, Result};
use crate::segment::control;
use crate::store::core::files::removed;
use crate::store::core::membership::{LOCK_FILES, Membership, NO_SLOT, Opening};
use crate::store::core::shared::{Mode, Shared};
#[cfg(feature = "async")]
use crate::store::read::watch::WATCHES;
use crate::sys::fork_lock::ForkLock;
use crate::sys::{file, fork, process};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A store that this process has open.
struct Registered {
    device: u64,
    inode: u64,
    mode: Mode,
    shared: Weak<Shared>,
    membership: Arc<Membership>,
}

/// Children made by fork join one after the other.
static JOINING: ForkLock<()> = ForkLock::new(());

static REGISTRY: ForkLock<Vec<Registered>> = ForkLock::new(Vec::new());

/// The store that this process has open already, where it serves `mode`.
pub(crate) fn find_open(device: u64, inode: u64, mode: Mode) -> Option<Arc<Shared>> {
    let registry = REGISTRY.lock();
    let mut serving = registry.iter().filter(|entry| {
        (entry.device, entry.inode) == (device, inode) && (entry.mode == Mode::Writer || entry.mode == mode && mode == Mode::Reader)
    });
    let mut useless = Vec::new();
    let found = serving.find_map(|entry| usable(entry, &mut useless));
    drop(registry);
    found
}

/// A registered store, unless the program has closed its descriptors: then it goes to those that are dropped when the register is free
/// again, which their end needs.
fn usable(entry: &Registered, useless: &mut Vec<Arc<Shared>>) -> Option<Arc<Shared>> {
    let shared = entry.shared.upgrade()?;
    if shared.has_its_files() {
        return Some(shared);
    }
    useless.push(shared);
    None
}

/// Sees to it that forks leave no child with locks of its parent. To be called before the first lock is taken.
pub(crate) fn watch_forks() {
    fork::install(before_fork, after_fork_in_parent, after_fork_in_child);
}

/// Makes an opened store known to later opens of this process, to forks and to its exit. If another thread was faster,
/// its store is returned instead.
pub(crate) fn register(shared: Arc<Shared>) -> Result<Arc<Shared>> {
    at_exit();
    let stamp = file::stamp(&shared.files.log).map_err(|error| Error::io("look at", &shared.log_path(), error))?;
    let mut useless = Vec::new();
    let mut registry = REGISTRY.lock();
    let known = registry
        .iter()
        .filter(|entry| (entry.device, entry.inode, entry.mode) == (stamp.device, stamp.inode, shared.mode) && entry.mode != Mode::Private)
        .find_map(|entry| usable(entry, &mut useless));
    if let Some(known) = known {
        drop(registry);
        return Ok(known);
    }
    registry.push(Registered {
        device: stamp.device,
        inode: stamp.inode,
        mode: shared.mode,
        shared: Arc::downgrade(&shared),
        membership: Arc::clone(&shared.membership),
    });
    drop(registry);
    Ok(shared)
}

fn before_fork() {
    let registry = REGISTRY.lock();
    for entry in registry.iter() {
        entry.membership.members.hold_for_fork();
    }
    LOCK_FILES.hold_for_fork();
    control::hold_for_fork();
    #[cfg(feature = "async")]
    WATCHES.hold_for_fork();
    std::mem::forget(registry);
}

fn after_fork_in_parent() {
    let registry = REGISTRY.end_of_fork();
    #[cfg(feature = "async")]
    drop(WATCHES.end_of_fork());
    control::end_of_fork();
    drop(LOCK_FILES.end_of_fork());
    for entry in registry.iter() {
        drop(entry.membership.members.end_of_fork());
    }
}

fn after_fork_in_child() {
    let registry = REGISTRY.end_of_fork();
    // Their threads are the parent's.
    #[cfg(feature = "async")]
    drop(WATCHES.end_of_fork());
    control::end_of_fork();
    for descriptor in LOCK_FILES.end_of_fork().drain(..) {
        // Whoever held it is a thread of the parent; nobody in the child will close it.
        file::close_orphan(descriptor);
    }
    JOINING.reset_in_child();
    for entry in registry.iter() {
        let mut members = entry.membership.members.end_of_fork();
        // The child's descriptors share the parent's locks: closing them here leaves the locks to the parent.
        members.locks = None;
        members.pins.clear();
        members.flush = None;
        entry.membership.slot.store(NO_SLOT, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Leaves all stores at the end of the process.
pub(crate) fn leave_all_at_exit() {
    let open: Vec<Arc<Shared>> = REGISTRY.lock().iter().filter_map(|entry| entry.shared.upgrade()).collect();
    for shared in &open {
        shared.close_at_exit();
    }
    // Other threads may go on until the very end: the store stays attached until the kernel takes the locks back.
    std::mem::forget(open);
}

/// Leaves all stores when the process exits without dropping its handles.
fn at_exit() {
    extern "C" fn leave_all() {
        leave_all_at_exit();
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| process::at_exit(leave_all));
}

impl Shared {
    /// This store in hands of their own, for a thread that may outlive the caller's.
    pub(crate) fn registered(&self) -> Option<Arc<Shared>> {
        file::stamp(&self.files.log).ok().and_then(|log| find_open(log.device, log.inode, Mode::Writer))
    }

    /// Joins in the name of a child made by fork.
    #[cold]
    pub(crate) fn join_after_fork(&self) -> Result<()> {
        let _one_at_a_time = JOINING.lock();
        let generation = fork::generation();
        if self.generation.load(std::sync::atomic::Ordering::Acquire) == generation {
            return Ok(());
        }
        if self.mode != Mode::Private {
            let removed = |_| removed(&self.directory);
            let path = self.locks_path();
            file::stamp_at(&path).map_err(removed)?;
            let mut opening = Opening::acquire(&path, || file::open(&path, self.mode == Mode::Writer), Duration::from_secs(30))?;
            self.require_in_place()?;
            if self.mode == Mode::Writer && opening.try_alone()? {
                self.prepare_alone()?;
            }
            opening.attach()?;
            self.membership.join(opening, (self.mode == Mode::Writer).then_some(self.control))?;
        }
        self.generation.store(generation, std::sync::atomic::Ordering::Release);
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        {
            let mut registry = REGISTRY.lock();
            let this = Arc::as_ptr(&self.membership);
            registry.retain(|entry| Arc::as_ptr(&entry.membership) != this);
        }
        // `Pod::close` reports what is kept silent about here.
        let _ = self.leave();
    }
}
