//! Input that makes no sense: a message, an exit code, and nothing lost.

use crate::support::Place;
use nix::unistd::Uid;

#[test]
fn arguments_that_make_no_sense_are_usage() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    for (arguments, says) in [
        (&["fly"][..], "unrecognized subcommand"),
        (&["run", "t"], "required arguments"),
        (&["run", "t", "--halt", "later", "--", "true"], "now,fail=1"),
        (&["run", "t", "--timeout", "1w", "--", "true"], "no unit of time"),
        (&["run", "t", "--lease", "1ms", "--", "true"], "at least 100ms"),
        (&["run", "t", "-j0", "--", "true"], "0"),
        (&["run", "t", "--", "no-such-program"], "no-such-program: no such program"),
        (&["run", "t", "--", "/etc/passwd"], "no such program"),
    ] {
        let ended = place.run(arguments).expect(2);
        assert!(ended.err.contains(says) && ended.out.is_empty(), "{arguments:?}: {ended:?}");
    }
    assert!(place.run(&["run", "nowhere", "--", "true"]).expect(3).err.contains("there is no store at nowhere"));
    assert!(!place.path("nowhere").exists());
    assert_eq!(place.field("t", "a", "_tries"), 0);
    // A program that can be told only from the task fails the task.
    place.run(&["run", "t", "--", "./{}"]).expect(1);
    assert_eq!(place.field("t", "a", "_error"), "./a: no such program");
}

#[test]
fn items_that_cannot_be_tasks_are_named_and_the_others_added() {
    let place = Place::new();
    let ended = place.feed(&["add", "t", "-0"], b"good\0b\xffd\0fine\0").expect(1);
    assert!(ended.err.contains("item 2: b\\xffd is not UTF-8") && ended.err.contains("2 added, 1 refused"), "{}", ended.err);
    let ended = place.feed(&["add", "t", "--json"], b"{\"key\": \"x\", \"_done\": true}\nno\n{\"key\": 1.5}\n\"y\"\n").expect(1);
    for says in ["item 1: unknown field _done", "item 2: no JSON", "item 3: 1.5 cannot be a key", "1 added, 3 refused"] {
        assert!(ended.err.contains(says), "{says}: {}", ended.err);
    }
    let ended = place.feed(&["add", "t"], [&b"k".repeat(70_000)[..], b"\nfine\n"].concat().as_slice()).expect(1);
    assert!(ended.err.contains("item 1: kkk") && ended.err.contains("1 there already, 1 refused"), "{}", ended.err);
    assert_eq!(place.tracker("t").len(), 3);
    // What no argument can hold fails its task, and no other.
    place.feed(&["add", "t", "--json"], b"\"a\\u0000b\"\n").expect(0);
    place.run(&["run", "t", "--", "true"]).expect(1);
    assert_eq!(place.tracker("t").num_done(), 3);
    assert!(place.field("t", "a\0b", "_error").as_str().unwrap().contains("NUL"));
}

#[test]
fn damaged_stores_are_corrupt() {
    let place = Place::new();
    place.run(&["add", "t", "a", "b"]).expect(0);
    std::fs::remove_dir_all(place.path("t/.live")).unwrap();
    place.write("t/0.json", "\"a\"\t{\"_tries\":0,\"_done\":false,\"_aborted\":false}\nnonsense\n");
    for arguments in [&["add", "t", "c"][..], &["run", "t", "--", "true"]] {
        let ended = place.run(arguments).expect(4);
        assert!(ended.err.contains("0.json, line 2"), "{}", ended.err);
    }
}

#[test]
fn a_closed_pipe_ends_a_run_quietly_and_loses_nothing() {
    let place = Place::new();
    place.shell("seq 2000 | tastypod add t").expect(0);
    let ended = place.shell("tastypod run t -j2 -k -q -- echo | head -n 3").expect(0);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("1\n2\n3\n", ""));
    let done = place.tracker("t").num_done();
    assert!((3..2000).contains(&done), "{done} are done: it stopped soon");
    place.run(&["run", "t", "--", "true"]).expect(0);
    assert_eq!(place.tracker("t").num_done(), 2000);
}

#[test]
fn a_full_disk_loses_nothing() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root may mount a small disk");
        return;
    }
    let place = Place::new();
    std::fs::create_dir(place.path("disk")).unwrap();
    let mounted = place.shell("mount -t tmpfs -o size=24m tmpfs disk");
    if mounted.code != 0 {
        eprintln!("skipped: no small disk can be mounted here: {}", mounted.err);
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        place.shell("seq 500 | tastypod add disk/t").expect(0);
        // Each keeps 100 kB, in the log and in the files: that is more than there is room for.
        let task = ["run", "disk/t", "-j2", "--", "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x"];
        let ended = place.run(&task).expect(1);
        assert!(ended.err.contains("no space left"), "{}", ended.err);
        let done = place.tracker("disk/t").num_done();
        assert!((1..500).contains(&done), "{done}");
        place.shell("mount -o remount,size=400m disk").expect(0);
        assert!(place.tracker("disk/t").num_done() >= done, "what was done stays done");
        // Those whose results there was no room for were tried once.
        place.run(&[&["run", "disk/t", "--max-tries", "2"], &task[2..]].concat()).expect(0);
        assert_eq!(place.tracker("disk/t").num_done(), 500);
    });
    place.shell("umount -l disk").expect(0);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
