//! `tastypod add`.

use crate::support::Place;

#[test]
fn tasks_come_from_arguments_lines_and_names_ended_by_nul() {
    let place = Place::new();
    assert_eq!(place.run(&["add", "t", "a", "b"]).expect(0).err, "2 added\n");
    assert_eq!(place.feed(&["add", "t"], b"b\n\nc d\n").expect(0).err, "1 added, 1 there already\n");
    assert_eq!(place.feed(&["add", "t", "-0", "--quiet"], b"new\nline\0e").expect(0).err, "");
    let keys: Vec<String> = place.tracker("t").keys().map(|key| key.unwrap().to_string()).collect();
    assert_eq!(keys, ["a", "b", "c d", "new\nline", "e"]);
    assert_eq!(place.tracker("t").max_tries(), 1, "a new tracker tries once");
}

#[test]
fn json_brings_keys_of_all_kinds_and_fields() {
    let place = Place::new();
    let lines = "\"a\"\n7\n{\"key\": [\"b\", 1], \"url\": \"x\", \"_priority\": 5}\n";
    place.feed(&["add", "t", "--json", "--priority", "-2"], lines.as_bytes()).expect(0);
    let tracker = place.tracker("t");
    assert_eq!(tracker.at(("b", 1)).key("url").get().unwrap(), Some("x".into()));
    assert_eq!(tracker.at(("b", 1)).key("_priority").get().unwrap(), Some(5.into()));
    assert_eq!(tracker.at(7).key("_priority").get_as::<f64>().unwrap(), Some(-2.0));
    drop(tracker);
    // One that is there stays as it is.
    place.feed(&["add", "t", "--json"], b"{\"key\": \"a\", \"url\": \"other\"}\n").expect(0);
    assert!(place.field("t", "a", "url").is_null());
    // The first comes first: a priority of 5 before those of -2, in order.
    let done = place.run(&["run", "t", "-j1", "-k", "--", "echo"]).expect(0);
    assert_eq!(done.out, "[\"b\",1]\na\n7\n");
}

#[test]
fn a_tracker_keeps_its_own_limit_of_tries() {
    let place = Place::new();
    drop(tastypod::Options::new().max_tries(5).open_tracker(place.path("t")).unwrap());
    place.run(&["add", "t", "a"]).expect(0);
    assert_eq!(place.tracker("t").max_tries(), 5);
}
