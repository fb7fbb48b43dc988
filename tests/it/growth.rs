//! The index while it grows and shrinks: with removals, snapshots in several processes, and control pages from before.

use crate::support::{Child, Role, directory, hear_end, say, text};
use serde_json::json;
use std::os::unix::fs::FileExt;
use tastypod::Pod;

pub const CHILDREN: &[Role] = &[("snapshot and stay", snapshot_and_stay), ("exit with a store open", exit_with_a_store_open)];

fn snapshot_and_stay(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    let snapshot = pod.snapshot().unwrap();
    say(snapshot.version());
    crate::support::hear();
    say(snapshot.get(0).unwrap().is_some());
    hear_end();
}

fn exit_with_a_store_open(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("k", 1).unwrap();
    std::process::exit(0);
}

#[test]
fn a_process_that_exits_with_a_store_open_ends_well_and_leaves_it_in_order() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    for _ in 0..3 {
        let mut child = Child::start("exit with a store open", &[text(&path)]);
        assert!(child.wait().success());
    }
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.get("k").unwrap(), Some(json!(1)));
}

#[test]
fn removed_keys_do_not_fill_the_index_while_a_snapshot_is_held() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.set("first", 1).unwrap();
    let snapshot = pod.snapshot().unwrap();
    for n in 0..20_000 {
        pod.set(n, n).unwrap();
        pod.remove(n).unwrap();
    }
    assert_eq!(snapshot.len(), 1);
    drop(snapshot);
    let slots = pod.stats().unwrap().slots;
    for n in 20_000..100_000 {
        pod.set(n, n).unwrap();
        pod.remove(n).unwrap();
    }
    assert!(pod.stats().unwrap().slots <= slots, "without a snapshot the marks of removed keys go");
    assert!(pod.verify().unwrap().is_clean(), "{}", pod.verify().unwrap());
}

#[test]
fn the_index_shrinks_under_a_stream_of_new_keys() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.extend((0..60_000).map(|n| (n, n))).unwrap();
    pod.clear().unwrap();
    for n in 0..60_000 {
        pod.set(("new", n), n).unwrap();
        if n % 7 == 0 {
            pod.extend((0..50).map(|m| (("more", m), m))).unwrap();
        }
    }
    assert_eq!(pod.len(), 60_050);
    assert!(pod.verify().unwrap().is_clean(), "{}", pod.verify().unwrap());
}

#[test]
fn the_oldest_snapshot_of_all_processes_counts_not_the_first_found() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    pod.extend((0..10).map(|n| (n, n))).unwrap();
    let mut old = Child::start("snapshot and stay", &[text(&path)]);
    let oldest: u64 = old.line().unwrap().parse().unwrap();
    pod.set("between", 1).unwrap();
    let others: Vec<Child> = (0..3)
        .map(|n| {
            pod.set("between", n).unwrap();
            let mut other = Child::start("snapshot and stay", &[text(&path)]);
            other.line().unwrap();
            other
        })
        .collect();
    assert_eq!(pod.stats().unwrap().oldest_pin, Some(oldest));
    pod.remove(0).unwrap();
    pod.extend((100..20_000).map(|n| (n, n))).unwrap();
    old.tell("look");
    assert_eq!(old.line().as_deref(), Some("true"));
    drop(others);
}

#[test]
fn a_control_page_that_knows_more_than_the_log_does_not_stop_snapshots() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    for n in 0..4000 {
        pod.set(n, n).unwrap();
    }
    let half = pod.stats().unwrap().live_bytes / 2;
    drop(pod);
    crate::support::keep_only_log(&path);
    // As after a power cut: another boot, and a log that ends earlier than the control page says.
    let control = std::fs::OpenOptions::new().write(true).open(path.join(".live/control")).unwrap();
    control.write_all_at(&[7; 16], 16).unwrap();
    let log = std::fs::OpenOptions::new().read(true).write(true).open(path.join(".live/log")).unwrap();
    let length = log.metadata().unwrap().len();
    log.write_all_at(&vec![0; (length - half) as usize], half).unwrap();
    let pod = Pod::open(&path).unwrap();
    let count = pod.snapshot().unwrap().len();
    assert!((100..4000).contains(&count), "{count}");
    assert_eq!(pod.iter().count(), count);
    for n in 0..count as i64 {
        assert_eq!(pod.get(n).unwrap(), Some(json!(n)), "a prefix of the commits");
    }
    assert!(pod.verify().unwrap().is_clean(), "{}", pod.verify().unwrap());
}
