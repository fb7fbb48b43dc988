//! Every maximum in one place.

/// Bytes of one encoded key, its type tag included.
pub(crate) const KEY_BYTES_MAX: usize = 64 * 1024 - 1;

/// Tuples nested in a key.
pub(crate) const KEY_DEPTH_MAX: usize = 32;

/// Bytes of one archived value.
pub(crate) const VALUE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Arrays and objects nested in a value; serde_json reads as many.
pub(crate) const VALUE_DEPTH_MAX: usize = 127;

const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize);
// Archived values use 32-bit signed relative offsets.
const _: () = assert!(VALUE_BYTES_MAX < i32::MAX as usize / 2);

/// Bytes of the log's unit of allocation and cleaning. A longer record gets a run of adjacent segments.
pub(crate) const SEGMENT_BYTES: u64 = if cfg!(tastypod_small_segments) { 64 * 1024 } else { 4 * 1024 * 1024 };

/// Bytes of log that the 40-bit positions of the index can name, and that a process maps where it may.
pub(crate) const LOG_BYTES_MAX: u64 = 1 << 40;

/// Bytes of the index file that a process maps where it may: two tables of 2^31 slots.
pub(crate) const INDEX_BYTES_MAX: u64 = 1 << 36;

/// Bytes of the order file that a process maps where it may: 2^33 ordinals.
pub(crate) const ORDER_BYTES_MAX: u64 = 1 << 36;

/// Bytes of each of the files of a tracker that a process maps where it may.
pub(crate) const TASKS_BYTES_MAX: u64 = 1 << 36;

/// Bytes of the segments file: 32 for each segment of the largest log.
pub(crate) const SEGMENTS_BYTES_MAX: u64 = LOG_BYTES_MAX / SEGMENT_BYTES * 32;

/// Processes that can have one store open at once.
pub(crate) const PROCESSES_MAX: usize = 4096;

const _: () = assert!(LOG_BYTES_MAX <= 1 << 43);

/// Bytes of one line of a shard: every byte of the largest value and key could be an escape of six, in a key of tastypy's dialect of seven.
pub(crate) const LINE_BYTES_MAX: usize = 6 * VALUE_BYTES_MAX + 8 * KEY_BYTES_MAX;

/// Places without a key that a new key may leave before it, where a store is loaded from shards with removed entries.
pub(crate) const GAP_MAX: u64 = 1 << 16;
