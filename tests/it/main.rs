//! Integration tests: real processes, real kills, real files.

mod forked;
mod support;

mod bad_bytes;
mod bad_input;
mod forks;
#[allow(dead_code)]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;
mod growth;
mod kill_matrix;
mod linearizable;
mod model;
mod pod;
mod processes;
mod random_kills;
mod regressions;
mod stopped;
mod tidy;

/// The entry of processes that tests start: see `support::Child`.
#[test]
fn child_entry() {
    support::run_child(&[
        bad_bytes::CHILDREN,
        bad_input::CHILDREN,
        forks::CHILDREN,
        growth::CHILDREN,
        kill_matrix::CHILDREN,
        linearizable::CHILDREN,
        model::CHILDREN,
        pod::CHILDREN,
        processes::CHILDREN,
        random_kills::CHILDREN,
        regressions::CHILDREN,
        stopped::CHILDREN,
    ]);
}
