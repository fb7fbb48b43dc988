//! From the mutex to the commit word, and where in the log that lies.

pub(crate) mod change_settings;
pub(crate) mod clean;
pub(crate) mod commit;
pub(crate) mod dirty;
pub(crate) mod growing;
pub(crate) mod locked;
pub(crate) mod prepare;
pub(crate) mod publishing;
pub(crate) mod put;
pub(crate) mod replace;
pub(crate) mod reserve;
pub(crate) mod room;
pub(crate) mod segments;
pub(crate) mod tail;
pub(crate) mod transaction;
