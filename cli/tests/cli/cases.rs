//! What users of such tools hit, case by case: each test stands for a kind. None depends on how fast the machine is: what must not be waited
//! for takes a thousand seconds, which the limit against hangs in `support` would not.

use crate::support::{Place, Started, kill_all_of, processes_with, until, value};
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
        // Whoever looks between runs is told.
        let status = place.run(&["status", "t"]).expect(0).out;
        assert!(status.contains("10 done, 4 failed, 26 to do\n4 of the failed did not end"), "{status}");
        let status = value(&place.run(&["status", "t", "--json"]).expect(0).out);
        assert_eq!((&status["failed"], &status["interrupted"]), (&4.into(), &4.into()));
        let failures = value(&place.run(&["failures", "t", "--json"]).expect(0).out);
        assert!(failures["failures"].as_array().unwrap().iter().all(|group| group["final"] == 0), "{failures}");
    }
    place.write("go", "");
    let ended = place.run(&["run", "t", "-j1", "--", "sh", "-c", script, "{}"]).expect(0);
    assert!(ended.err.contains("4 whose run was killed: tried again") && ended.err.contains("40/40 done"), "{}", ended.err);
    let mut finished: Vec<u32> = noted(&place, "finished").iter().map(|line| line.parse().unwrap()).collect();
    finished.sort_unstable();
    assert_eq!(finished, (1..=40).collect::<Vec<u32>>(), "every input is done, each finished one once");
}

#[test]
fn where_the_json_files_alone_are_left_a_killed_run_costs_no_task_its_try_either() {
    let place = Place::new();
    place.run(&["add", "t", "done", "bad", "last"]).expect(0);
    let script = "echo $0 >> begun; test $0 != bad || exit 3; test $0 != last -o -e go || sleep 1000";
    let arguments = ["run", "t", "-j1", "--", "sh", "-c", script, "{}"];
    let run = place.start(&arguments);
    until("the last one is under way", || noted(&place, "begun").len() == 3 && claimed(&place, "t") == 1);
    place.run(&["sync", "t"]).expect(0);
    kill_whole(run);
    std::fs::remove_dir_all(place.path("t/.live")).unwrap();
    place.write("go", "");
    place.run(&arguments).expect(1);
    assert_eq!(noted(&place, "begun"), ["done", "bad", "last", "last"]);
    assert_eq!(place.tracker("t").num_done(), 2);
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

// C1, C8, C10, C11: what is done stays, what is half done does not count.

#[test]
fn what_is_done_is_not_started_again_and_its_record_stays_byte_for_byte() {
    let place = Place::new();
    place.shell("printf '%s\\n' ok bad slow | tastypod add t").expect(0);
    let script = "echo $0 >> begun; echo half; test $0 != bad || exit 3; test $0 != slow -o -e fast || sleep 1000; echo whole";
    let arguments = ["run", "t", "-j2", "--max-tries", "2", "--", "sh", "-c", script, "{}"];
    let first = place.start(&arguments);
    until("slow is under way", || noted(&place, "begun").contains(&"slow".to_owned()) && place.tracker("t").num_done() == 1);
    kill_whole(first);
    let record = |key: &str| place.tracker("t").raw_json(key).unwrap().unwrap();
    let ok = record("ok");
    // Half of an output is none.
    assert!(place.field("t", "slow", "stdout").is_null() && place.field("t", "slow", "_done") == false);
    place.write("fast", "");
    place.run(&arguments).expect(1);
    assert_eq!(record("ok"), ok);
    assert_eq!(place.field("t", "slow", "stdout"), "half\nwhole\n");
    let begun = |key: &str| noted(&place, "begun").iter().filter(|line| *line == key).count();
    // A try of the bad one may have been killed before it could note anything.
    assert_eq!((begun("ok"), begun("slow"), place.field("t", "bad", "_tries")), (1, 2, 2.into()));
    let all_begun = noted(&place, "begun").len();
    let progress = place.tracker("t").progress();
    assert_eq!((progress.total, progress.done, progress.failed), (3, 2, 1));
    // Again: nothing starts, and what stands failed is still said. The number of failures is no exit code.
    place.run(&arguments).expect(1);
    assert_eq!(noted(&place, "begun").len(), all_begun);
}

#[test]
fn a_finished_and_an_empty_tracker_are_done_and_300_failures_are_1() {
    let place = Place::new();
    place.feed(&["add", "empty"], b"").expect(0);
    place.run(&["run", "empty", "--", "false"]).expect(0);
    place.shell("seq 300 | tastypod add t").expect(0);
    place.run(&["run", "t", "-q", "--", "false"]).expect(1);
    place.run(&["run", "t", "-q", "--", "true"]).expect(1);
    place.run(&["retry", "t"]).expect(0);
    place.run(&["run", "t", "-q", "--", "true"]).expect(0);
    place.run(&["run", "t", "-q", "--", "false"]).expect(0);
    assert!(place.run(&["status", "t"]).expect(0).out.lines().count() < 24);
    for absent in [&["run", "x", "--", "true"][..], &["status", "x"], &["retry", "t", "x"], &["get", "t", "x"]] {
        place.run(absent).expect(3);
    }
}

#[test]
fn a_task_is_its_key_whatever_comes_before_it_and_in_whatever_order() {
    let place = Place::new();
    place.shell("seq 10 | tastypod add t && tastypod run t -q -- true").expect(0);
    let ended = place.shell("(echo new; echo 'and new'; seq 10) | tastypod add t").expect(0);
    assert_eq!(ended.err, "2 added, 10 there already\n");
    let ended = place.run(&["run", "t", "-q", "-p", "-j3", "--", "echo", "{}"]).expect(0);
    let mut lines: Vec<&str> = ended.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["and new", "new"]);
    assert_eq!(place.shell("seq 10 | tac | tastypod add t").expect(0).err, "0 added, 10 there already\n");
    assert_eq!(place.shell("printf 'a\\na\\nb\\na\\n' | tastypod add u").expect(0).err, "2 added, 2 there already\n");
}

