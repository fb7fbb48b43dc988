//! The operating system: the only place that calls libc and nix.
//!
//! Everything here is about one thing of the system each and knows nothing of stores. Every call that changes the
//! state of the system or of shared memory passes a [`crash`] point.

pub(crate) mod atomic;
pub(crate) mod clock;
pub(crate) mod crash;
pub(crate) mod file;
pub(crate) mod fork;
#[allow(unsafe_code)]
pub(crate) mod fork_lock;
#[allow(unsafe_code)]
pub(crate) mod futex;
pub(crate) mod locks;
#[allow(unsafe_code)]
pub(crate) mod map;
pub(crate) mod names;
#[allow(unsafe_code)]
pub(crate) mod process;
#[allow(unsafe_code)]
pub(crate) mod robust_mutex;
#[allow(unsafe_code)]
pub(crate) mod signals;
