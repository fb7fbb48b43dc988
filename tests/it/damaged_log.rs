//! A damaged log of many segments, most of which hold nothing that is live: a copy without control page, as a backup brings it.
//!
//! Goal: what is open is the newest state, or the error says what is missing; nothing that was committed is dropped but by who says so,
//! except for a last transaction that looks unfinished.

use crate::chance::every;
use crate::forked::{as_after_a_power_cut, fork, quick_directory, was_killed};
use crate::support::{Child, Role, directory, say};
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tastypod::crash::{self, Action};
use tastypod::{Error, ErrorKind, Options, Pod};

pub const CHILDREN: &[Role] = &[("killed_recovery", killed_recovery)];

const SEGMENT: u64 = if cfg!(tastypod_small_segments) { 64 << 10 } else { 4 << 20 };
const ROUNDS: i64 = 40;
const KEYS: i64 = 200;

/// Rounds of sets, all but the last of which are replaced. The log's size, and where it ends.
fn with_rounds(path: &Path) -> (Vec<u8>, u64) {
    let pod = Pod::open(path).unwrap();
    let value = "z".repeat(SEGMENT as usize / 1400);
    for round in 0..ROUNDS {
        (0..KEYS).for_each(|key| pod.set(key, (round, &value)).unwrap());
    }
    let end = tastypod::fuzzing::log_end(&pod);
    // As by a kill: no files.
    let log = fs::read(path.join(".live/log")).unwrap();
    drop(pod);
    (log, end)
}

fn alone(directory: &Path, log: &[u8]) -> PathBuf {
    let path = directory.join("copy.pod");
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(path.join(".live")).unwrap();
    fs::write(path.join(".live/log"), log).unwrap();
    path
}

/// The round that each key is of; nothing after an error, which is checked.
#[track_caller]
fn rounds(opened: Result<Pod, Error>, context: &str) -> Option<Vec<i64>> {
    match opened {
        Ok(pod) => {
            let report = pod.verify().unwrap();
            assert!(report.is_clean(), "{context}: {report}");
            Some((0..KEYS).map(|key| pod.at(key).index(0).get_as::<i64>().unwrap().unwrap_or(-1)).collect())
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Integrity { .. }), "{context}: {error}");
            None
        }
    }
}

#[test]
fn a_damaged_copy_is_the_newest_state_or_an_error_and_never_an_older_one() {
    let dir = directory();
    let (log, _) = with_rounds(&dir.path().join("a.pod"));
    let newest = Some(vec![ROUNDS - 1; KEYS as usize]);
    let segments = log.len() as u64 / SEGMENT;
    assert!(segments > 3, "only {segments} segments");
    let (mut whole, mut refused) = (0, 0);
    for segment in 0..segments {
        let start = segment * SEGMENT;
        for (what, at, bytes) in [
            ("the case of the report", start + 168, 0),
            ("a head's magic", start + if segment == 0 { 4096 } else { 0 }, 0),
            ("a head's order", start + if segment == 0 { 4096 + 16 } else { 16 }, 0),
            ("the middle", start + SEGMENT / 2, 0),
            ("a page in the middle", start + SEGMENT / 4, 4096),
            ("the head's page", start + if segment == 0 { 4096 } else { 0 }, 4096),
            ("the last page", start + SEGMENT - 4096, 4096),
        ] {
            let mut log = log.clone();
            let context = format!("{what} of segment {segment} of {segments}");
            let at = at as usize;
            if bytes == 0 {
                log[at] ^= 1;
            } else {
                log[at..at + bytes].fill(0);
            }
            let path = alone(dir.path(), &log);
            match rounds(Pod::open(&path), &context) {
                // What has no meaning, or nothing live, need not be readable.
                Some(seen) => {
                    assert_eq!(Some(seen), newest, "{context}");
                    whole += 1;
                }
                None => {
                    assert_eq!(fs::read(path.join(".live/log")).unwrap()[..log.len()], log, "{context}: the log is as it was");
                    refused += 1;
                    // A reader says the same; who lets go of the rest gets an older state, and the whole log aside.
                    assert_eq!(rounds(Options::new().read_only(true).open(&path), &context), None);
                    if let Some(seen) = rounds(Options::new().salvage(true).open(&path), &context) {
                        assert!(Some(&seen) != newest.as_ref() && seen.is_sorted_by(|one, other| one >= other), "{context}: {seen:?}");
                        let pod = Pod::open(&path).unwrap();
                        let report = pod.verify().unwrap();
                        assert_eq!(fs::read(&report.put_aside()[0]).unwrap(), log, "{context}");
                        assert!(report.to_string().contains("put aside"));
                    }
                }
            }
        }
    }
    assert!(whole > segments && refused > 4, "{whole} were whole, {refused} refused");
}

