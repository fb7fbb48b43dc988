//! Integration tests: real processes, real kills, real files.

mod support;

mod growth;
mod pod;
mod tidy;

/// The entry of processes that tests start: see `support::Child`.
#[test]
fn child_entry() {
    support::run_child(&[growth::CHILDREN, pod::CHILDREN]);
}