#[test]
fn another_command_on_the_same_tracker_is_said() {
    let place = Place::new();
    place.shell("seq 4 | tastypod add t").expect(0);
    let says = |command: &[&str]| place.run(&[&["run", "t", "-q", "--"], command].concat()).err;
    assert_eq!(says(&["echo", "one"]), "");
    place.run(&["add", "t", "5"]).expect(0);
    assert_eq!(says(&["echo", "one"]), "");
    place.run(&["add", "t", "6"]).expect(0);
    let said = says(&["echo", "another"]);
    assert!(said.contains("another command was run on this tracker: echo one {}") && said.contains("(5) stays"), "{said}");
    // Where nothing is left of the other one, there is nothing to say.
    place.run(&["reset", "t", "--all"]).expect(0);
    assert_eq!(says(&["echo", "third"]), "");
    place.run(&["verify", "t"]).expect(0);
}

#[test]
fn a_run_that_comes_late_and_leaves_and_comes_again_loses_and_doubles_nothing() {
    let place = Place::new();
    place.shell("seq 12 | tastypod add t").expect(0);
    let script = "echo $0 >> begun; until test -e go -o -e go$0; do sleep 0.01; done; echo $0 >> finished";
    let arguments = ["run", "t", "-q", "-j2", "--", "sh", "-c", script, "{}"];
    let first = place.start(&arguments);
    until("two are under way", || claimed(&place, "t") == 2);
    let second = place.start(&arguments);
    until("four are under way", || claimed(&place, "t") == 4);
    let status = place.run(&["status", "t"]).expect(0).out;
    for run in [&first, &second] {
        assert!(status.contains(&format!("tastypod {} (2)", run.child.id())), "{status}");
    }
    second.signal(Signal::SIGTERM);
    second.end().expect(143);
    until("it has left", || claimed(&place, "t") == 2);
    let third = place.start(&arguments);
    until("it is there again", || claimed(&place, "t") == 4);
    place.write("go", "");
    first.end().expect(0);
    third.end().expect(0);
    let mut finished: Vec<u32> = noted(&place, "finished").iter().map(|line| line.parse().unwrap()).collect();
    finished.sort_unstable();
    assert_eq!(finished, (1..=12).collect::<Vec<u32>>());
    let tries: u64 = (1..=12).map(|key| place.field("t", &key.to_string(), "_tries").as_u64().unwrap()).sum();
    assert_eq!(tries, 12, "what was stopped got its try back");
}

// C2, R8: how a task ended.

