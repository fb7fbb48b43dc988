//! Getting the log to the disk: commits that return only then, and what a failed flush left.

pub(crate) mod durable;
pub(crate) mod mend;
