//! The write-ahead log's bytes: frames, transactions, segments. Pure functions of bytes, and the walk over them.

pub(crate) mod batch;
pub(crate) mod header;
pub(crate) mod record;
pub(crate) mod scan;
