//! Failing system calls in a checkpoint, and where space is taken and given back.
//!
//! Goal: whatever fails, the store is right afterwards, what was changed is saved by the next attempt, and a failed flush is never reported as
//! success. strace lets the n-th call of a kind fail, for each n that lies within the checkpoint: EIO, ENOSPC and EINTR.
//!
//! Checked: the failing attempt says so (but where the call could be repeated, or only served to make a later open faster); the next one
//! succeeds, and the files alone are the store then; a newcomer who comes after a failure finds everything.

use crate::chance::every;
use crate::support::{Child, Role, command, directory, say, text};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use tastypod::{ErrorKind, Options, Pod};

pub const CHILDREN: &[Role] = &[("checkpoint_that_fails", checkpoint_that_fails), ("space_that_fails", space_that_fails), ("opens", opens)];

const BEGIN: &str = "/tastypod-checkpoint-begins";
const END: &str = "/tastypod-checkpoint-ends";

fn prepare(path: &Path) {
    let pod = Options::new().file_size(3).open(path).unwrap();
    pod.extend((0..5).map(|n| (n, json!({"n": n})))).unwrap();
    pod.close().unwrap();
}

/// Saves, and says how it went; saves again, and ends as by a kill.
fn checkpoint_that_fails(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set(1, "changed").unwrap();
    pod.extend((5..8).map(|n| (n, "new"))).unwrap();
    let _ = fs::metadata(BEGIN);
    let outcome = pod.sync();
    let _ = fs::metadata(END);
    match outcome {
        Ok(()) => say("saved"),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Full | ErrorKind::UnsupportedFilesystem), "{error}");
            assert!(error.to_string().contains(&arguments[0]), "{error}");
            say("failed");
        }
    }
    assert_eq!((pod.get(1).unwrap(), pod.len()), (Some(json!("changed")), 8));
    if arguments[1] == "again" {
        pod.sync().unwrap();
        assert_eq!(pod.dirty_len(), 0);
        say("saved");
    }
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Values that fill segments, removals and compactions; whatever fails, the store holds what was said to be written.
fn space_that_fails(arguments: &[String]) {
    let pod = Options::new().sync_at(usize::MAX).open(&arguments[0]).unwrap();
    let may_fail = |outcome: tastypod::Result<()>| match outcome {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Full | ErrorKind::UnsupportedFilesystem), "{error}");
            assert!(error.to_string().contains(&arguments[0]), "{error}");
            say("failed");
            false
        }
    };
    let _ = fs::metadata(BEGIN);
    let mut expected = [0; 4];
    for turn in 1..=12 {
        let key = turn % 4;
        // As long as a segment, or a little longer.
        if may_fail(pod.set(key, vec!["v".repeat(SEGMENT_BYTES / 8); 6 + key])) {
            expected[key] = 6 + key;
        }
        if turn % 3 == 0 && may_fail(pod.remove((turn + 1) % 4).map(drop)) {
            expected[(turn + 1) % 4] = 0;
        }
        if turn % 4 == 0 {
            may_fail(pod.compact());
        }
    }
    let _ = fs::metadata(END);
    let lengths = || [0, 1, 2, 3].map(|key| pod.at(key).len().unwrap_or(0));
    assert_eq!(lengths(), expected);
    pod.set("after", 1).unwrap();
    pod.compact().unwrap();
    assert_eq!(lengths(), expected);
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{report}");
    say("whole");
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

const SEGMENT_BYTES: usize = if cfg!(tastypod_small_segments) { 64 << 10 } else { 4 << 20 };

