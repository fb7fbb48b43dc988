//! The archived form, its checks, and what can be said of it without reading or writing one: elements, numbers, text, faults.

#[allow(unsafe_code)]
pub(super) mod archived;
pub(super) mod elements;
pub(super) mod fault;
pub(super) mod number;
pub(super) mod text;
