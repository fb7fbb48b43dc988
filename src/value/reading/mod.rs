//! Out of an archive, in place: nodes, paths, any deserialisable type.

pub(super) mod deserialize;
pub(super) mod node;
pub(super) mod path;
mod vectors;
