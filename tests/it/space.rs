//! The log stays bounded, and space goes back to the file system.

use crate::support::{Child, Role, directory, hear, say, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tastypod::{Options, Pod, SyncMode};

pub const CHILDREN: &[Role] = &[("hold a snapshot", hold_a_snapshot)];

/// Reads the same before and after it was stopped.
fn hold_a_snapshot(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    let snapshot = pod.snapshot().unwrap();
    let read = || -> Vec<(String, Option<i64>)> {
        snapshot
            .entries()
            .map(|entry| entry.map(|(key, value)| (key.to_key().unwrap().to_string(), value.index(0).and_then(|n| n.as_i64()))).unwrap())
            .collect()
    };
    let before = read();
    say(before.len());
    hear();
    assert_eq!(read(), before);
    say("the same");
    drop(snapshot);
    hear();
}

/// Bytes of disk blocks of a store's file.
fn disk_bytes(path: &Path, name: &str) -> u64 {
    std::fs::metadata(path.join(".live").join(name)).unwrap().blocks() * 512
}

fn require_clean(pod: &Pod) {
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

/// From the log alone.
fn rebuilt(path: &Path) -> Pod {
    for name in ["control", "index", "order", "segments"] {
        std::fs::remove_file(path.join(".live").join(name)).unwrap();
    }
    Pod::open(path).unwrap()
}

#[test]
fn a_queue_that_is_filled_and_emptied_for_ever_stays_small() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    pod.set("stays", 1).unwrap();
    let value = "v".repeat(300);
    let mut most = 0;
    for n in 0..120_000 {
        pod.set(n, &value).unwrap();
        if n >= 100 {
            pod.remove(n - 100).unwrap();
        }
        if n % 10_000 == 0 {
            most = most.max(disk_bytes(&path, "log"));
        }
    }
    assert_eq!(pod.len(), 101);
    assert!(most < 64 << 20, "{most} bytes of log for a hundred keys");
    require_clean(&pod);
    let keys: Vec<_> = pod.keys().map(|key| key.unwrap()).collect();
    drop(pod);
    let pod = rebuilt(&path);
    assert_eq!(pod.keys().map(|key| key.unwrap()).collect::<Vec<_>>(), keys);
    require_clean(&pod);
}

/// Keys and values in order.
fn contents(pod: &Pod) -> Vec<(String, u64)> {
    pod.iter_as::<u64>().map(|entry| entry.map(|(key, value)| (key.to_string(), value)).unwrap()).collect()
}

#[test]
fn compaction_closes_holes_and_gives_space_back_while_snapshots_and_loops_go_on() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    pod.extend((0..100_000).map(|n| (n, n))).unwrap();
    for n in 0..100_000 {
        if n % 10 != 3 {
            pod.remove(n).unwrap();
        }
    }
    let expected: Vec<(String, u64)> = (0..10_000).map(|n| ((n * 10 + 3).to_string(), n * 10 + 3)).collect();
    let snapshot = pod.snapshot().unwrap();
    let mut live = pod.iter_live();
    let seen: Vec<_> = live.by_ref().take(500).map(|entry| entry.unwrap().0.to_string()).collect();
    pod.compact().unwrap();
    require_clean(&pod);
    assert_eq!(contents(&pod), expected);
    assert_eq!(snapshot.entries().count(), 10_000);
    assert!(snapshot.entries().zip(&expected).all(|(entry, (key, _))| entry.unwrap().0.to_key().unwrap().to_string() == *key));
    pod.set("behind", 1).unwrap();
    let rest: Vec<_> = live.map(|entry| entry.unwrap().0.to_string()).collect();
    assert_eq!(seen.len() + rest.len(), 10_001);
    assert!(seen.iter().chain(&rest).zip(&expected).all(|(seen, (key, _))| seen == key));
    drop(snapshot);
    pod.remove("behind").unwrap();
    let before: u64 = ["log", "index", "order"].iter().map(|name| disk_bytes(&path, name)).sum();
    pod.compact().unwrap();
    let after: u64 = ["log", "index", "order"].iter().map(|name| disk_bytes(&path, name)).sum();
    println!("{before} {after} {:?}", ["log", "index", "order"].map(|name| disk_bytes(&path, name)));
    assert!(after < before && after < 24 << 20, "{before} and {after} bytes");
    assert_eq!(contents(&pod), expected);
    require_clean(&pod);
    drop(pod);
    let pod = rebuilt(&path);
    assert_eq!(contents(&pod), expected);
    require_clean(&pod);
    pod.set("last", 0).unwrap();
    assert_eq!(contents(&pod).last().unwrap().0, "last");
}