#[test]
fn space_that_cannot_be_had_or_given_back_costs_nothing_that_was_written() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("NOT RUN: strace is not installed");
        return;
    }
    let trace_directory = directory();
    let trace = trace_directory.path().join("trace");
    let run = |inject: Option<&str>| {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let (said, lines) = traced(command("space_that_fails", &[text(&path)]), &trace, "fallocate", inject);
        let context = inject.unwrap_or("no fault");
        assert_eq!(said.last().map(String::as_str), Some("whole"), "{context}: {said:?}");
        let pod = Pod::open(&path).unwrap();
        assert!(pod.verify().unwrap().is_clean(), "{context}");
        assert_eq!(pod.get_as::<i32>("after").unwrap(), Some(1), "{context}");
        (said.len() - 1, lines)
    };
    let (failed, lines) = run(None);
    assert_eq!(failed, 0);
    let is_call = |line: &&String| line.contains("fallocate(");
    let before = fs::read_to_string(&trace)
        .unwrap()
        .lines()
        .take_while(|line| !line.contains(BEGIN))
        .filter(|line| line.contains("fallocate("))
        .count();
    let within = lines.iter().filter(is_call).count();
    let punches = lines.iter().filter(|line| line.contains("PUNCH_HOLE")).count();
    assert!(punches > 5 && within - punches > 5, "{punches} of {within} calls give space back");
    let (mut refused, mut borne) = (0, 0);
    for fault in ["error=EIO", "error=ENOSPC", "error=EINTR", "error=EOPNOTSUPP"] {
        let one_in = if fault == "error=EIO" { 3 } else { 12 };
        for number in every(one_in, before + 1..=before + within) {
            let (failed, lines) = run(Some(&format!("fallocate:{fault}:when={number}")));
            let injected = lines.iter().filter(|line| line.contains("INJECTED")).count();
            match failed {
                0 => borne += injected,
                _ => refused += 1,
            }
            assert!(fault != "error=EINTR" || failed == 0, "{fault} at {number}: an interrupted call is repeated");
        }
        let all = run(Some(&format!("fallocate:{fault}:when={}..{}", before + 1, before + within / 2)));
        assert!(!all.1.is_empty());
    }
    println!("{within} calls, {punches} of them give space back: {refused} faults were refused, {borne} were borne");
    assert!(refused > 0 && borne > 0);
}

fn checkpoint(path: &Path, again: bool) -> Command {
    command("checkpoint_that_fails", &[text(path), if again { "again" } else { "once" }])
}

#[test]
fn a_file_system_without_fallocate_is_named_as_that() {
    let dir = directory();
    let (path, trace) = (dir.path().join("a.pod"), dir.path().join("trace"));
    let (said, _) = traced(command("opens", &[text(&path)]), &trace, "fallocate", Some("fallocate:error=EOPNOTSUPP"));
    let said = said.join("\n");
    for part in ["UnsupportedFilesystem", "a.pod", "allocate blocks ahead", "ext4"] {
        assert!(said.contains(part), "{said}");
    }
}

fn opens(arguments: &[String]) {
    match Pod::open(&arguments[0]) {
        Ok(_) => say("opened"),
        Err(error) => say(format!("{:?}: {error}", error.kind())),
    }
}

/// Runs a role under strace; returns what it said, and the calls between its marks.
fn traced(role: Command, trace: &Path, calls: &str, inject: Option<&str>) -> (Vec<String>, Vec<String>) {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-o"]).arg(trace).args(["-e", &format!("trace={calls},statx,newfstatat,?stat")]);
    if let Some(inject) = inject {
        strace.args(["-e", &format!("inject={inject}")]);
    }
    strace.arg(role.get_program()).args(role.get_args());
    for (name, value) in role.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    let mut child = Child::of(strace);
    let said = child.lines();
    child.wait();
    let lines = fs::read_to_string(trace).unwrap_or_default();
    let within = lines.lines().skip_while(|line| !line.contains(BEGIN)).take_while(|line| !line.contains(END));
    (said, within.map(str::to_owned).collect())
}

/// How many calls of a kind come before the checkpoint, and in it.
fn count(path: &Path, trace: &Path, call: &str) -> (usize, usize) {
    let (_, within) = traced(checkpoint(path, false), trace, call, None);
    let lines = fs::read_to_string(trace).unwrap();
    let is_call = |line: &&str| line.contains(&format!(" {call}("));
    let before = lines.lines().take_while(|line| !line.contains(BEGIN)).filter(is_call).count();
    (before, within.iter().map(String::as_str).filter(is_call).count())
}

