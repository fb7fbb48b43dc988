//! Damaged stores: verify says what is wrong, repair what it would do, and nothing is thrown away.

use crate::support::{Place, processes_with};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A store of 300 tasks that is saved, and what its export says.
fn saved(place: &Place) -> String {
    place.shell("seq 300 | tastypod add t").expect(0);
    place.run(&["convert", "t", "--file-size", "100"]).expect(0);
    place.run(&["verify", "t"]).expect(0);
    place.run(&["repair", "t"]).expect(0);
    place.run(&["export", "t"]).expect(0).out
}

/// The directory beside the store that repair moved things into.
fn quarantine(place: &Place) -> PathBuf {
    let entries = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.to_str().unwrap().contains("t.quarantine-")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop().unwrap()
}

#[test]
fn a_line_that_cannot_be_read_is_left_out_and_kept_beside_the_store() {
    let place = Place::new();
    let before = saved(&place);
    fs::remove_dir_all(place.path("t/.live")).unwrap();
    let shard = place.path("t/1.json");
    let damaged = fs::read_to_string(&shard).unwrap().replacen("\"150\"\t{", "\"150\"\t{{", 1);
    fs::write(&shard, &damaged).unwrap();

    let verified = place.run(&["verify", "t", "--json"]).expect(4);
    let report: Value = serde_json::from_str(&verified.out).unwrap();
    assert_eq!(report["clean"], false);
    assert!(report["findings"][0].as_str().unwrap().contains("1.json, line 50"), "{report}");
    // It says what it would do, and does nothing.
    let said = place.run(&["repair", "t"]).expect(4).err;
    assert!(said.contains("with --yes") && said.contains("1.json away"), "{said}");
    assert_eq!(fs::read_to_string(&shard).unwrap(), damaged);

    let said = place.run(&["repair", "t", "--yes"]).expect(0).err;
    assert!(said.contains("left out of 1.json: \"150\"\t{{"), "{said}");
    place.run(&["verify", "t"]).expect(0);
    let after = place.run(&["export", "t"]).expect(0).out;
    assert_eq!(after, before.lines().filter(|line| !line.contains("\"150\"")).map(|line| format!("{line}\n")).collect::<String>());
    assert_eq!(fs::read_to_string(quarantine(&place).join("1.json")).unwrap(), damaged);
}

