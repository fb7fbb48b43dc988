//! A sweep over parameters: every combination is a task, and those that do not converge are tried again with a new start.
//!
//! `cargo run --release --example sweep -- sweep.tracker`
//!
//! Several of these programs may run on one tracker at once; each prints the best that all have found together.

use serde::{Deserialize, Serialize};
use serde_json::json;
use std::error::Error;
use std::time::Duration;
use tastypod::{Options, Retry, Tracker};

/// What one run found.
#[derive(Serialize, Deserialize)]
struct Found {
    at: f64,
    lowest: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "sweep.tracker".to_owned());
    let options = Options::new().max_tries(5).lease(Duration::from_secs(60)).backoff(Duration::from_millis(1), 2.0, Duration::from_secs(1));
    let tracker = options.open_tracker(path)?;
    // Keys are tuples: what a run needs to know.
    let combinations = (1..=20).flat_map(|rate| (1..=5).map(move |momentum| (rate, momentum)));
    tracker.add_many_if_absent(combinations)?;
    let (mut tried, mut again) = (0, 0);
    for claim in tracker.work() {
        let claim = claim?;
        let Some([rate, momentum]) = claim.key().as_tuple() else { return Err("a key of another program".into()) };
        let (rate, momentum) = (rate.as_i64().unwrap_or(1) as f64 / 40.0, momentum.as_i64().unwrap_or(1) as f64 / 10.0);
        tried += 1;
        match descend(rate, momentum, claim.tries()) {
            Some(found) => claim.done_with(&found)?,
            None => {
                let why = format!("no convergence from start {}", claim.tries());
                again += u32::from(claim.fail(why)? != Retry::Never);
            }
        }
    }
    report(&tracker)?;
    println!("this program tried {tried}, {again} of them to be tried again");
    Ok(())
}

/// Goes downhill on a bumpy curve; nothing where that does not come to rest.
fn descend(rate: f64, momentum: f64, start: u64) -> Option<Found> {
    let curve = |x: f64| x * x / 20.0 + (3.0 * x).sin();
    let slope = |x: f64| x / 10.0 + 3.0 * (3.0 * x).cos();
    let (mut x, mut speed) = (start as f64 * 2.7 - 6.0, 0.0);
    for _ in 0..400 {
        speed = momentum * speed - rate * slope(x);
        x += speed;
    }
    (slope(x).abs() < 1e-3).then(|| Found { at: x, lowest: curve(x) })
}

fn report(tracker: &Tracker) -> tastypod::Result<()> {
    let mut best: Option<(String, Found)> = None;
    for entry in tracker.iter() {
        let (key, value) = entry?;
        if let Ok(found) = serde_json::from_value::<Found>(value)
            && best.as_ref().is_none_or(|(_, best)| found.lowest < best.lowest)
        {
            best = Some((key.to_string(), found));
        }
    }
    println!("{}", tracker.progress());
    if let Some((key, found)) = best {
        println!("best {key}: {}", json!(found));
    }
    let failed = tracker.failures().filter(|failure| failure.as_ref().is_ok_and(|failure| failure.is_final)).count();
    println!("{failed} never converged");
    Ok(())
}
