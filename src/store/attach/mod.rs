//! Coming and going: opening, joining, making, loading; the register of open stores; leaving.

pub(crate) mod agree;
pub(crate) mod assemble;
pub(crate) mod choose;
pub(crate) mod create;
pub(crate) mod isolated;
pub(crate) mod leave;
pub(crate) mod load;
pub(crate) mod open;
pub(crate) mod register;