#[test]
fn a_log_that_contradicts_itself_is_moved_away_and_the_files_stand_for_it() {
    let place = Place::new();
    let before = saved(&place);
    // A kill, so that the log is looked at; and bytes in the middle of its records that nobody wrote.
    let run = place.start(&["run", "t", "-j1", "--", "sleep", "30"]);
    crate::support::until("it works", || !processes_with("sleep 30 1").is_empty());
    drop(run);
    let log = place.path("t/.live/log");
    let mut bytes = fs::read(&log).unwrap();
    let at = 4096 + bytes.windows(5).position(|window| window == b"_done").unwrap_or(4096);
    bytes[at..at + 600].fill(0xee);
    fs::write(&log, &bytes).unwrap();
    let ended = place.run(&["verify", "t"]);
    if ended.code == 0 {
        // What is saved needs no log: it was loaded from the files.
        assert_eq!(place.run(&["ls", "t"]).expect(0).out.lines().count(), 300);
        return;
    }
    assert_eq!(ended.code, 4, "{ended:?}");
    place.run(&["repair", "t", "--yes"]).expect(0);
    place.run(&["verify", "t"]).expect(0);
    let keys = |text: &str| text.lines().map(|line| line.split(',').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(keys(&place.run(&["export", "t"]).expect(0).out), keys(&before));
    assert!(quarantine(&place).join("log.before").exists());
}

#[test]
fn nothing_is_repaired_under_somebody_who_has_it_open() {
    let place = Place::new();
    saved(&place);
    let held = place.tracker("t");
    let shard = place.path("t/1.json");
    fs::write(&shard, "nonsense\n").unwrap();
    let ended = place.run(&["repair", "t", "--yes"]).expect(1);
    assert!(ended.err.contains("somebody has it open"), "{}", ended.err);
    assert_eq!(fs::read_to_string(&shard).unwrap(), "nonsense\n");
    drop(held);
}

#[test]
fn what_nothing_makes_up_for_is_said_and_left_alone() {
    let place = Place::new();
    saved(&place);
    fs::rename(place.path("t"), place.path("whole")).unwrap();
    type Harm = fn(&std::path::Path);
    let harms: [(Harm, &str); 3] = [
        (|store| fs::remove_file(store.join("1.json")).unwrap(), "the file is missing"),
        (|store| fs::write(store.join("pod.json"), "{").unwrap(), "not a manifest"),
        (
            |store| {
                let text = fs::read_to_string(store.join("1.json")).unwrap();
                fs::write(store.join("1.json"), &text[..=text[..text.len() / 2].rfind('\n').unwrap()]).unwrap();
            },
            "cut off",
        ),
    ];
    for (harm, says) in harms {
        place.shell("rm -rf t && cp -r whole t").expect(0);
        harm(&place.path("t"));
        let listing = || place.shell("cd t && find . -name '*.json' | sort | xargs sha256sum && ls .live").expect(0).out;
        let before = listing();
        let ended = place.run(&["repair", "t", "--yes"]).expect(4);
        assert!(ended.err.contains(says) && ended.err.contains("restore the file from a copy"), "{}", ended.err);
        assert_eq!(listing(), before);
    }
}

#[test]
fn a_key_that_stands_twice_loses_the_later_line() {
    let place = Place::new();
    let before = saved(&place);
    fs::remove_dir_all(place.path("t/.live")).unwrap();
    let mut shard = fs::read_to_string(place.path("t/2.json")).unwrap();
    shard.push_str("\"7\"\t{\"_tries\":3,\"_done\":true,\"_aborted\":false}\nnonsense\n");
    fs::write(place.path("t/2.json"), shard).unwrap();
    place.run(&["verify", "t"]).expect(4);
    place.run(&["repair", "t", "--yes"]).expect(0);
    assert_eq!(place.run(&["export", "t"]).expect(0).out, before);
    assert!(quarantine(&place).join("2.json.1").exists(), "it had to be mended twice");
}

#[test]
fn a_damaged_place_in_a_log_that_nothing_was_saved_of_costs_only_what_stands_behind_it_and_only_with_yes() {
    let place = Place::new();
    let store = tastypod::Options::new().sync_mode(tastypod::SyncMode::Manual).open(place.path("t")).unwrap();
    (0..100).for_each(|key| store.set(key, format!("value {key}")).unwrap());
    std::mem::forget(store);
    // As a backup brings it: the log alone.
    fs::create_dir_all(place.path("u/.live")).unwrap();
    let mut log = fs::read(place.path("t/.live/log")).unwrap();
    let at = log.windows(8).position(|window| window == b"value 60").unwrap();
    log[at] ^= 1;
    fs::write(place.path("u/.live/log"), &log).unwrap();

    for args in [&["verify", "u"][..], &["ls", "u"], &["repair", "u"]] {
        let ended = place.run(args).expect(4);
        let said = format!("{}{}", ended.out, ended.err);
        assert!(said.contains("a place that cannot be read") && said.contains("or later stand behind it"), "{said}");
    }
    assert_eq!(fs::read(place.path("u/.live/log")).unwrap(), log, "nothing is changed");
    let said = place.run(&["repair", "u", "--yes"]).expect(0).err;
    assert!(said.contains("let go of what stands in the log behind"), "{said}");
    assert_eq!(place.run(&["ls", "u"]).expect(0).out.lines().count(), 60);
    let verified = place.run(&["verify", "u"]).expect(0).out;
    assert!(verified.contains("put aside") && verified.contains("log.cut-"), "{verified}");
}
