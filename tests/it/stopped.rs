//! A process that is stopped at every crash point of a write.
//!
//! Goal: readers never wait, not even for a process that was stopped with the lock in its hand; writers that do wait are
//! told for whom, and go on when it goes on.
//!
//! Crash model: SIGSTOP between any two changes of shared memory or system calls that change something, of a lasting
//! kind until the test sends SIGCONT. The points are enumerated as in `kill_matrix`.
//!
//! Checked at each point: a witness reads keys, iterates a snapshot and opens the store anew while the process stands
//! still, and sees the state before or after, never a mix; its write with a lock timeout of 50 ms succeeds or fails with
//! `LockTimeout` that names the stopped process; after SIGCONT both have written and `verify` is clean.

use crate::forked::{Forked, fork, quick_directory};
use crate::support::{Child, Role, say};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::{Duration, Instant};
use tastypod::crash::{self, Action};
use tastypod::{ErrorKind, Options, Pod};

pub const CHILDREN: &[Role] = &[("stopped", stopped_role)];

/// More than any read takes on a busy machine.
const PROMPT: Duration = Duration::from_secs(60);
const READS: usize = 100;
const IMPATIENT: Duration = Duration::from_millis(50);

fn open(path: &Path, lock_timeout: Duration) -> Pod {
    Options::new().lock_timeout(lock_timeout).open(path).unwrap()
}

fn set(pod: &Pod) {
    pod.set("a", 2).unwrap();
    pod.set("b", 2).unwrap();
}

fn transaction(pod: &Pod) {
    pod.transaction(|txn| {
        txn.set("a", 2)?;
        txn.remove("removed")?;
        txn.set("added", 1)?;
        txn.set("b", 2)
    })
    .unwrap();
}

/// What a reader may see of `a` and `b`.
type Allowed = &'static [(i64, i64)];

#[allow(clippy::type_complexity)]
const OPERATIONS: &[(&str, fn(&Pod), Allowed)] =
    &[("set", set, &[(1, 1), (2, 1), (2, 2)]), ("transaction", transaction, &[(1, 1), (2, 2)])];

/// Reads while the other stands still.
fn read_on(pod: &Pod, path: &Path, allowed: Allowed) {
    let start = Instant::now();
    for _ in 0..READS {
        assert!(matches!(pod.get_as::<i64>("a").unwrap(), Some(1 | 2)));
        assert_eq!(pod.get_as::<i64>("still").unwrap(), Some(7));
        assert!(!pod.contains_key("absent").unwrap());
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        let snapshot = pod.snapshot().unwrap();
        let pair = (snapshot.get_as("a").unwrap().unwrap(), snapshot.get_as("b").unwrap().unwrap());
        assert!(allowed.contains(&pair), "{pair:?}");
        assert_eq!(snapshot.entries().count(), snapshot.len());
        let keys: Vec<String> = snapshot.into_iter().map(|entry| entry.unwrap().0.to_string()).collect();
        seen.push((pair, keys));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "what stands still does not change: {seen:?}");
    let reader = Options::new().read_only(true).open(path).unwrap();
    assert_eq!(reader.get_as::<i64>("a").unwrap(), Some(seen[0].0.0));
    assert!(start.elapsed() < PROMPT, "reading took {:?}", start.elapsed());
}

/// A process that has the store open meanwhile. Each line that it hears is the process that stands still.
fn witness(path: &Path, allowed: Allowed) -> Forked {
    let witness = fork(|line| {
        let pod = open(path, IMPATIENT);
        line.say("ready");
        let stopped: u32 = line.hear().expect("the stopped process").parse().unwrap();
        read_on(&pod, path, allowed);
        let outcome = match pod.set("witness", 1) {
            Ok(()) => "free",
            Err(error) => match error.kind() {
                ErrorKind::LockTimeout { owner, since } => {
                    assert_eq!(owner.pid, stopped, "{error}");
                    assert!(error.to_string().contains(&format!("process {stopped}")), "{error}");
                    assert!(since < Duration::from_secs(300), "{since:?}");
                    "held"
                }
                _ => panic!("{error}"),
            },
        };
        read_on(&pod, path, allowed);
        line.say(outcome);
        line.hear();
        open(path, PROMPT).set("witness", 2).unwrap();
        let report = open(path, PROMPT).verify().unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!(pod.get_as::<i64>("a").unwrap(), Some(2));
        assert_eq!(pod.get_as::<i64>("b").unwrap(), Some(2));
        assert_eq!(pod.get_as::<i64>("witness").unwrap(), Some(2));
    });
    assert_eq!(witness.hear().as_deref(), Some("ready"));
    witness
}

fn stopped_role(_: &[String]) {
    for (name, operation, allowed) in OPERATIONS {
        let directory = quick_directory();
        let (mut points, mut held) = (0, Vec::new());
        for point in 1.. {
            let path = directory.path().join(point.to_string());
            fork(|_| {
                let pod = open(&path, PROMPT);
                pod.extend([("a", 1), ("still", 7), ("removed", 3), ("b", 1)]).unwrap();
            })
            .succeed("prepare");
            let witness = witness(&path, allowed);
            let mut writer = fork(|_| {
                let pod = open(&path, PROMPT);
                crash::arm(point, Action::Stop);
                operation(&pod);
            });
            if !writer.wait_for_stop() {
                break;
            }
            points = point;
            witness.tell(writer.pid());
            let heard = witness.hear().unwrap_or_else(|| panic!("{name} stopped at point {point}: the witness failed"));
            held.push(heard == "held");
            writer.signal(Signal::SIGCONT);
            writer.succeed(&format!("{name} continued from point {point}"));
            witness.tell("go on");
            witness.succeed(&format!("{name} continued from point {point}: the witness"));
            std::fs::remove_dir_all(&path).unwrap();
        }
        let holding = held.iter().filter(|held| **held).count();
        assert!(holding > 10 && held.last() == Some(&false), "{name}: the lock is held at some points and free at the last: {held:?}");
        say(format_args!("{name}: stopped at {points} points, at {holding} of them with the lock in hand"));
    }
}

#[test]
fn readers_go_on_and_writers_name_whom_they_wait_for_while_a_writer_is_stopped() {
    let mut child = Child::start("stopped", &[]);
    let lines = child.lines();
    for line in &lines {
        println!("{line}");
    }
    assert!(child.wait().success(), "the reason was printed above");
    assert_eq!(lines.len(), OPERATIONS.len());
}
