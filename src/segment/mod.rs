//! Shared memory: its layout, and the access to it. The last layer with `unsafe` (archived values apart).

#[allow(unsafe_code)]
pub(crate) mod control;
pub(crate) mod counters;
#[allow(unsafe_code)]
pub(crate) mod heap;
#[allow(unsafe_code)]
pub(crate) mod slots;
#[allow(unsafe_code)]
pub(crate) mod words;
