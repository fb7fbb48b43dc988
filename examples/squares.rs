//! The squares of numbers, by a pool of processes made by fork on one tracker.
//!
//! `cargo run --release --example squares -- squares.tracker 25`
//!
//! Nobody says who does what: each process claims the next number. Kill any of them, or all, and start it again: what was done
//! stays done, what a killed process had in hand is done by another.

use nix::sys::wait::wait;
use nix::unistd::{ForkResult, fork};
use serde_json::json;
use std::error::Error;
use tastypod::Tracker;

const WORKERS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let tracker = Tracker::open(arguments.next().unwrap_or_else(|| "squares.tracker".to_owned()))?;
    let count: i64 = arguments.next().map_or(Ok(25), |count| count.parse())?;
    tracker.add_many_if_absent(0..count)?;
    for _ in 0..WORKERS {
        // SAFETY: the process has one thread, so the child may do anything.
        #[allow(unsafe_code)]
        if let ForkResult::Child = unsafe { fork() }? {
            let outcome = work(&tracker);
            if let Err(error) = &outcome {
                eprintln!("{error}");
            }
            std::process::exit(i32::from(outcome.is_err()));
        }
    }
    for _ in 0..WORKERS {
        wait()?;
    }
    for entry in &*tracker {
        let (key, value) = entry?;
        println!("{key} {}", value["square"]);
    }
    eprintln!("{}", tracker.progress());
    Ok(())
}

fn work(tracker: &Tracker) -> tastypod::Result<()> {
    for claim in tracker.work() {
        let claim = claim?;
        let number = claim.key().as_i64().unwrap_or(0);
        claim.done_with(json!({"square": number * number}))?;
    }
    Ok(())
}
