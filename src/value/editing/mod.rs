//! A new archive of an old one: edits at a path, sums, tasks.

pub(super) mod edit;
pub(super) mod patch;
pub(super) mod sum;
pub(super) mod task;
