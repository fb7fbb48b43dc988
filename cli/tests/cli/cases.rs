//! What users of such tools hit, case by case: each test stands for a kind. None depends on how fast the machine is: what must not be waited
//! for takes a thousand seconds, which the limit against hangs in `support` would not.

use crate::support::{Place, Started, kill_all_of, until};
use nix::sys::signal::Signal;

/// How often each line stands in a file that tasks append to.
fn noted(place: &Place, name: &str) -> Vec<String> {
    std::fs::read_to_string(place.path(name)).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn claimed(place: &Place, tracker: &str) -> usize {
    place.tracker(tracker).progress().claimed
}

/// Kills a run with the guard and all tasks of it.
fn kill_whole(run: Started) {
    kill_all_of(run.child.id());
    assert_eq!(run.end().code, -9);
}

// R2, and the kind: whoever dies, the only try of a task is not used up by that.

#[test]
fn at_the_default_of_one_try_a_killed_run_costs_no_task_its_try() {
    let place = Place::new();
    place.shell("seq 40 | tastypod add t").expect(0);
    // Each notes when it is finished; the later ones wait until the file `go` is there.
    let script = "test $0 -le 10 || until test -e go; do sleep 0.01; done; echo $0 >> finished";
    for whole in [true, false] {
        let run = place.start(&["run", "t", "-j4", "--", "sh", "-c", script, "{}"]);
        until("it is in the middle", || place.tracker("t").num_done() == 10 && claimed(&place, "t") == 4);
        if whole {
            kill_whole(run);
        } else {
            run.signal(Signal::SIGKILL);
            assert_eq!(run.end().code, -9);
        }
    }
    place.write("go", "");
    let ended = place.run(&["run", "t", "-j1", "--", "sh", "-c", script, "{}"]).expect(0);
    assert!(ended.err.contains("4 whose run was killed: tried again") && ended.err.contains("40/40 done"), "{}", ended.err);
    let mut finished: Vec<u32> = noted(&place, "finished").iter().map(|line| line.parse().unwrap()).collect();
    finished.sort_unstable();
    assert_eq!(finished, (1..=40).collect::<Vec<u32>>(), "every input is done, each finished one once");
}

#[test]
fn a_run_does_what_another_one_that_is_killed_meanwhile_leaves() {
    let place = Place::new();
    place.run(&["add", "t", "a", "b"]).expect(0);
    let script = "echo $0 >> begun; until test -e go; do sleep 0.01; done";
    let first = place.start(&["run", "t", "-j1", "--", "sh", "-c", script, "{}"]);
    until("a is under way", || noted(&place, "begun") == ["a"]);
    let second = place.start(&["run", "t", "-j1", "--", "sh", "-c", script, "{}"]);
    until("b is under way", || noted(&place, "begun") == ["a", "b"]);
    kill_whole(first);
    place.write("go", "");
    assert!(second.end().expect(0).err.contains("2/2 done"));
    assert_eq!(noted(&place, "begun"), ["a", "b", "a"]);
}

#[test]
fn where_tries_are_limited_in_words_a_killed_run_has_tried_its_tasks() {
    let place = Place::new();
    place.run(&["add", "t", "poison", "bad"]).expect(0);
    // It kills its run; the other one fails by itself.
    let script = "test $0 = bad && exit 3; echo $0 >> begun; kill -9 $PPID; sleep 1000";
    let run = |tries: &[&str]| place.run(&[&["run", "t", "-j1"], tries, &["--", "sh", "-c", script, "{}"]].concat());
    let codes: Vec<i32> = [&["--max-tries", "2"][..], &[], &[]].map(|tries| run(tries).code).into();
    assert_eq!(codes, [-9, -9, 1]);
    assert_eq!(noted(&place, "begun"), ["poison", "poison"], "never a third time");
    assert!(place.field("t", "poison", "_error").as_str().unwrap().ends_with("died while it worked on the task"));
    // At a limit of one that was not said now, the poisonous one is tried by each fresh run, and what failed by itself is not.
    place.tracker("t").set_max_tries(1).unwrap();
    run(&["--max-tries", "1"]).expect(1);
    run(&[]).expect(-9);
    run(&[]).expect(-9);
    assert_eq!(noted(&place, "begun").len(), 4);
    assert_eq!(place.field("t", "bad", "_tries"), 2);
}
