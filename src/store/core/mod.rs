//! What every room stands on: one store as a process has it open, its files, its locks and pins, what handles ask for.

pub(crate) mod canon;
pub(crate) mod files;
pub(crate) mod how;
pub(crate) mod in_place;
pub(crate) mod membership;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod task_files;
