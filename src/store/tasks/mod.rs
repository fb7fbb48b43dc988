//! What a tracker has beside its values: how each task stands, and who works on what.

pub(crate) mod claims;
pub(crate) mod hand_over;
pub(crate) mod held;
pub(crate) mod standing;
