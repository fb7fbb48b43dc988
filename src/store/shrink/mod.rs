//! Giving back space: ordinals without holes, blocks that nothing needs.

pub(crate) mod compact;
pub(crate) mod space;
