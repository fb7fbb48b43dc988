//! Watches a tracker that other processes work on: one line for every change, at most ten a second, until all is finished.
//!
//! `cargo run --release --example dashboard -- squares.tracker`, while something works there.

use std::error::Error;
use std::time::Duration;
use tastypod::Tracker;

fn main() -> Result<(), Box<dyn Error>> {
    let tracker = Tracker::open(std::env::args().nth(1).unwrap_or_else(|| "squares.tracker".to_owned()))?;
    loop {
        // What is committed from here on is not slept through.
        let seen = tracker.version();
        let progress = tracker.progress();
        println!("{progress}");
        for claim in tracker.claims()? {
            println!("  {} has {} for {:.1?}", claim.owner, claim.key, claim.since.elapsed().unwrap_or_default());
        }
        if progress.percent() == 100 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
        tracker.wait(seen, Duration::from_secs(5))?;
    }
}
