//! What a person sees of a tracker, and changes in it: status, failures, who, retry, abort, reset.

use crate::support::{Place, until, value};
use serde_json::{Value, json};

/// Ten tasks: 1 to 7 done, 8 and 9 failed with exit code 2 and 9 respectively, 10 never tried.
fn worked(place: &Place) {
    place.shell("seq 9 | tastypod add t").expect(0);
    place.run(&["run", "t", "-q", "--", "sh", "-c", "test $0 -lt 8 || { echo no $0 >&2; exit $((2 + 7 * ($0 - 8))); }", "{}"]).expect(1);
    place.run(&["add", "t", "10"]).expect(0);
}

#[test]
fn status_counts_and_has_a_bar_of_its_own() {
    let place = Place::new();
    worked(&place);
    let text = place.run(&["status", "t"]).expect(0).out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0] == format!("t  {}{}  90 %", "█".repeat(36), "░".repeat(4)), "{text}");
    assert_eq!(lines[1], "10 tasks: 7 done, 2 failed, 1 to do");
    let json = value(&place.run(&["status", "t", "--json"]).expect(0).out);
    for (name, expected) in
        [("schema", 1), ("total", 10), ("done", 7), ("failed", 2), ("claimed", 0), ("todo", 1), ("percent", 90), ("max_tries", 1)]
    {
        assert_eq!(json[name], expected, "{name}");
    }
    assert_eq!(json["workers"], json!([]));
    assert!(json.get("rate").is_some() && json.get("eta_seconds").is_some());
}

#[test]
fn watching_says_what_changes_until_all_is_finished() {
    let place = Place::new();
    place.run(&["add", "t", "1", "2"]).expect(0);
    let mut watching = place.start(&["status", "t", "--watch", "--json", "--interval", "20ms"]);
    watching.wait_for_out("\"done\":0");
    let run = place.start(&["run", "t", "-j1", "--", "sh", "-c", "test $0 = 1 || until [ -e go ]; do sleep 0.02; done", "{}"]);
    watching.wait_for_out("\"done\":1");
    place.write("go", "");
    run.end().expect(0);
    let ended = watching.end().expect(0);
    let done: Vec<u64> = ended.out.lines().map(|line| value(line)["done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted() && done.first() == Some(&0) && done.last() == Some(&2) && done.contains(&1), "{done:?}");
}

#[test]
fn failures_are_grouped_by_why_and_tried_again() {
    let place = Place::new();
    worked(&place);
    place.run(&["abort", "t", "10", "--reason", "not needed"]).expect(0);
    let text = place.run(&["failures", "t"]).expect(0).out;
    for row in ["exit code 2", "exit code 9", "not needed", "no 8", "no 9"] {
        assert!(text.contains(row), "{text}");
    }
    let json = value(&place.run(&["failures", "t", "--json", "--where", "exit=9"]).expect(0).out);
    assert_eq!(json, json!({"schema": 1, "failures": [{"error": "exit code 9", "count": 1, "final": 1, "stderr": "no 9", "keys": ["9"]}]}));
    assert_eq!(place.run(&["failures", "t", "--list"]).expect(0).out.lines().count(), 3);

    // By a condition, by name, and all.
    assert_eq!(value(&place.run(&["retry", "t", "--where", "_error~code 9", "--json"]).expect(0).out)["retried"], 1);
    place.run(&["run", "t", "-q", "--", "test", "{}", "=", "9"]).expect(1);
    assert_eq!((place.field("t", "9", "_done"), place.field("t", "8", "_done")), (json!(true), json!(false)));
    let ended = place.run(&["retry", "t", "8", "absent"]).expect(3);
    assert!(ended.err.contains("absent: no such key") && ended.err.contains("1 retried"), "{}", ended.err);
    place.run(&["retry", "t"]).expect(0);
    place.run(&["run", "t", "-q", "--", "true"]).expect(0);
    place.run(&["failures", "t"]).expect(0);
    place.run(&["retry", "t"]).expect(0);
}

#[test]
fn what_is_reset_is_as_it_was_added() {
    let place = Place::new();
    worked(&place);
    for usage in [&["reset", "t"][..], &["reset", "t", "1", "--all"], &["abort", "t"]] {
        assert!(place.run(usage).expect(2).err.contains("--where"));
    }
    place.run(&["reset", "t", "--where", "exit=0"]).expect(0);
    assert_eq!(place.tracker("t").raw_json("3").unwrap().unwrap(), r#"{"_tries":0,"_done":false,"_aborted":false}"#);
    assert_eq!(place.tracker("t").progress().todo, 8);
    place.run(&["reset", "t", "--all"]).expect(0);
    assert_eq!(place.tracker("t").progress().todo, 10);
    place.run(&["abort", "t", "--all"]).expect(0);
    place.run(&["abort", "t", "--all"]).expect(0);
    assert_eq!(place.tracker("t").num_aborted(), 10);
}

#[test]
fn who_names_runs_and_their_tasks() {
    let place = Place::new();
    place.run(&["add", "t", "a", "b", "c"]).expect(0);
    place.run(&["who", "t"]).expect(0);
    let run = place.start(&["run", "t", "-j2", "--lease", "1h", "--", "sh", "-c", "sleep 30"]);
    until("two are at work", || value(&place.run(&["status", "t", "--json"]).expect(0).out)["claimed"] == 2);
    let json = value(&place.run(&["who", "t", "--json"]).expect(0).out);
    let pid = run.child.id();
    assert_eq!((&json["schema"], &json["processes"][0]["pid"], &json["processes"][0]["claims"]), (&json!(1), &json!(pid), &json!(2)));
    assert_eq!((&json["claims"][0]["key"], &json["claims"][0]["pid"]), (&json!("a"), &json!(pid)));
    assert!((3500.0..=3600.0).contains(&json["claims"][0]["lease_left_seconds"].as_f64().unwrap()), "{json}");
    assert_eq!((&json["lock"], &json["snapshots"]), (&Value::Null, &json!([])));
    let text = place.run(&["who", "t"]).expect(0).out;
    assert!(text.contains(&pid.to_string()) && text.contains("tastypod") && text.contains("left"), "{text}");
    let status = place.run(&["status", "t"]).expect(0).out;
    assert!(status.contains("2 in work, 1 to do") && status.contains(&format!("at work: tastypod {pid} (2)")), "{status}");
    drop(run);
    // A pod has openers too, and stays a pod.
    let pod = tastypod::Pod::open(place.path("p")).unwrap();
    assert_eq!(value(&place.run(&["who", "p", "--json"]).expect(0).out)["processes"][0]["pid"], std::process::id());
    pod.set("still a pod", 1).unwrap();
}

#[test]
fn a_held_lock_is_named_and_keeps_nobody_from_looking() {
    let place = Place::new();
    worked(&place);
    let tracker = place.tracker("t");
    let guard = tracker.lock().unwrap();
    let own = std::process::id();
    let status = place.run(&["status", "t"]).expect(0);
    assert!(status.out.contains("7 done") && status.err.contains(&format!("process {own}")), "{status:?}");
    let who = value(&place.run(&["who", "t", "--json"]).expect(0).out);
    assert_eq!(who["lock"]["pid"], own);
    assert!(place.run(&["who", "t"]).expect(0).out.contains(&format!("the lock is held by process {own}")));
    assert_eq!(place.run(&["ls", "t"]).expect(0).out.lines().count(), 10);
    drop(guard);
}
