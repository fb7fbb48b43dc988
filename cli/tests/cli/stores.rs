//! A window into any store: single values, keys, in and out, and the upkeep of its files.

use crate::support::{Place, value};
use serde_json::json;
use std::path::Path;

#[test]
fn values_are_set_got_and_removed() {
    let place = Place::new();
    place.run(&["set", "p", "a", r#"{"n": [1, 2.50, 123456789012345678901234567890], "s": "text"}"#]).expect(0);
    let got = place.run(&["get", "p", "a"]).expect(0).out;
    assert!(got.contains("123456789012345678901234567890") && got.ends_with("\"s\":\"text\"}\n"), "all digits: {got}");
    assert_eq!(place.run(&["get", "p", "a", "--pointer", "/s"]).expect(0).out, "\"text\"\n");
    assert_eq!(place.run(&["get", "p", "a", "-r", "-p", "/s"]).expect(0).out, "text\n");
    place.run(&["set", "p", "a", "-p", "/n/0", "-7"]).expect(0);
    assert_eq!(place.run(&["get", "p", "a", "-p", "/n/0"]).expect(0).out, "-7\n");
    place.feed(&["set", "p", "b", "-", "--string"], b"two\nlines\n").expect(0);
    assert_eq!(place.run(&["get", "p", "b", "--raw"]).expect(0).out, "two\nlines\n");
    place.run(&["set", "p", "--json-keys", "[\"c\", 1]", "null"]).expect(0);
    place.shell("echo text > file; mkdir empty; ln -s nowhere link").expect(0);
    place.run(&["set", "p", "a", "-p", "/n/1", "1.2345678901234567890"]).expect(0);
    assert_eq!(place.run(&["get", "p", "a", "-p", "/n"]).expect(0).out, "[-7,1.2345678901234567890,123456789012345678901234567890]\n");
    assert_eq!(place.run(&["get", "p", "--json-keys", "[\"c\",1]"]).expect(0).out, "null\n");
    for (arguments, code, says) in [
        (&["get", "p", "z"][..], 3, "z: no such key"),
        (&["get", "p", "a", "-p", "/z"], 3, "a: there is nothing at /z"),
        (&["get", "nowhere", "a"], 3, "no store at nowhere"),
        (&["get", "empty", "a"], 3, "no store at empty"),
        (&["set", "link", "a", "1"], 2, "link is a link that leads nowhere"),
        (&["status", "empty"], 3, "no store at empty"),
        (&["get", "p", "[\"c\", 1]"], 3, "the list [\"c\",1] is one: use --json-keys"),
        (&["set", "p", "z", "-p", "/7", "1"], 3, "without --pointer first"),
        (&["set", "p", "a", "-p", "/z/7", "1"], 3, "only the last step"),
        (&["status", "p"], 2, "`tastypod convert p --tracker`"),
        (&["run", "p", "--", "true"], 2, "`tastypod convert p --tracker`"),
        (&["get", "p", "--json-keys", "1.5"], 2, "cannot be a key"),
        (&["set", "p", "a", "text"], 2, "--string"),
        (&["rm", "p", "z", "b"], 3, "z: no such key"),
        (&["rm", "nowhere", "a"], 3, "no store at nowhere"),
        (&["status", "file"], 2, "file is no store"),
        (&["verify", "file"], 2, "file is no store"),
        (&["set", "file", "a", "1"], 2, "file is no store"),
        (&["add", "file", "a"], 2, "file is no store"),
    ] {
        let ended = place.run(arguments).expect(code);
        assert!(ended.err.contains(says) && ended.out.is_empty(), "{arguments:?}: {ended:?}");
    }
    assert_eq!(place.run(&["ls", "p"]).expect(0).out, "a\n[\"c\",1]\n");
    assert_eq!(value(&place.run(&["rm", "p", "a", "--json"]).expect(0).out), json!({"schema": 1, "removed": 1}));
}

#[test]
fn keys_are_listed_by_state_and_condition() {
    let place = Place::new();
    place.shell("seq 5 | tastypod add t").expect(0);
    place.run(&["run", "t", "-q", "--halt", "soon,success=2", "-j1", "--", "test", "{}", "!=", "2"]).expect(1);
    for (arguments, expected) in [
        (&["--state", "done"][..], "1\n3\n"),
        (&["--state", "failed"], "2\n"),
        (&["--state", "todo"], "4\n5\n"),
        (&["--where", "exit=1"], "2\n"),
        (&["--where", "exit=0", "-0"], "1\x003\x00"),
        (&["--state", "failed", "--json"], "{\"schema\":1,\"key\":\"2\"}\n"),
    ] {
        assert_eq!(place.run(&[&["ls", "t"], arguments].concat()).expect(0).out, expected, "{arguments:?}");
    }
    place.run(&["set", "p", "a", "1"]).expect(0);
    place.run(&["ls", "p", "--state", "done"]).expect(2);
}

#[test]
fn what_is_exported_is_imported_again() {
    let place = Place::new();
    place.shell("seq 5000 | tastypod add t").expect(0);
    place.run(&["set", "p", "--json-keys", "[\"a\\\\b\", 2]", "[1e400, \"ä\\n\"]"]).expect(0);
    place.run(&["set", "p", "last", "{}"]).expect(0);
    for store in ["t", "p"] {
        let exported = place.run(&["export", store]).expect(0).out;
        let again = format!("{store}2");
        let ended = place.feed(&["import", &again, "-", "--json"], exported.as_bytes()).expect(0);
        assert_eq!(value(&ended.out)["imported"], exported.lines().count());
        assert_eq!(place.run(&["export", &again]).expect(0).out, exported);
        // Through tastypy's files, whose keys have doubled backslashes.
        let directory = format!("{store}3");
        place.run(&["export", store, "--tastypy", &directory, "--file-size", "100"]).expect(0);
        assert!(place.path(&directory).join("0.json").exists());
        place.run(&["export", store, "--tastypy", &directory]).expect(2);
        let from_files = format!("{store}4");
        place.run(&["import", &from_files, &directory]).expect(0);
        assert_eq!(place.run(&["export", &from_files]).expect(0).out, exported);
    }
    assert_eq!(place.tracker("t2").progress().todo, 5000, "a tracker again");
    // What is there stays with --keep, and is replaced without.
    let line = b"{\"key\": \"last\", \"value\": 9}\n{\"key\": \"new\", \"value\": 9}\n";
    place.feed(&["import", "p", "-", "--keep"], line).expect(0);
    assert_eq!(place.run(&["get", "p", "last"]).out, "{}\n");
    place.feed(&["import", "p", "-"], line).expect(0);
    assert_eq!(place.run(&["get", "p", "last"]).out, "9\n");
    assert_eq!(place.shell("tastypod export t | head -n 1").expect(0).err, "", "a closed pipe is no error");
}

#[test]
fn directories_of_the_real_tastypy_are_read_as_they_are_and_imported() {
    let place = Place::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tastypy-0.0.3");
    for name in ["edge.pod", "many.pod", "edge_gz.pod", "crawl.tracker"] {
        let source = fixtures.join(name).display().to_string();
        place.shell(&format!("cp -r {source} {name}")).expect(0);
        place.run(&["import", &format!("{name}2"), name]).expect(0);
        let exported = place.run(&["export", &format!("{name}2")]).expect(0).out;
        assert_eq!(place.run(&["export", name]).expect(0).out, exported);
        assert!(!place.path(name).join("pod.json").exists(), "a look adopts nothing");
        assert!(!exported.is_empty());
    }
    assert!(place.run(&["status", "crawl.tracker"]).expect(2).err.contains("tastypod convert crawl.tracker --tracker"));
    place.run(&["convert", "crawl.tracker", "--tracker"]).expect(0);
    assert!(place.run(&["status", "crawl.tracker"]).expect(0).out.contains("tasks"));
    let bad = fixtures.join("nan.pod").display().to_string();
    place.shell(&format!("cp -r {bad} nan.pod")).expect(0);
    assert!(place.run(&["import", "x", "nan.pod"]).expect(4).err.contains("0.json"));
}

#[test]
fn a_joblog_of_gnu_parallel_is_gone_on_with() {
    let place = Place::new();
    let log = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n\
        1\t:\t1700000000.1\t     0.001\t0\t2\t0\t0\techo a\\ b\n\
        2\t:\t1700000000.2\t     0.002\t0\t2\t3\t0\techo c\n\
        nonsense\n";
    place.write("log", log);
    let ended = place.run(&["import", "t", "log", "--strip", "echo "]).expect(1);
    assert!(ended.err.contains("line 4: no line of a joblog") && ended.err.contains("2 imported"), "{}", ended.err);
    place.run(&["add", "t", "a b", "c", "d"]).expect(0);
    assert_eq!(place.run(&["failures", "t", "--list"]).expect(0).out, "c\texit code 3\n");
    place.run(&["retry", "t"]).expect(0);
    assert_eq!(place.run(&["run", "t", "-q", "-k", "--", "echo"]).expect(0).out, "c\nd\n", "what was done is not done again");
}

#[test]
fn lines_that_make_no_sense_are_named_and_the_others_imported() {
    let place = Place::new();
    let lines = b"{\"key\": 1, \"value\": 2}\n{\"key\": 1, \"value\": 2, \"more\": 3}\n{\"key\": 1}\n\xff\n{\"key\": null, \"value\": 1}\n";
    let ended = place.feed(&["import", "p", "-"], lines).expect(1);
    for says in ["line 2: unknown field `more`", "line 3: missing field `value`", "line 4: \\xff is not UTF-8", "line 5: ", "1 imported"] {
        assert!(ended.err.contains(says), "{says}: {}", ended.err);
    }
    // A tracker takes tasks only; the others are taken.
    place.run(&["add", "t", "a"]).expect(0);
    let ended = place.feed(&["import", "t", "-"], b"{\"key\": \"b\", \"value\": {}}\n{\"key\": \"c\", \"value\": 7}\n").expect(1);
    assert!(ended.err.contains("line 2: ") && ended.err.contains("no task") && ended.err.contains("1 imported"), "{}", ended.err);
    assert_eq!(place.tracker("t").progress().todo, 2);
    assert!(place.run(&["import", "p", "nowhere"]).expect(2).err.contains("nowhere"));
}

#[test]
fn files_are_saved_compacted_and_converted() {
    let place = Place::new();
    place.shell("seq 3000 | tastypod add t && seq 2900 | xargs tastypod rm t").expect(0);
    let held = place.tracker("t");
    held.add("fresh").unwrap();
    assert_eq!(value(&place.run(&["sync", "t", "--json"]).expect(0).out), json!({"schema": 1, "saved": 1}));
    assert_eq!(held.dirty_len(), 0);
    let compacted = value(&place.run(&["compact", "t", "--json"]).expect(0).out);
    assert_eq!((&compacted["holes"]["before"], &compacted["holes"]["after"]), (&json!(2900), &json!(0)));
    drop(held);
    place.run(&["convert", "t", "--gzip", "--file-size", "50"]).expect(0);
    assert!(place.path("t/1.json.gz").exists() && !place.path("t/0.json").exists());
    place.run(&["convert", "t"]).expect(2);
    place.run(&["set", "p", "a", "7"]).expect(0);
    place.run(&["convert", "p", "--tracker"]).expect(0);
    assert_eq!(place.run(&["run", "p", "-q", "-p", "--", "echo"]).expect(0).out, "a\n");
    assert!(place.run(&["verify", "t"]).expect(0).out.contains("checked: clean"));
}

#[test]
fn a_store_that_may_not_be_written_is_read_and_not_changed() {
    let place = Place::new();
    place.shell("seq 3 | tastypod add t").expect(0);
    if !nix::unistd::Uid::effective().is_root() {
        place.shell("chmod -R a-w t").expect(0);
    } else if place.shell("mount --bind t t && mount -o remount,ro,bind t").code != 0 {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        assert_eq!(place.run(&["ls", "t"]).expect(0).out, "1\n2\n3\n");
        assert!(place.run(&["status", "t"]).expect(0).out.contains("3 tasks: 0 done, 3 to do"));
        assert!(place.run(&["export", "t"]).expect(0).out.lines().count() == 3);
        for arguments in [&["add", "t", "4"][..], &["rm", "t", "1"], &["run", "t", "--", "true"]] {
            let ended = place.run(arguments).expect(1);
            assert!(ended.err.contains("read-only") || ended.err.contains("denied"), "{}", ended.err);
        }
    });
    place.shell("umount -l t || chmod -R u+w t").expect(0);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    place.run(&["run", "t", "--", "true"]).expect(0);
}

#[test]
fn completions_and_manual_pages_are_there() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&["completions", shell]).expect(0).out.contains("failures"));
    }
    assert!(place.run(&["man", "run"]).expect(0).out.contains("keep\\-order"));
    assert!(place.run(&["man"]).expect(0).out.contains(".TH tastypod 1"));
    place.run(&["man", "fly"]).expect(2);
    place.run(&["man", "--out", "pages"]).expect(0);
    assert!(place.path("pages/tastypod-run.1").exists());
}
