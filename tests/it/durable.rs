//! Durable writers together, and what becomes of them when a flush fails, or who flushes is killed or stopped.
//!
//! Goal: writers share flushes; nobody is held up by a leader who is gone; what a failed flush may have lost is never said to
//! be on the disk before it was written again.
//!
//! Crash model: SIGKILL and SIGSTOP at each crash point of a durable write, while others write durably; errors of the system calls that write,
//! flush and allocate, made by strace. What a power cut makes of it is `power_loss`'s.

use crate::chance::every;
use crate::forked::{Forked, fork, quick_directory, was_killed};
use crate::support::{self, Child, Role, directory, hear, say, text};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tastypod::crash::{self, Action};
use tastypod::{Durability, ErrorKind, Options, Pod};

pub const CHILDREN: &[Role] =
    &[("durable_sets", sets_role), ("durable_deaths", deaths_role), ("durable_faults", faults_role), ("durable_once", once_role)];

/// A durable write takes longer than this only if it waited for somebody who is gone.
const PROMPT: Duration = Duration::from_secs(60);

fn open(path: &Path) -> Pod {
    Options::new().durability(Durability::Disk).lock_timeout(PROMPT).open(path).unwrap()
}

fn require_all_durable(pod: &Pod) {
    let stats = pod.stats().unwrap();
    assert_eq!((stats.durable, stats.poisoned_from), (Some(stats.transactions), None));
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

fn sets_role(arguments: &[String]) {
    let pod = open(Path::new(&arguments[0]));
    say("ready");
    hear();
    for turn in 0..arguments[2].parse::<u64>().unwrap() {
        pod.set(format!("{}-{turn}", arguments[1]), turn).unwrap();
        assert!(pod.stats().unwrap().durable.unwrap() >= turn, "each is on the disk when it returns");
    }
}

#[test]
fn writers_who_wait_at_the_same_time_share_a_flush() {
    let directory = directory();
    let path = directory.path().join("a.pod");
    let pod = open(&path);
    let before = pod.stats().unwrap();
    let mut children: Vec<Child> = (0..8).map(|number| Child::start("durable_sets", &[text(&path), &number.to_string(), "100"])).collect();
    children.iter_mut().for_each(|child| assert_eq!(child.line().as_deref(), Some("ready")));
    children.iter_mut().for_each(|child| child.tell("go"));
    children.iter_mut().for_each(|child| assert!(child.wait().success()));
    let after = pod.stats().unwrap();
    assert_eq!(after.transactions - before.transactions, 800);
    let flushes = after.flushes - before.flushes;
    assert!(flushes < 700 && after.flush_batch_max > 1, "{flushes} flushes, at most {} at once", after.flush_batch_max);
    require_all_durable(&pod);
}

/// What the process does that is killed or stopped.
fn durable_writes(pod: &Pod) {
    pod.set("a", 2).unwrap();
    pod.transaction(|txn| {
        txn.set("b", 2)?;
        txn.set("c", 2)
    })
    .unwrap();
}

/// Writes durably, at once, when it is told to, and says what it sees of the other's writes.
fn witness(path: &Path) -> Forked {
    let witness = fork(|line| {
        let pod = open(path);
        line.say("ready");
        let mut turn = 0;
        while line.hear().is_some() {
            let start = Instant::now();
            pod.set("witness", turn).unwrap();
            assert!(start.elapsed() < PROMPT, "the write took {:?}", start.elapsed());
            turn += 1;
            require_all_durable(&pod);
            let seen = ["a", "b", "c"].map(|key| pod.get_as::<i64>(key).unwrap().unwrap());
            line.say(format_args!("{seen:?}"));
        }
    });
    assert_eq!(witness.hear().as_deref(), Some("ready"));
    witness
}

fn prepare(path: &Path) {
    fork(|_| open(path).extend([("a", 1), ("b", 1), ("c", 1)]).unwrap()).succeed("prepare");
}

fn deaths_role(_: &[String]) {
    let directory = quick_directory();
    for action in [Action::Kill, Action::Stop] {
        let mut points = 0;
        for point in every(3, 1..) {
            let context = format!("{action:?} at point {point}");
            let path = directory.path().join(format!("{action:?}-{point}"));
            prepare(&path);
            let witness = witness(&path);
            let mut writer = fork(|_| {
                let pod = open(&path);
                crash::arm(point, action);
                durable_writes(&pod);
            });
            let goes_on = match action {
                Action::Kill => was_killed(writer.wait_for_end()),
                Action::Stop => writer.wait_for_stop(),
            };
            if !goes_on {
                break;
            }
            points = point;
            // Who has the mutex in hand keeps writers waiting, and that is said elsewhere.
            let is_free = action == Action::Kill || fork_can_lock(&path);
            let seen = is_free.then(|| {
                witness.tell("write");
                witness.hear().unwrap_or_else(|| panic!("{context}: the witness failed"))
            });
            assert!(seen.is_none_or(|seen| ["[1, 1, 1]", "[2, 1, 1]", "[2, 2, 2]"].contains(&seen.as_str())), "{context}");
            if action == Action::Stop {
                writer.signal(Signal::SIGCONT);
                writer.succeed(&context);
            }
            witness.tell("write again");
            assert!(witness.hear().is_some_and(|seen| action == Action::Kill || seen == "[2, 2, 2]"), "{context}");
            drop(witness);
            // Of a log that was left by a kill alone the same is said to be on the disk.
            fork(|_| require_all_durable(&open(&path))).succeed(&context);
            std::fs::remove_dir_all(&path).unwrap();
        }
        say(format_args!("{action:?}: {points} points"));
        assert!(points > 30, "a durable write has many points");
    }
}

/// Whether the mutex is free.
fn fork_can_lock(path: &Path) -> bool {
    let asked = fork(|line| {
        let pod = Options::new().lock_timeout(Duration::from_millis(50)).open(path);
        line.say(pod.is_ok_and(|pod| pod.lock().map(|guard| guard.rollback()).is_ok()));
    });
    asked.succeed("to try the lock") == "true"
}

#[test]
fn who_flushes_may_be_killed_or_stopped_at_any_point_without_holding_up_the_others() {
    let mut child = Child::start("durable_deaths", &[]);
    let lines = child.lines();
    lines.iter().for_each(|line| println!("{line}"));
    assert!(child.wait().success(), "the reason was printed above");
    assert_eq!(lines.len(), 2);
}

/// Sets a key three times, while strace makes calls fail, and says what came of each.
fn faults_role(arguments: &[String]) {
    let pod = open(Path::new(&arguments[0]));
    for turn in 1..=3 {
        let outcome = match pod.set("k", turn) {
            Ok(()) => "done".to_owned(),
            Err(error) => match error.kind() {
                ErrorKind::Io => format!("failed: {error}"),
                ErrorKind::Full => format!("full: {error}"),
                _ => panic!("{error}"),
            },
        };
        let stats = pod.stats().unwrap();
        let is_durable = stats.durable == Some(stats.transactions);
        say(format_args!("{} {is_durable} {} {outcome}", pod.get_as::<i64>("k").unwrap().unwrap_or(0), stats.poisoned_from.is_some()));
    }
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

fn once_role(arguments: &[String]) {
    let pod = open(Path::new(&arguments[0]));
    pod.set("other", 1).unwrap();
    require_all_durable(&pod);
    say(pod.get_as::<i64>("k").unwrap().unwrap_or(0));
}

/// Runs a role under strace, which makes one call fail of those on the log of the store that is its first argument. Returns what it said.
pub fn with_fault(role: &str, arguments: &[&str], fault: &str) -> Vec<String> {
    let traced = support::command(role, arguments);
    let mut command = Command::new("strace");
    let name = fault.split(':').next().unwrap();
    // Only calls on the log count: how often others are made depends on the clock.
    command.args(["-f", "-qq", "-o", "/dev/null", "-P", &format!("{}/.live/log", arguments[0])]);
    command.args(["-e", &format!("trace={name}"), "-e", &format!("inject={fault}")]);
    command.arg(traced.get_program()).args(traced.get_args());
    command.envs(traced.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = Child::of(command);
    let lines = child.lines();
    assert!(child.wait().success(), "{fault}: {lines:?}");
    lines
}

#[test]
fn a_failing_call_is_an_error_of_its_write_and_mended_by_the_next() {
    // Value, whether all is on the disk, whether something is suspected, what the call returned.
    let flush_failed = ["1 false true failed", "2 true false done", "3 true false done"];
    let write_failed = ["0 true false", "2 true false done", "3 true false done"];
    let nothing = ["1 true false done", "2 true false done", "3 true false done"];
    let cases: [(&str, [&str; 3]); 9] = [
        ("fdatasync:error=EIO:when=1", flush_failed),
        ("fdatasync:error=ENOSPC:when=1", flush_failed),
        ("fdatasync:error=EDQUOT:when=1", flush_failed),
        ("fdatasync:error=EINTR:when=1", nothing),
        // Twice: the flush, and that of the one who mends.
        ("fdatasync:error=EIO:when=1..2", ["1 false true failed", "2 false true failed", "3 true false done"]),
        ("pwrite64:error=EIO:when=1", write_failed),
        ("pwrite64:error=ENOSPC:when=1", write_failed),
        ("pwrite64:error=EINTR:when=1", nothing),
        ("pwrite64:retval=0:when=1", write_failed),
    ];
    for (fault, expected) in cases {
        let directory = directory();
        let path = directory.path().join("a.pod");
        let mut first = Child::start("durable_once", &[text(&path)]);
        assert!(first.wait().success());
        let said = with_fault("durable_faults", &[text(&path)], fault);
        assert!(said.iter().zip(expected).all(|(said, expected)| said.starts_with(expected)) && said.len() == 3, "{fault}: {said:?}");
        assert!(said.iter().all(|said| !said.contains("failed") || said.contains(".live/log")), "{fault}: {said:?}");
        let mut next = Child::start("durable_once", &[text(&path)]);
        assert_eq!(next.line().as_deref(), Some("3"), "{fault}");
        assert!(next.wait().success());
    }
}

#[test]
fn what_one_process_could_not_flush_another_mends_first() {
    let directory = directory();
    let path = directory.path().join("a.pod");
    let pod = open(&path);
    pod.set("other", 0).unwrap();
    // Three failures: what was written then is seen by all, and not on the disk.
    let said = with_fault("durable_faults", &[text(&path)], "fdatasync:error=EIO:when=1+1");
    assert!(said.iter().all(|said| said.contains("false true failed")) && said.len() == 3, "{said:?}");
    let before = pod.stats().unwrap();
    assert_eq!(before.poisoned_from, before.durable.map(|durable| durable + 1));
    assert_eq!(before.flushes_failed, 3);
    assert_eq!(pod.get_as::<i64>("k").unwrap(), Some(3));
    pod.set("other", 2).unwrap();
    require_all_durable(&pod);
    assert_eq!(pod.stats().unwrap().flushes_failed, 3);
}

/// Without it a gap behind what is durable would be damage (`recover/loss.rs`), and nobody could open the store unasked.
#[test]
fn the_page_that_explains_a_power_cut_is_on_the_disk_before_anything_is_called_durable() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("NOT RUN: strace is not installed");
        return;
    }
    let directory = directory();
    let trace = directory.path().join("trace");
    let traced = support::command("durable_once", &[text(&directory.path().join("a.pod"))]);
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-e", "trace=fdatasync", "-o"]).arg(&trace);
    command.arg(traced.get_program()).args(traced.get_args());
    command.envs(traced.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = Child::of(command);
    let lines = child.lines();
    assert!(child.wait().success(), "{lines:?}");
    let trace = std::fs::read_to_string(&trace).unwrap();
    let first = |name: &str| trace.lines().position(|line| line.contains(&format!(".live/{name}>")));
    assert!(first("control").expect("the control page is flushed") < first("log").expect("the log is flushed"), "{trace}");
}
