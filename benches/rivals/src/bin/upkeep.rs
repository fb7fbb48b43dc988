//! What upkeep costs: opens a second and what they leave behind, and how long a log is under patterns of writes that leave few live bytes
//! in each of its segments.
//!
//!     cargo run --release --bin upkeep -- [OPENS [SECONDS]]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tastypod::{Options, Pod, SyncMode};

fn main() -> tastypod::Result<()> {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|argument| argument.parse().expect("a number")).collect();
    let opens = arguments.first().copied().unwrap_or(10_000);
    let seconds = arguments.get(1).copied().unwrap_or(20);
    // On a real file system.
    let directory = tempfile::tempdir_in("target").expect("a directory for the store");
    for kind in ["joining", "alone", "read-only", "read-only beside a writer", "isolated", "refused"] {
        open_often(&directory.path().join(format!("{kind}.pod")), kind, opens)?;
    }
    for pattern in ["one counter", "few of many survive, then one counter", "random sizes and removals, then one counter"] {
        log_over_time(&directory.path().join(format!("{}.pod", pattern.len())), pattern, Duration::from_secs(seconds))?;
    }
    Ok(())
}

fn manual() -> Options {
    Options::new().sync_mode(SyncMode::Manual)
}

/// Resident bytes, mappings, descriptors of this process.
fn holdings() -> (u64, usize, usize) {
    let status = fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages: u64 = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    let count = |path| fs::read_dir(path).map_or(0, |entries| entries.count());
    let maps = fs::read_to_string("/proc/self/maps").expect("proc is mounted").lines().count();
    (pages * 4096, maps, count("/proc/self/fd"))
}

fn open_often(path: &Path, kind: &str, opens: u64) -> tastypod::Result<()> {
    manual().open(path)?.set(7, 7)?;
    let _resident = ["joining", "read-only beside a writer", "refused"].contains(&kind).then(|| Pod::open(path)).transpose()?;
    let once = || -> tastypod::Result<()> {
        let options = match kind {
            "read-only" | "read-only beside a writer" => manual().read_only(true),
            "isolated" => manual().isolated(true),
            "refused" => manual().file_size(3),
            _ => manual(),
        };
        match options.open(path) {
            Ok(pod) => assert_eq!(pod.get_as::<u64>(7)?, Some(7)),
            Err(error) => assert!(kind == "refused", "{error}"),
        }
        Ok(())
    };
    for _ in 0..100 {
        once()?;
    }
    let (before, start) = (holdings(), Instant::now());
    for _ in 0..opens {
        once()?;
    }
    let rate = opens as f64 / start.elapsed().as_secs_f64();
    let after = holdings();
    let grown = after.0 as i64 - before.0 as i64;
    println!("open {kind:26} {rate:9.0} a second; after {opens}: {grown:+} bytes, {} mappings, {} descriptors more", after.1 - before.1, after.2 - before.2);
    Ok(())
}

fn log_over_time(path: &Path, pattern: &str, time: Duration) -> tastypod::Result<()> {
    let pod = manual().open(path)?;
    let mut random = 88_172_645_463_325_252u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    pod.set("counter", 0)?;
    match pattern {
        "one counter" => {}
        "few of many survive, then one counter" => {
            pod.extend((0..20_000).map(|n| (n, "x".repeat(2000))))?;
            for n in (0..20_000).filter(|n| n % 100 != 0) {
                pod.remove(n)?;
            }
        }
        _ => {
            for _ in 0..200_000 {
                let key = below(5000);
                if below(3) == 0 {
                    pod.remove(key)?;
                } else {
                    pod.set(key, "x".repeat(below(8000) as usize))?;
                }
            }
            for key in (0..5000).filter(|key| key % 20 != 0) {
                pod.remove(key)?;
            }
        }
    }
    println!("log {pattern}");
    let (start, mut count) = (Instant::now(), 0u64);
    for step in 0..=4 {
        while start.elapsed() < time * step / 4 {
            for _ in 0..1000 {
                pod.at("counter").add(1)?;
            }
            count += 1000;
        }
        let stats = pod.stats()?;
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!("  after {count:9} sets: {:6.1} MB of log, {:6.1} MB live", megabytes(stats.log_bytes), megabytes(stats.live_bytes));
    }
    Ok(())
}
