//! Integration tests: real processes, real kills, real files.

mod support;

mod pod;
mod tidy;

/// The entry of processes that tests start: see `support::Child`.
#[test]
fn child_entry() {
    support::run_child(&[pod::CHILDREN]);
}
