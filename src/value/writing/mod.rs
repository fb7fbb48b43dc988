//! Into an archive: from any serialisable value, from JSON text; and where trusted archives come from.

pub(super) mod array;
pub(super) mod encode;
pub(super) mod json;
pub(super) mod name;
pub(super) mod serialize;
#[allow(unsafe_code)]
pub(super) mod stored;
pub(super) mod writer;
