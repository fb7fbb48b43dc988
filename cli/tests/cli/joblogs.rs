//! Joblogs, of GNU parallel and our own, and state that was cut (cases C12, R14, R16).

use crate::support::Place;

const HEADER: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

#[test]
fn joblogs_are_read_in_all_the_forms_that_gnu_parallel_writes() {
    let place = Place::new();
    let row = |sequence: u32, exit: i32, signal: i32, command: &str| {
        format!("{sequence}\t:\t1700000000.123\t{:10.3}\t0\t0\t{exit}\t{signal}\t{command}\n", 0.25)
    };
    let log = [
        row(3, 0, 0, "c"),
        row(1, 1, 0, "a"),
        HEADER.to_owned(),
        row(2, 0, 9, "b"),
        row(1, 0, 0, "a"),
        row(4, -1, 0, "d\twith\ttabs"),
        row(5, 0, 0, "e\0f"),
    ]
    .concat();
    let cut = row(6, 0, 0, "cut off").trim_end().to_owned();
    place.write("log", format!("{HEADER}{log}7\t:\t0\t0\n{cut}"));
    let ended = place.run(&["import", "t", "log"]).expect(1);
    for says in ["line 9: no line of a joblog", "line 10: it is cut off", "5 imported", "was running"] {
        assert!(ended.err.contains(says), "{says}: {}", ended.err);
    }
    for (key, is_done, exit, error) in [
        ("a", true, Some(0), None),
        ("b", false, None, Some("killed by signal 9")),
        ("c", true, Some(0), None),
        ("d\twith\ttabs", false, None, Some("timed out")),
        ("e\nf", true, Some(0), None),
    ] {
        let found = (place.field("t", key, "_done"), place.field("t", key, "exit").as_i64(), place.field("t", key, "_error"));
        assert_eq!((found.0, found.1, found.2.as_str()), (is_done.into(), exit, error), "{key}");
        assert_eq!(place.field("t", key, "seconds"), 0.25);
    }
    // The same again adds nothing, also over what was done since.
    place.run(&["retry", "t"]).expect(0);
    place.run(&["run", "t", "-q", "--", "true"]).expect(0);
    let before = place.run(&["export", "t"]).expect(0).out;
    assert!(place.run(&["import", "t", "log"]).expect(1).err.contains("5 there already"));
    assert_eq!(place.run(&["export", "t"]).expect(0).out, before);
    // Without a header it is known by its first row; a task that was only added is what the log says.
    place.write("bare", &log);
    place.run(&["add", "u", "c", "z"]).expect(0);
    place.run(&["import", "u", "bare"]).expect(0);
    assert_eq!((place.field("u", "c", "_done"), place.tracker("u").len()), (true.into(), 6));
    // Only a header is no task; another table is none at all.
    place.write("header", HEADER);
    place.run(&["import", "v", "header"]).expect(0);
    assert_eq!(place.tracker("v").len(), 0);
    for format in [&[][..], &["--format", "joblog"], &["--format", "jsonl"]] {
        place.write("table", "name\tsize\nx\t1\n");
        let ended = place.run(&[&["import", "w", "table"], format].concat()).expect(2);
        assert!(ended.err.contains("it begins with: name\tsize") && !place.path("w").exists(), "{}", ended.err);
    }
}

#[test]
fn two_runs_with_one_joblog_write_whole_rows_and_one_header() {
    let place = Place::new();
    place.shell("seq 200 | tastypod add t").expect(0);
    let arguments = ["run", "t", "-q", "-j4", "--joblog", "log", "--", "sh", "-c", "exit $(($0 % 2))", "{}"];
    let runs = [place.start(&arguments), place.start(&arguments)];
    for run in runs {
        run.end().expect(1);
    }
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(log.starts_with(HEADER) && log.ends_with('\n'));
    assert_eq!((log.lines().count(), log.matches("Seq\t").count()), (201, 1));
    assert!(log.lines().all(|line| line.split('\t').count() == 9));
    // What it says is what a tracker takes.
    place.run(&["import", "u", "log"]).expect(0);
    assert_eq!((place.tracker("u").len(), place.tracker("u").num_done()), (200, 100));
    // Somebody has cut it: the next row is whole nevertheless.
    place.write("log", &log[..log.len() - 5]);
    place.run(&["add", "t", "last"]).expect(0);
    place.run(&["run", "t", "-q", "--joblog", "log", "--", "true"]).expect(1);
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(log.lines().last().unwrap().ends_with("\ttrue last"), "{log}");
}

#[test]
fn a_joblog_on_a_full_device_is_an_error_before_anything_begins() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    let ended = place.run(&["run", "t", "--joblog", "/dev/full", "--", "true"]).expect(1);
    assert!(ended.err.contains("the joblog /dev/full: No space left"), "{}", ended.err);
    assert_eq!(place.field("t", "a", "_tries"), 0);
    place.shell("tastypod status t > /dev/full").expect(1);
}

#[test]
fn a_state_file_that_was_cut_is_named_and_not_overwritten() {
    let place = Place::new();
    place.shell("seq 50 | tastypod add t && tastypod run t -q -- true").expect(0);
    std::fs::remove_dir_all(place.path("t/.live")).unwrap();
    let shard = place.path("t/0.json");
    let whole = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &whole[..whole.len() - 5]).unwrap();
    let ended = place.run(&["run", "t", "--", "true"]).expect(4);
    assert!(ended.err.contains("0.json"), "{}", ended.err);
    assert_eq!(std::fs::read(&shard).unwrap(), whole[..whole.len() - 5]);
}
