//! The index: from a key's hash to its newest record, and from an ordinal to its newest record.
//!
//! Words only: no I/O, no JSON, no keys; whoever asks compares keys. All of it can be rebuilt from the log.

pub(crate) mod bits;
pub(crate) mod grow;
pub(crate) mod order;
pub(crate) mod queue;
pub(crate) mod table;
