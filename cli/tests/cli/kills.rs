//! Runs that are interrupted and killed: nothing is lost, nothing is left behind.

use crate::support::{Place, Started, UNTIL_GO, processes_with, until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// Starts it in a process group of its own, as a shell does.
fn start_in_group(place: &Place, arguments: &[&str]) -> Started {
    let mut command = place.command(arguments);
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Started::of(command.spawn().expect("it starts"))
}

#[test]
fn ctrl_c_drains_and_another_signal_stops() {
    let place = Place::new();
    place.run(&["add", "t", "1", "2", "3"]).expect(0);
    let begun = |count: usize| {
        let tracker = place.tracker("t");
        tracker.claims().unwrap().len() == count
    };
    let mut drained = place.start(&["run", "t", "-j2", "--", "sh", "-c", &format!("{UNTIL_GO}; echo done")]);
    until("two have begun", || begun(2));
    drained.signal(Signal::SIGINT);
    drained.wait_for_err("no further tasks begin");
    place.write("go", "");
    let ended = drained.end().expect(130);
    assert!(ended.err.contains("no further tasks begin"), "{}", ended.err);
    assert_eq!(place.field("t", "1", "stdout"), "done\n");
    assert_eq!(place.field("t", "3", "_tries"), 0, "the third never began");

    let stopped = place.start(&["run", "t", "-j2", "--", "sh", "-c", "trap '' TERM INT; sleep 86413; sleep 86413"]);
    until("the third has begun", || begun(1));
    stopped.signal(Signal::SIGTERM);
    let ended = stopped.end().expect(143);
    assert!(ended.err.contains("stopping the tasks"), "{}", ended.err);
    assert_eq!(place.field("t", "3", "_tries"), 0, "a task that was stopped goes back untried");
    assert_eq!(processes_with("sleep 86413"), Vec::<String>::new());
    place.run(&["run", "t", "--", "true"]).expect(0);
}

#[test]
fn nothing_that_tasks_started_outlives_a_killed_run() {
    let place = Place::new();
    place.run(&["add", "t", "1", "2", "3"]).expect(0);
    // Children of children, one in the background, that do not listen to anything.
    let script = "trap '' TERM INT HUP; sleep 75319 & sh -c 'sleep 75319; true'; true";
    for whole_group in [false, true] {
        let run = start_in_group(&place, &["run", "t", "-j3", "--max-tries", "0", "--", "sh", "-c", script]);
        until("all have begun", || processes_with("sleep 75319").iter().filter(|line| !line.contains("sh -c")).count() == 6);
        if whole_group {
            killpg(Pid::from_raw(run.child.id().cast_signed()), Signal::SIGKILL).unwrap();
        } else {
            run.signal(Signal::SIGKILL);
        }
        until("all are gone", || processes_with("sleep 75319").is_empty());
        assert_eq!(run.end().code, -9);
    }
    let ended = place.run(&["run", "t", "--", "true"]).expect(0);
    assert!(ended.err.contains("3/3 done"), "{}", ended.err);
}

/// Real work, real files: sums of some thousand files by eight tasks at a time, by runs that are killed in the middle and started
/// again. What comes out is what a plain loop says; no task is lost, none is done twice, nothing is left running.
#[test]
fn killed_runs_are_resumed_and_the_results_are_those_of_a_plain_loop() {
    const FILES: usize = 2000;
    let place = Place::new();
    std::fs::create_dir(place.path("files")).unwrap();
    for number in 0..FILES {
        place.write(&format!("files/{number:04} it's.txt"), format!("{number}\n").repeat(1 + number % 50));
    }
    place.shell("find files -type f -print0 | tastypod add t -0").expect(0);
    // Each task that ends notes so outside of the tracker.
    let arguments = ["run", "t", "-j8", "--max-tries", "0", "--shell", "--", "sha256sum {} && echo {/} >> noted"];
    let mut kills = 0;
    for round in 1_usize.. {
        let mut runs = [start_in_group(&place, &arguments), start_in_group(&place, &arguments)];
        let tracker = place.tracker("t");
        let enough = round * FILES / 6;
        until("some are done", || tracker.num_done() >= enough.min(FILES));
        drop(tracker);
        if enough >= FILES {
            for run in runs {
                assert_eq!(run.end().code, 0);
            }
            break;
        }
        // The one alone in odd rounds, with all of its process group in even ones; the other one goes on a little.
        for run in &mut runs {
            let pid = Pid::from_raw(run.child.id().cast_signed());
            if round % 2 == 0 {
                killpg(pid, Signal::SIGKILL).unwrap()
            } else {
                nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap()
            }
            kills += 1;
        }
    }
    assert!(kills >= 8, "{kills} kills");
    let files = format!("{}/", place.path("files").display());
    until("nothing is left running", || !processes_with("sha256sum files").iter().any(|line| !line.contains(&files)));

    let loop_output = place.shell("for file in files/*; do sha256sum \"$file\"; done").expect(0).out;
    let expected: BTreeMap<String, String> =
        loop_output.lines().map(|line| (line.split_once("  ").unwrap().1.to_owned(), format!("{line}\n"))).collect();
    let tracker = place.tracker("t");
    let found: BTreeMap<String, String> = tracker
        .iter()
        .map(|entry| {
            let (key, task) = entry.unwrap();
            assert_eq!(task["_done"], true, "{key}");
            (key.to_string(), task["stdout"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    assert_eq!(found.len(), FILES);
    assert_eq!(found, expected);
    assert!(tracker.claims().unwrap().is_empty());
    assert!(tracker.verify().unwrap().is_clean());
    // Attempts that were killed after they had noted themselves may be noted again: at most as many as were under way at a kill.
    let noted = std::fs::read_to_string(place.path("noted")).unwrap();
    let again = noted.lines().count() - FILES;
    assert!(again <= kills * 8, "{again} again after {kills} kills");
    assert_eq!(noted.lines().collect::<std::collections::BTreeSet<_>>().len(), FILES);
    let tries: u64 = tracker.iter().map(|entry| entry.unwrap().1["_tries"].as_u64().unwrap()).sum();
    assert!(tries as usize - FILES <= kills * 8 && tries as usize >= noted.lines().count(), "{tries} tries");
}