#[test]
fn signals_exit_codes_and_programs_that_do_not_start_are_told_apart() {
    let place = Place::new();
    place.run(&["add", "t", "kill -9 $$", "kill -SEGV $$", "exit 137", "exit 255", "exit 127", "exit 126", "exit 0"]).expect(0);
    place.run(&["run", "t", "-q", "--", "sh", "-c", "eval \"$0\"", "{}"]).expect(1);
    for (key, exit, signal, error) in [
        ("kill -9 $$", None, Some(9), "killed by SIGKILL"),
        ("kill -SEGV $$", None, Some(11), "killed by SIGSEGV"),
        ("exit 137", Some(137), None, "exit code 137"),
        ("exit 255", Some(255), None, "exit code 255"),
        ("exit 127", Some(127), None, "exit code 127"),
        ("exit 126", Some(126), None, "exit code 126"),
    ] {
        let found = ["exit", "signal"].map(|field| place.field("t", key, field).as_i64());
        assert_eq!((found, place.field("t", key, "_error")), ([exit, signal], error.into()), "{key}");
        assert_eq!(place.field("t", key, "_done"), false);
    }
    assert_eq!(place.tracker("t").num_done(), 1, "and no other task is the worse for it");
    // No interpreter, no permission, no such file: it did not run, so that it has no exit code.
    place.write("broken", "#!/no/such/interpreter\n");
    place.write("plain", "");
    place.shell("chmod +x broken").expect(0);
    place.run(&["add", "u", "broken", "plain", "absent"]).expect(0);
    place.run(&["run", "u", "-q", "--", "./{}"]).expect(1);
    for key in ["broken", "plain", "absent"] {
        assert!(place.field("u", key, "exit").is_null() && place.field("u", key, "_error").as_str().unwrap().contains(key), "{key}");
    }
}

#[test]
fn one_that_traps_term_is_done_unless_it_was_made_to_end() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    place.run(&["run", "t", "-q", "--", "sh", "-c", "trap 'exit 0' TERM; kill $$; sleep 1000"]).expect(0);
    place.run(&["add", "t", "b"]).expect(0);
    let trapping = "trap 'exit 0' TERM; touch trapped; while :; do sleep 0.01; done";
    place.run(&["run", "t", "-q", "--timeout", "0.3s", "--", "sh", "-c", trapping]).expect(1);
    assert_eq!((place.field("t", "b", "_done"), place.field("t", "b", "_error")), (false.into(), "timed out after 300 ms".into()));
    place.run(&["retry", "t"]).expect(0);
    std::fs::remove_file(place.path("trapped")).unwrap();
    let run = place.start(&["run", "t", "-q", "--", "sh", "-c", trapping]);
    until("it traps", || place.path("trapped").exists());
    run.signal(Signal::SIGTERM);
    run.end().expect(143);
    assert_eq!((place.field("t", "b", "_done"), place.field("t", "b", "_tries")), (false.into(), 0.into()));
}

// C3: pipes and descriptors.

#[test]
fn a_grandchild_that_keeps_the_pipe_is_not_waited_for() {
    let place = Place::new();
    for (key, start) in [("plain", "sleep 1000 &"), ("session", "setsid sleep 1000 &")] {
        place.run(&["add", "t", key]).expect(0);
        let script = format!("{start} echo $! >&2; head -c 10000000 /dev/zero | tr '\\0' x; echo end; exit 0");
        place.run(&["run", "t", "-q", "--keep-output", "20000000", "--", "sh", "-c", &script]).expect(0);
        let out = place.field("t", key, "stdout");
        assert_eq!((out.as_str().unwrap().len(), out.as_str().unwrap().ends_with("xend\n")), (10_000_004, true));
        let pid = place.field("t", key, "stderr").as_str().unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("it goes on");
    }
}

#[test]
fn a_task_has_three_descriptors_nothing_to_read_and_what_it_is_in_its_environment() {
    let place = Place::new();
    place.shell("seq 30 | tastypod add t").expect(0);
    // What the test itself was started with is there too.
    let own = place.shell("exec ls /proc/self/fd").expect(0).out;
    place.run(&["add", "u", "a", "b"]).expect(0);
    place.run(&["run", "u", "-q", "-j2", "--", "sh", "-c", "exec ls /proc/self/fd"]).expect(0);
    assert_eq!((place.field("u", "a", "stdout"), place.field("u", "b", "stdout")), (own.as_str().into(), own.as_str().into()));
    let script = "cat; echo $TASTYPOD_SLOT $TASTYPOD_KEY $TASTYPOD_ATTEMPT $(nice); \
        mkdir slot$TASTYPOD_SLOT && sleep 0.01 && rmdir slot$TASTYPOD_SLOT";
    let binary = crate::support::binary();
    let folder = std::path::Path::new(binary).parent().unwrap().display();
    place
        .shell(&format!("echo secret | PATH={folder}:$PATH nice -n 5 tastypod run t -q -j3 -- sh -c '{}'", script.replace('\'', "'\\''")))
        .expect(0);
    let mut slots = std::collections::BTreeSet::new();
    for key in (1..=30).map(|key| key.to_string()) {
        let out = place.field("t", &key, "stdout").as_str().unwrap().to_owned();
        let words: Vec<&str> = out.split_whitespace().collect();
        assert_eq!(words[1..], [key.as_str(), "1", "5"], "{out}");
        slots.insert(words[0].parse::<u32>().unwrap());
    }
    assert!(slots.iter().all(|slot| (1..=3).contains(slot)), "{slots:?}");
}

