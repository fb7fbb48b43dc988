//! What a handle asks for: how to open, how to write.

use crate::store::core::canon::Canon;
use crate::store::core::settings::Wanted;
use std::time::Duration;

/// How to open.
#[derive(Debug, Clone)]
pub(crate) struct How {
    pub(crate) create: bool,
    pub(crate) read_only: bool,
    pub(crate) file_mode: u32,
    pub(crate) timeout: Duration,
    pub(crate) any_file_system: bool,
    pub(crate) salvage: bool,
    pub(crate) wanted: Wanted,
    pub(crate) canon: &'static dyn Canon,
}

/// How a handle writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writing {
    /// How long it waits for the mutex.
    pub(crate) timeout: Duration,
    /// Whether a write returns only when it is on the disk.
    pub(crate) is_durable: bool,
}
