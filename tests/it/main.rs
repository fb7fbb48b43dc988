//! Integration tests: real processes, real kills, real files.

mod chance;
mod forked;
mod support;

mod bad_bytes;
mod bad_input;
mod checkpoint;
mod damaged_log;
mod durable;
mod examples;
mod failing_calls;
mod faults;
mod file_cases;
mod files_input;
mod files_model;
mod forks;
#[allow(dead_code)]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;
mod growth;
mod isolated;
mod kill_matrix;
mod linearizable;
mod model;
mod native;
mod network_disk;
mod pod;
mod power_loss;
mod power_loss_files;
mod processes;
mod random_kills;
mod regressions;
mod space;
mod stopped;
mod tastypy;
mod tastypy_tracker;
mod tidy;
mod tracker;
mod tracker_cases;
mod unclaimed;
mod under_the_lock;
mod workers;

/// The entry of processes that tests start: see `support::Child`.
#[test]
fn child_entry() {
    support::run_child(&[
        bad_bytes::CHILDREN,
        bad_input::CHILDREN,
        checkpoint::CHILDREN,
        damaged_log::CHILDREN,
        failing_calls::CHILDREN,
        faults::CHILDREN,
        file_cases::CHILDREN,
        files_input::CHILDREN,
        files_model::CHILDREN,
        durable::CHILDREN,
        forks::CHILDREN,
        growth::CHILDREN,
        isolated::CHILDREN,
        kill_matrix::CHILDREN,
        linearizable::CHILDREN,
        model::CHILDREN,
        native::CHILDREN,
        network_disk::CHILDREN,
        pod::CHILDREN,
        power_loss::CHILDREN,
        power_loss_files::CHILDREN,
        processes::CHILDREN,
        random_kills::CHILDREN,
        regressions::CHILDREN,
        space::CHILDREN,
        stopped::CHILDREN,
        tastypy::CHILDREN,
        tracker_cases::CHILDREN,
        unclaimed::CHILDREN,
        under_the_lock::CHILDREN,
        workers::CHILDREN,
        workers::FORKING,
    ]);
}
