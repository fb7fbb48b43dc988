//! Several processes count requests and note how long they took. One prints counts and percentiles.
//!
//! `cargo run --release --example metrics -- metrics.pod`
//!
//! A time is noted by adding 1 to a bucket, so a write costs the same however many times there are. Each bucket is about a quarter wider than
//! the one before it: a percentile is that exact.

use std::error::Error;
use std::process::{Command, exit};
use tastypod::{Key, Pod};

const WORKERS: u64 = 3;
const REQUESTS: u64 = 1000;
const WIDTH: f64 = 1.25;

fn bucket(microseconds: u64) -> i64 {
    (microseconds.max(1) as f64).log(WIDTH).floor() as i64
}

/// Counts one request. Both counters change in one commit.
fn note(pod: &Pod, route: &str, microseconds: u64) -> tastypod::Result<()> {
    pod.transaction(|txn| {
        txn.at(("count", route)).or_insert(0).add(1)?;
        txn.at(("time", route, bucket(microseconds))).or_insert(0).add(1)?;
        Ok(())
    })
}

/// The time within which so many percent of a route's requests were answered, and the number of requests.
fn percentiles(pod: &Pod, route: &str, percents: &[u64]) -> tastypod::Result<(u64, Vec<f64>)> {
    let snapshot = pod.snapshot()?;
    let count: u64 = snapshot.get_as(("count", route))?.unwrap_or(0);
    let mut buckets: Vec<(i64, u64)> = Vec::new();
    for entry in &snapshot {
        let (key, value) = entry?;
        if let Some([Key::String(kind), Key::String(of), Key::Integer(bucket)]) = key.as_tuple()
            && (kind.as_str(), of.as_str()) == ("time", route)
        {
            buckets.push((*bucket, value.as_u64().unwrap_or(0)));
        }
    }
    buckets.sort();
    let within = |percent: &u64| {
        let mut left = (count * percent).div_ceil(100);
        let found = buckets.iter().find(|(_, requests)| {
            left = left.saturating_sub(*requests);
            left == 0
        });
        found.map_or(0.0, |(bucket, _)| WIDTH.powi(*bucket as i32 + 1))
    };
    Ok((count, percents.iter().map(within).collect()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "metrics.pod".to_owned());
    let pod = Pod::open(&path)?;
    if let Some(worker) = std::env::args().nth(2) {
        let worker: u64 = worker.parse()?;
        for request in (0..REQUESTS).map(|n| n * WORKERS + worker) {
            note(&pod, if request % 4 == 0 { "/search" } else { "/" }, 1 + request * 7919 % 10_000)?;
        }
        return Ok(());
    }
    let this = std::env::current_exe()?;
    let start = |worker: u64| Command::new(&this).args([path.as_str(), &worker.to_string()]).spawn();
    for mut worker in (0..WORKERS).map(start).collect::<Result<Vec<_>, _>>()? {
        if !worker.wait()?.success() {
            exit(1);
        }
    }
    for route in ["/", "/search"] {
        let (count, times) = percentiles(&pod, route, &[50, 99])?;
        println!("{route}: {count} requests, half within {:.0} µs, 99 % within {:.0} µs", times[0], times[1]);
    }
    Ok(())
}