#[test]
fn a_log_that_ends_early_is_told_but_after_a_power_cut() {
    let dir = directory();
    let (log, end) = with_rounds(&dir.path().join("a.pod"));
    // Without the segment in which the log ends, it goes on to one that is not there.
    let newest = end / SEGMENT * SEGMENT;
    let cut = &log[..newest as usize];
    let path = alone(dir.path(), cut);
    let context = "without its newest segment";
    assert_eq!(rounds(Pod::open(&path), context), None);
    // The very same after a power cut is what was on the disk by then.
    let path = alone(dir.path(), cut);
    as_after_a_power_cut(&path.join(".live"));
    let seen = rounds(Pod::open(&path), context).unwrap();
    assert!(seen.iter().all(|round| (0..ROUNDS).contains(round)), "{seen:?}");
    // What was let go then is not found again as a loss by the next who comes without a control page.
    let pod = Pod::open(&path).unwrap();
    (0..20).for_each(|key| pod.set(key, (99, "later")).unwrap());
    drop(pod);
    let again = alone(&dir.path().join("again"), &fs::read(path.join(".live/log")).unwrap());
    assert_eq!(rounds(Pod::open(&again), "again").unwrap()[..20], [99; 20]);
}

#[test]
fn a_dead_segment_may_be_damaged_in_the_boot_that_wrote_it() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let (_, end) = with_rounds(&path);
    let log = File::options().read(true).write(true).open(path.join(".live/log")).unwrap();
    let mut told = 0;
    for segment in 1..end / SEGMENT {
        let at = segment * SEGMENT + 168;
        let mut byte = [0];
        log.read_exact_at(&mut byte, at).unwrap();
        log.write_all_at(&[byte[0] ^ 1], at).unwrap();
        // What was closed in good order is looked through, since the log is another than it was.
        match rounds(Pod::open(&path), &format!("segment {segment}")) {
            Some(seen) => assert_eq!(seen, vec![ROUNDS - 1; KEYS as usize], "segment {segment}"),
            None => told += 1,
        }
        log.write_all_at(&byte, at).unwrap();
    }
    assert!(told <= 2, "{told} of {} segments hold something live", end / SEGMENT);
    Pod::open(&path).unwrap().set("after", json!(1)).unwrap();
}

#[test]
fn whoever_is_killed_in_a_recovery_after_a_power_cut_leaves_one_that_the_next_can_do() {
    let mut child = Child::start("killed_recovery", &[]);
    let said = child.lines();
    assert!(child.wait().success(), "{said:?}");
    assert!(said.len() == 1 && said[0].parse::<usize>().unwrap() > 20, "{said:?}");
}

/// The control page is this boot's as soon as a recovery has begun: that the power failed before is known all the same.
fn killed_recovery(_: &[String]) {
    let directory = quick_directory();
    let pod = Pod::open(directory.path().join("a.pod")).unwrap();
    (0..60).for_each(|key| pod.set(key, format!("value {key}")).unwrap());
    let mut log = fs::read(directory.path().join("a.pod/.live/log")).unwrap();
    let at = log.windows(8).position(|window| window == b"value 40").unwrap();
    log[at] ^= 1;
    let path = || {
        let path = alone(directory.path(), &log);
        as_after_a_power_cut(&path.join(".live"));
        path
    };
    let counted = fork(|line| {
        let path = path();
        crash::arm(0, Action::Kill);
        drop(Pod::open(path).unwrap());
        line.say(crash::passed());
    });
    let total: usize = counted.succeed("nobody is killed").parse().unwrap();
    let mut kills = 0;
    // The beginning, the end, and some between.
    for point in (1..50).chain(every(total / 60, 50..total - 50)).chain(every(2, total - 50..total)) {
        let path = path();
        let (_, status) = fork(|_| {
            crash::arm(point as u64, Action::Kill);
            drop(Pod::open(&path).unwrap());
        })
        .end();
        kills += usize::from(was_killed(status));
        fork(|_| {
            let pod = Pod::open(&path).unwrap_or_else(|error| panic!("killed at point {point} of {total}: {error}"));
            assert_eq!(pod.len(), 40, "killed at point {point} of {total}");
            assert!(pod.verify().unwrap().is_clean());
        })
        .succeed("the next comes");
    }
    say(kills);
}
