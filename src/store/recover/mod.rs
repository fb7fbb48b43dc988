//! What was left by somebody who is gone: whether it can be trusted, finishing it, making it anew, losing as little as may be.

pub(crate) mod aside;
pub(crate) mod lasting;
pub(crate) mod loss;
pub(crate) mod power_cut;
pub(crate) mod rebuild;
pub(crate) mod repair;
pub(crate) mod trust;
