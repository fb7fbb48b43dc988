//! Clocks that all processes of one boot share.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, to the kernel's tick (1 to 10 ms): a few nanoseconds a call.
pub(crate) fn coarse_nanoseconds() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC_COARSE)
}

/// Nanoseconds since boot.
pub(crate) fn nanoseconds_since_boot() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn unix_nanoseconds() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

/// Nanoseconds since the Unix epoch, to the kernel's tick: a few nanoseconds a call.
pub(crate) fn coarse_unix_nanoseconds() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME_COARSE)
}

fn nanoseconds(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| (time.tv_sec() as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec() as u64))
}