#[test]
fn one_ends_while_another_goes_on() {
    let place = Place::new();
    place.run(&["add", "t", "quick", "slow"]).expect(0);
    let script = "test $0 = quick || until test -e go; do sleep 0.01; done";
    let run = place.start(&["run", "t", "-j2", "--", "sh", "-c", script, "{}"]);
    until("quick is done", || place.field("t", "quick", "_done") == true);
    assert_eq!(claimed(&place, "t"), 1);
    place.write("go", "");
    run.end().expect(0);
}

// C4, R13: signals.

#[test]
fn a_signal_with_work_left_is_no_success_and_one_without_is() {
    let place = Place::new();
    for (signal, code) in [(Signal::SIGHUP, 129), (Signal::SIGTERM, 143)] {
        place.run(&["reset", "t", "--all"]);
        place.run(&["add", "t", "a", "b"]).expect(0);
        let run = place.start(&["run", "t", "-j1", "--", "sh", "-c", "sleep 1000 & sleep 1000"]);
        until("a is under way", || claimed(&place, "t") == 1);
        let own = |pid: u32| processes_with("sleep 1000").iter().filter(|line| is_in_place(&place, line)).count() as u32 * pid;
        until("all of it", || own(1) >= 2);
        run.signal(signal);
        run.end().expect(code);
        assert_eq!(own(1), 0, "all that it started has ended with it");
        assert_eq!((place.field("t", "a", "_tries"), place.tracker("t").progress().todo), (0.into(), 2));
    }
    // Ctrl-C to the runner alone: the last one is finished, and nothing is left.
    place.run(&["rm", "t", "b"]).expect(0);
    let run = place.start(&["run", "t", "-j1", "--", "sh", "-c", "touch begun; until test -e go; do sleep 0.01; done"]);
    until("a is under way", || place.path("begun").exists());
    run.signal(Signal::SIGINT);
    place.write("go", "");
    run.end().expect(0);
}

/// Whether a process that `processes_with` found works in this directory.
fn is_in_place(place: &Place, line: &str) -> bool {
    let pid = line.split(':').next().unwrap();
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == place.path("").canonicalize().unwrap())
}

/// What a task starts and does not wait for: in its group, in a session of its own, away from its parent, and without its environment.
const SCATTERED: &str = "sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 &) ; env -i setsid sleep 1000 & \
    setsid sh -c 'trap \"\" TERM; sleep 1000; true' & touch begun; sleep 1000";

#[test]
fn a_time_out_ends_all_that_a_task_has_started() {
    let place = Place::new();
    let left = |what: &str| processes_with(what).into_iter().filter(|line| is_in_place(&place, line)).collect::<Vec<_>>();
    place.run(&["add", "t", "a"]).expect(0);
    place.run(&["run", "t", "-q", "--timeout", "2s", "--", "sh", "-c", SCATTERED]).expect(1);
    assert!(place.path("begun").exists());
    assert_eq!(left("sleep 1000"), Vec::<String>::new());
    assert!(place.field("t", "a", "_error").as_str().unwrap().starts_with("timed out after 2"));
    // The leader ends at once; a child of the same group does not listen.
    place.run(&["add", "t", "b"]).expect(0);
    place
        .run(&["run", "t", "-q", "--timeout", "0.5s", "--", "sh", "-c", "sh -c 'trap \"\" TERM; sleep 1000; true' & sleep 1000"])
        .expect(1);
    assert_eq!(left("sleep 1000"), Vec::<String>::new());
}