#[test]
fn a_failed_call_in_a_checkpoint_loses_nothing_and_is_never_called_success() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("NOT RUN: strace is not installed");
        return;
    }
    let trace_directory = directory();
    let trace = trace_directory.path().join("trace");
    let mut failures = 0;
    for (call, faults) in [
        ("fdatasync", &["error=EIO", "error=ENOSPC"][..]),
        ("fsync", &["error=EIO"]),
        ("renameat2", &["error=EIO", "error=ENOSPC"]),
        ("rename", &["error=EIO", "error=ENOSPC"]),
        ("pwrite64", &["error=EIO", "error=ENOSPC", "error=EINTR"]),
    ] {
        let dir = directory();
        let path = dir.path().join("counted.pod");
        prepare(&path);
        let (before, within) = count(&path, &trace, call);
        for fault in faults {
            for number in before + 1..=before + within {
                // What a failure leaves is looked at by itself, and by a newcomer.
                let again = number % 2 == 0;
                let dir = directory();
                let path = dir.path().join("a.pod");
                prepare(&path);
                let (said, lines) = traced(checkpoint(&path, again), &trace, call, Some(&format!("{call}:{fault}:when={number}")));
                let context = format!("{call} number {number} with {fault}");
                let injected: Vec<&String> = lines.iter().filter(|line| line.contains("INJECTED")).collect();
                let is_only_a_help = injected.iter().all(|line| line.contains("stamps") || line.contains("/locks>"));
                let may_be_repeated = fault.contains("EINTR");
                let first = said.first().unwrap_or_else(|| panic!("{context}: the process ended early"));
                if !is_only_a_help && !may_be_repeated {
                    assert_eq!(first, "failed", "{context}: {injected:?}");
                    failures += 1;
                }
                if again {
                    assert_eq!(said.get(1).map(String::as_str), Some("saved"), "{context}: the next attempt succeeds");
                }
                if again || first == "saved" {
                    let read: Vec<_> = (0..3)
                        .flat_map(|n| tastypod::shard::read(path.join(format!("{n}.json"))).unwrap())
                        .map(|entry| entry.unwrap().1)
                        .collect();
                    assert_eq!((read.len(), &read[1]), (8, &json!("changed")), "{context}");
                }
                let pod = Pod::open(&path).unwrap();
                assert_eq!((pod.get(1).unwrap(), pod.len()), (Some(json!("changed")), 8), "{context}");
                assert!(pod.verify().unwrap().is_clean(), "{context}");
                pod.close().unwrap();
            }
        }
    }
    assert!(failures > 20, "only {failures} calls failed in checkpoints");
}

/// The entries of all JSON files of a store, in order.
fn filed(path: &Path, extension: &str) -> Vec<(tastypod::Key, serde_json::Value)> {
    (0..3).flat_map(|n| tastypod::shard::read(path.join(format!("{n}.{extension}"))).unwrap()).map(|entry| entry.unwrap()).collect()
}

#[test]
#[cfg(not(target_env = "musl"))]
fn a_write_that_writes_only_a_part_is_gone_on_with() {
    let tools = directory();
    let (library, count) = (tools.path().join("short_writes.so"), tools.path().join("count"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/short_writes.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O", "-o"]).arg(&library).arg(source).status();
    assert!(built.expect("who builds Rust has cc").success());
    for (extension, is_gzipped) in [("json", false), ("json.gz", true)] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        prepare(&path);
        let pod = Pod::open(&path).unwrap();
        pod.convert(tastypod::Conversion::new().gzipped(is_gzipped)).unwrap();
        pod.close().unwrap();
        let mut role = checkpoint(&path, false);
        let mut child = Child::of({
            role.env("LD_PRELOAD", &library).env("TASTYPOD_SHORT_WRITES", &count);
            role
        });
        assert_eq!(child.lines(), ["saved"]);
        child.wait();
        let short = fs::metadata(&count).unwrap().len();
        assert!(short > 20, "{short} writes were short");
        fs::remove_file(&count).unwrap();
        let filed = filed(&path, extension);
        let pod = Pod::open(&path).unwrap();
        assert_eq!(pod.iter().map(|entry| entry.unwrap()).collect::<Vec<_>>(), filed);
        assert_eq!((filed.len(), &filed[1].1), (8, &json!("changed")));
        assert!(pod.verify().unwrap().is_clean());
    }
}
