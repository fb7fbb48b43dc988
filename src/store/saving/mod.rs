//! Who may save the canonical form, and when nobody should.

pub(crate) mod hold;
pub(crate) mod sync_lock;
