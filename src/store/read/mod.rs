//! Reading, beside writers and without a lock: the newest state, one instant, waiting for the next.

pub(crate) mod copied;
pub(crate) mod get;
pub(crate) mod snapshot;
pub(crate) mod wait;
#[cfg(feature = "async")]
pub(crate) mod watch;