#[test]
fn a_runner_that_is_killed_alone_leaves_nothing_running_beside_the_next_one() {
    let place = Place::new();
    let left = || processes_with("sleep 1000").into_iter().filter(|line| is_in_place(&place, line)).collect::<Vec<_>>();
    place.run(&["add", "t", "a"]).expect(0);
    let run = place.start(&["run", "t", "-q", "-j1", "--", "sh", "-c", SCATTERED]);
    until("it is under way", || left().iter().filter(|line| !line.contains("sh -c")).count() == 6);
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().code, -9);
    // The one that has no environment cannot be found once its parents are gone.
    until("all but one are gone", || left().len() <= 1);
    for line in left() {
        let pid = line.split(':').next().unwrap().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    place.run(&["run", "t", "-q", "--", "true"]).expect(0);
    assert_eq!(place.field("t", "a", "_tries"), 1);
}

// C6, C13, R9, R10, R11: keys and arguments.

#[test]
fn empty_input_adds_nothing_and_lines_are_taken_as_they_are() {
    let place = Place::new();
    assert_eq!(place.feed(&["add", "t"], b"").expect(0).err, "0 added\n");
    assert_eq!(place.feed(&["add", "t"], b"\n\n").expect(0).err, "0 added\n");
    place.feed(&["add", "t", "-0"], b"").expect(0);
    let names =
        [" both ", "tab\there", "quote'\"", "back\\slash\\n", "$x `y` $(z)", "-rf", "--", "crlf\r", "last", "*", "a=b", "#x", "{}", "ä"];
    place.feed(&["add", "t"], names.join("\n").as_bytes()).expect(0);
    place.run(&["add", "t", "--", "", "--json", "two\nlines"]).expect(0);
    place.run(&["run", "t", "-q", "--", "printf", "<%s>", "{}", "x{}y"]).expect(0);
    for name in names.iter().copied().chain(["", "--json", "two\nlines"]) {
        assert_eq!(place.field("t", name, "stdout"), format!("<{name}><x{name}y>"));
    }
    assert_eq!(place.tracker("t").len(), names.len() + 3);
}

#[test]
fn placeholders_mean_what_they_mean_in_gnu_parallel() {
    let place = Place::new();
    let expected = [
        ("a.b/c", "a.b/c c a.b c"),
        ("x.tar.gz", "x.tar x.tar.gz . x.tar"),
        ("a", "a a . a"),
        ("/a", "/a a / a"),
        ("d/e.f", "d/e e.f d e"),
    ];
    for (key, _) in expected {
        place.run(&["add", "t", key]).expect(0);
    }
    place.run(&["run", "t", "-q", "--", "echo", "{.}", "{/}", "{//}", "{/.}"]).expect(0);
    for (key, text) in expected {
        assert_eq!(place.field("t", key, "stdout"), format!("{text}\n"), "{key}");
    }
}

#[test]
fn a_hundred_thousand_inputs_come_in_and_a_command_that_is_too_long_names_its_task() {
    let place = Place::new();
    assert_eq!(place.shell("seq 100000 | tastypod add t").expect(0).err, "100,000 added\n");
    let listed = place.run(&["run", "t", "--dry-run", "--", "echo"]).expect(0).out;
    assert_eq!((listed.lines().count(), listed.lines().last()), (100_000, Some("echo 100000")));
    place.run(&["run", "t", "-q", "-j2", "--halt", "soon,success=20", "--", "true"]).expect(1);
    let long = "k".repeat(60_000);
    place.feed(&["add", "u"], format!("{long}\nfine\n").as_bytes()).expect(0);
    place.run(&["run", "u", "-q", "--", "true", "{}{}{}"]).expect(1);
    assert_eq!(place.tracker("u").num_done(), 1);
    assert!(place.field("u", &long, "_error").as_str().unwrap().to_lowercase().contains("too long"));
    assert!(place.run(&["failures", "u", "--list"]).expect(0).out.starts_with("kkk"));
}

#[test]
fn where_there_is_no_terminal_progress_is_said_on_a_line_now_and_then() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    let errors = std::fs::File::create(place.path("errors")).unwrap();
    let mut command = place.command(&["run", "t", "--", "sh", "-c", "until test -e go; do sleep 0.01; done"]);
    command.stdin(std::process::Stdio::null()).stderr(errors);
    let run = Started::of(command.spawn().unwrap());
    until("a line comes", || !noted(&place, "errors").is_empty());
    place.write("go", "");
    run.end().expect(0);
    let lines = noted(&place, "errors");
    assert!(lines[0].starts_with("tastypod: 0 % 0/1 done, 1 in work"), "{lines:?}");
    assert!(!lines.concat().contains(['\u{1b}', '\r', '█']), "{lines:?}");
}