#[test]
fn what_comes_after_a_record_that_almost_fills_a_segment_outlives_it() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    let segment = if cfg!(tastypod_small_segments) { 64 << 10 } else { 4 << 20 };
    // The first segment has the longest head: a record that does not fit there may leave room in any other.
    for (turn, length) in (segment - 1200..segment).step_by(40).enumerate() {
        pod.set("long", "l".repeat(length)).unwrap();
        for n in 0..4 {
            pod.set((turn, n), n).unwrap();
            if n % 2 == 0 {
                pod.remove((turn, n)).unwrap();
            }
        }
        pod.set("long", 0).unwrap();
        pod.compact().unwrap();
        require_clean(&pod);
    }
    assert_eq!(pod.len(), 1 + 30 * 2);
    for turn in 0..30 {
        assert_eq!((0..4).filter_map(|n| pod.get_as::<i32>((turn, n)).unwrap()).collect::<Vec<_>>(), [1, 3]);
    }
    let before = contents(&pod);
    drop(pod);
    assert_eq!(contents(&rebuilt(&path)), before);
}

#[test]
fn a_cleared_store_gives_its_space_back() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    pod.extend((0..200_000).map(|n| (n, n))).unwrap();
    let before: u64 = ["log", "index", "order"].iter().map(|name| disk_bytes(&path, name)).sum();
    let start = std::time::Instant::now();
    pod.clear().unwrap();
    println!("{:?}", start.elapsed());
    let after: u64 = ["log", "index", "order"].iter().map(|name| disk_bytes(&path, name)).sum();
    println!("{before} {after} {:?}", ["log", "index", "order"].map(|name| disk_bytes(&path, name)));
    assert!(after < 24 << 20, "{before} and {after} bytes");
    require_clean(&pod);
    drop(pod);
    let pod = rebuilt(&path);
    assert!(pod.is_empty() && pod.iter().next().is_none());
    require_clean(&pod);
}

#[test]
fn compaction_ends_though_no_mark_of_a_removed_key_may_be_dropped() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Options::new().sync_mode(SyncMode::Manual).open(&path).unwrap();
    pod.extend((0..300_000).map(|n| (n, n))).unwrap();
    pod.sync().unwrap();
    // The shards have these keys until the next checkpoint, so all marks are kept: several segments of them.
    (0..300_000).for_each(|n| drop(pod.remove(n).unwrap()));
    pod.compact().unwrap();
    pod.clear().unwrap();
    require_clean(&pod);
    pod.sync().unwrap();
    pod.compact().unwrap();
    let stats = pod.stats().unwrap();
    assert!(stats.log_bytes <= 8 << 20, "{stats:?}");
    require_clean(&rebuilt(&path));
}

#[test]
fn a_snapshot_in_a_stopped_process_keeps_the_log_and_stats_name_it() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    let value = "v".repeat(2000);
    let round = |turn: u64| (0..1000).for_each(|n| pod.set(n, (turn, &value)).unwrap());
    round(0);
    let mut child = Child::start("hold a snapshot", &[text(&path)]);
    assert_eq!(child.line().as_deref(), Some("1000"));
    let stopped = Pid::from_raw(child.pid());
    kill(stopped, Signal::SIGSTOP).unwrap();
    // Many times the data, with removals and compactions among it.
    for turn in 1..40 {
        round(turn);
        pod.remove(turn as i64 * 7).unwrap();
        if turn % 10 == 5 {
            pod.compact().unwrap();
        }
    }
    let held = pod.stats().unwrap();
    let log_bytes = if cfg!(tastypod_small_segments) { 4 << 20 } else { 40 << 20 };
    assert!(held.is_held && held.log_bytes > log_bytes && held.dead_bytes > held.log_bytes / 2, "{held:#?}");
    assert!(held.pin_holders.iter().any(|holder| holder.owner.pid == stopped.as_raw() as u32), "{held:#?}");
    assert_eq!(held.oldest_pin, held.pin_holders.iter().map(|holder| holder.transaction).min());
    kill(stopped, Signal::SIGCONT).unwrap();
    child.tell("look");
    assert_eq!(child.line().as_deref(), Some("the same"));
    for turn in 40..60 {
        round(turn);
    }
    let free = pod.stats().unwrap();
    assert!(free.pin_holders.is_empty() && !free.is_held, "{free:#?}");
    // Blocks of segments smaller than a huge page go back only in part.
    let most = if cfg!(tastypod_small_segments) { held.disk_bytes } else { held.disk_bytes / 3 * 2 };
    assert!(free.disk_bytes <= most, "{} bytes with the snapshot, {} without", held.disk_bytes, free.disk_bytes);
    require_clean(&pod);
}
