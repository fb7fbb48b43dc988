//! From the mutex to the commit word, and where in the log that lies.

pub(crate) mod change_settings;
pub(crate) mod clean;
pub(crate) mod commit;
pub(crate) mod dirty;
pub(crate) mod locked;
pub(crate) mod publishing;
pub(crate) mod replace;
pub(crate) mod reserve;
pub(crate) mod segments;
pub(crate) mod tail;
pub(crate) mod transaction;