// C5: progress after a resume.

#[test]
fn after_a_resume_progress_begins_where_it_was_and_its_rate_is_that_of_this_run() {
    let place = Place::new();
    place.shell("seq 1000 | tastypod add t").expect(0);
    let status =
        |tracker: &str| -> serde_json::Value { serde_json::from_str(&place.run(&["status", tracker, "--json"]).expect(0).out).unwrap() };
    // The rate of this run is far above that of the next.
    place.run(&["run", "t", "-q", "-j1", "--halt", "soon,success=960", "--", "true"]).expect(1);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let watching = place.start(&["status", "t", "--watch", "--json", "--interval", "10ms"]);
    let started = std::time::Instant::now();
    let run = place.start(&["run", "t", "-q", "-j1", "--", "sh", "-c", "sleep 0.1"]);
    until("a tenth is done", || status("t")["done"].as_u64().unwrap() >= 970);
    let (seen, soon) = (status("t"), started.elapsed().as_secs_f64());
    let (done, rate, eta) = (seen["done"].as_f64().unwrap() - 960.0, seen["rate"].as_f64().unwrap(), seen["eta_seconds"].as_f64());
    // What one sees from outside, the start of the programs included.
    assert!(rate > 0.0 && rate <= 10.5 && rate >= (done - 1.0) / soon, "{rate} a second, {done} done after {soon}");
    assert!((eta.unwrap() - (40.0 - done) / rate).abs() < 0.01, "{seen}");
    run.end().expect(0);
    let out = watching.end().expect(0).out;
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let percents: Vec<u64> = lines.iter().map(|line| line["percent"].as_u64().unwrap()).collect();
    assert!(percents[0] == 96 && percents.is_sorted() && percents.last() == Some(&100), "{percents:?}");
    // Nothing is said before the first is done, nor of a tracker on which nothing was done.
    let before: Vec<_> = lines.iter().filter(|line| line["done"] == 960 && line["claimed"] == 1).collect();
    assert!(before.iter().all(|line| line["eta_seconds"].is_null() && line["rate"] == 0.0), "{before:?}");
    place.run(&["add", "u", "a"]).expect(0);
    assert!(status("u")["eta_seconds"].is_null() && status("u")["rate"] == 0.0);
}

// R4: output in the order of the tasks, over a restart.

#[test]
fn output_in_order_is_whole_after_a_restart_that_does_only_what_was_left() {
    let place = Place::new();
    place.shell("printf '%s\\n' slow 1 2 3 4 5 | tastypod add t").expect(0);
    let script = "echo $0 >> begun; test $0 != slow -o -e fast || sleep 1000; echo out $0";
    let arguments = ["run", "t", "-q", "-k", "-j2", "--", "sh", "-c", script, "{}"];
    let first = place.start(&arguments);
    until("five are done", || place.tracker("t").num_done() == 5);
    kill_all_of(first.child.id());
    let ended = first.end().expect(-9);
    assert_eq!(ended.out, "", "the first one was waited for");
    place.write("fast", "");
    let all = "out slow\nout 1\nout 2\nout 3\nout 4\nout 5\n";
    assert_eq!(place.run(&arguments).expect(0).out, all);
    let mut begun = noted(&place, "begun");
    assert_eq!(begun.pop().as_deref(), Some("slow"));
    assert_eq!(begun.len(), 6);
    // What was killed before it had printed all can be had again.
    assert_eq!(place.run(&arguments).expect(0).out, all);
    assert_eq!(noted(&place, "begun").len(), 7);
}

#[test]
fn output_in_order_of_two_runs_and_of_what_is_tried_again_is_whole() {
    let place = Place::new();
    place.shell("seq 40 | tastypod add t").expect(0);
    let script = "echo $0; test $TASTYPOD_ATTEMPT = 2 -o $(($0 % 3)) = 0";
    let arguments = ["run", "t", "-q", "-k", "-j2", "--max-tries", "2", "--", "sh", "-c", script, "{}"];
    let other = place.start(&["run", "t", "-q", "-j1", "--max-tries", "2", "--", "sh", "-c", script, "{}"]);
    let out = place.run(&arguments).expect(0).out;
    other.end().expect(0);
    let mut lines: Vec<u32> = out.lines().map(|line| line.parse().unwrap()).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    lines.dedup();
    assert_eq!(lines, (1..=40).collect::<Vec<u32>>());
}
