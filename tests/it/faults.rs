//! Faults that users of other stores have met, tried on ours with real processes. Each test is named by what is right.

use crate::bad_input::on_disk_of;
use crate::chance::{Random, asked, seed};
use crate::support::{Child, Role, directory, hear, say, text};
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tastypod::{Durability, ErrorKind, Key, Options, Pod, SyncMode};

pub const CHILDREN: &[Role] = &[
    ("without-standard", without_standard),
    ("many-opens", many_opens),
    ("views", views),
    ("daemon", daemon),
    ("closes-all", closes_all),
    ("full-disk", full_disk),
    ("open-replaced", open_replaced),
    ("remove-on-full-disk", remove_on_full_disk),
    ("kill-on-full-disk", kill_on_full_disk),
    ("churn-on-full-disk", churn_on_full_disk),
    ("write-beside-holes", write_beside_holes),
    ("fill-a-little", fill_a_little),
    ("leaves", leaves),
    ("holds-the-lock", holds_the_lock),
    ("waits-for-the-lock", waits_for_the_lock),
    ("small-files", small_files),
];

fn manual(path: &Path) -> Pod {
    Options::new().sync_mode(SyncMode::Manual).open(path).unwrap()
}

/// Closes a number whatever it is, as daemons do.
#[allow(unsafe_code)]
fn close(number: i32) {
    // SAFETY: the process that calls this owns nothing that relies on the number and is not told.
    unsafe { nix::libc::close(number) };
}

/// A copy of the log alone, as another machine or boot finds it.
fn log_alone(path: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to.join(".live")).unwrap();
    fs::copy(path.join(".live/log"), to.join(".live/log")).unwrap();
    to.join(".live/log")
}

// Case 2.

#[test]
fn no_file_of_a_store_gets_the_number_of_a_standard_stream() {
    for closed in ["0", "12", "012", "2"] {
        for options in ["shared", "isolated", "reader", "durable"] {
            let dir = directory();
            let path = dir.path().join("a.pod");
            Pod::open(&path).unwrap().set("before", 1).unwrap();
            let said = dir.path().join("said");
            let mut child = Child::start("without-standard", &[text(&path), closed, options, text(&said)]);
            assert!(child.wait().success(), "{closed} {options}: {}", fs::read_to_string(&said).unwrap_or_default());
            let pod = Pod::open(&path).unwrap();
            assert_eq!(pod.get("before").unwrap(), Some(json!(1)));
            assert!(pod.verify().unwrap().is_clean());
        }
    }
}

fn without_standard(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    arguments[1].bytes().for_each(|number| close(i32::from(number - b'0')));
    let options = Options::new().sync_on_signals(true).sync_mode(SyncMode::Background).sync_at(1);
    let options = match &*arguments[2] {
        "isolated" => options.isolated(true),
        "reader" => Options::new().read_only(true),
        "durable" => options.durability(Durability::Disk),
        _ => options,
    };
    let pod = options.open(path).unwrap();
    if arguments[2] != "reader" {
        pod.extend((0..30_000).map(|key| (key, "x".repeat(200)))).unwrap();
        pod.sync().unwrap();
    }
    let _snapshot = pod.snapshot().unwrap();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let number: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let target = fs::read_link(entry.path()).unwrap_or_default();
        // The look itself is the only file that may have such a number.
        if number <= 2 && arguments[1].contains(&number.to_string()) && !target.starts_with("/proc") {
            fs::write(&arguments[3], format!("{number} is {}", target.display())).unwrap();
            std::process::exit(1);
        }
    }
}

// Case 3.

#[test]
fn options_are_there_or_missed() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Options::new().file_size(7).gzipped(true).max_tries(5).sync_mode(SyncMode::Manual).open(&path).unwrap();
    for turn in 0..100 {
        pod.extend((0..200).map(|key| (key, json!([turn, "z".repeat(3000)])))).unwrap();
    }
    let log = log_alone(&path, &dir.path().join("b.pod"));
    let file = fs::File::options().write(true).open(log).unwrap();
    file.write_all_at(&[0; 4096], 4096).unwrap();
    match Pod::open(dir.path().join("b.pod")) {
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Integrity { .. }), "{error}"),
        Ok(pod) => {
            assert_eq!(Options::new().file_size(8).open(pod.path()).unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!(pod.get(7).unwrap().unwrap()[0], 99);
        }
    }
}

// Case 4.

#[test]
fn opening_and_closing_for_ever_keeps_nothing() {
    for way in ["read-only", "writer", "isolated", "joining", "refused"] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        Pod::open(&path).unwrap().extend((0..100).map(|key| (key, key))).unwrap();
        let mut child = Child::start("many-opens", &[text(&path), way]);
        let said = child.lines();
        assert!(child.wait().success(), "{way}: {said:?}");
    }
}

/// Mappings, open files, and kilobytes of memory of this process, shared memory that it alone holds included.
fn holdings() -> (usize, usize, u64) {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let resident = rollup.lines().find(|line| line.starts_with("Rss:")).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    (fs::read_to_string("/proc/self/maps").unwrap().lines().count(), fs::read_dir("/proc/self/fd").unwrap().count(), resident)
}

fn many_opens(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let _resident = (arguments[1] == "joining").then(|| Pod::open(path).unwrap());
    let once = || {
        let options = match &*arguments[1] {
            "read-only" => Options::new().read_only(true),
            "isolated" => Options::new().isolated(true),
            "refused" => Options::new().file_size(3),
            _ => Options::new(),
        };
        match options.open(path) {
            Ok(pod) => assert_eq!(pod.get_as::<u64>(7).unwrap(), Some(7)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    };
    (0..30).for_each(|_| once());
    let (maps, files, resident) = holdings();
    (0..300).for_each(|_| once());
    let after = holdings();
    say(format!("{maps} {files} {resident} then {after:?}"));
    assert!(after.0 <= maps + 10 && after.1 <= files + 2 && after.2 < resident + 4000);
}

// Case 5.

/// The log keeps no more than it may, and of the disk some segments beside: those that it enters next, ready.
fn require_bounded(stats: &tastypod::Stats, blocks: u64) {
    assert!(stats.log_bytes <= 2 * stats.live_bytes + (16 << 20), "{stats:?}");
    // Of segments smaller than what the page cache keeps in one piece the blocks do not go back alone.
    if cfg!(not(tastypod_small_segments)) {
        assert!(blocks <= 2 * stats.live_bytes + (40 << 20), "{blocks} bytes: {stats:?}");
    }
}

#[test]
fn cleaning_keeps_up_whatever_is_written() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = manual(&path);
    pod.extend((0..20_000).map(|key| (key, "v".repeat(2000)))).unwrap();
    for key in (0..20_000).filter(|key| key % 100 != 0) {
        pod.remove(key).unwrap();
    }
    pod.sync().unwrap();
    pod.set("counter", 0).unwrap();
    for _ in 0..1_200_000 {
        pod.at("counter").add(1).unwrap();
    }
    let stats = pod.stats().unwrap();
    let blocks = fs::metadata(path.join(".live/log")).unwrap().blocks() * 512;
    require_bounded(&stats, blocks);
}

#[test]
fn random_writes_and_then_a_counter_stay_within_bounds() {
    let mut random = crate::chance::Random(crate::chance::seed());
    for _ in 0..crate::chance::asked("TASTYPOD_MODEL_RUNS", 2) {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let pod = manual(&path);
        for _ in 0..random.below(6) + 2 {
            let (keys, length) = (random.below(3000) + 1, random.below(8000));
            match random.below(3) {
                0 => pod.extend((0..keys).map(|key| (key, "v".repeat(length as usize)))).unwrap(),
                1 => (0..keys).filter(|_| random.is()).collect::<Vec<_>>().into_iter().for_each(|key| drop(pod.remove(key).unwrap())),
                _ => (0..keys).for_each(|_| pod.set(random.below(keys), "w".repeat(random.below(length + 1) as usize)).unwrap()),
            }
        }
        pod.sync().unwrap();
        pod.set("counter", 0).unwrap();
        for _ in 0..300_000 {
            pod.at("counter").add(1).unwrap();
        }
        let stats = pod.stats().unwrap();
        let blocks = fs::metadata(path.join(".live/log")).unwrap().blocks() * 512;
        require_bounded(&stats, blocks);
    }
}

// Case 6.

#[test]
fn a_view_that_is_kept_keeps_its_record_and_not_the_world() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let mut child = Child::start("views", &[text(&path)]);
    let said = child.lines();
    assert!(child.wait().success(), "{said:?}");
}

fn views(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let pod = manual(path);
    pod.set("long", "x".repeat(20_000)).unwrap();
    let view = pod.view("long").unwrap().unwrap();
    for round in 0..500 {
        pod.extend((0..100).map(|key| (key, json!([round, "y".repeat(1000)])))).unwrap();
        pod.set("long", "z".repeat(20_000 + round)).unwrap();
    }
    let blocks = fs::metadata(path.join(".live/log")).unwrap().blocks() * 512;
    say(format!("{blocks} bytes"));
    assert_eq!(view.as_str().unwrap(), "x".repeat(20_000));
    assert!(blocks < 40 << 20, "{blocks}");
    let files = fs::read_dir("/proc/self/fd").unwrap().count();
    let kept: Vec<_> = (0..3000)
        .map(|number| {
            pod.set("long", format!("{number}{}", "x".repeat(17_000))).unwrap();
            pod.view("long").unwrap().unwrap()
        })
        .collect();
    let after = fs::read_dir("/proc/self/fd").unwrap().count();
    say(format!("{files} files, then {after}"));
    assert!(after <= files + 2);
    assert!(kept.iter().enumerate().all(|(number, view)| view.as_str().unwrap().starts_with(&format!("{number}x"))));
}

// Case 7.

#[test]
fn a_daemon_that_closes_all_descriptors_is_told_and_may_open_again() {
    for first in ["fork", "no fork"] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let mut child = Child::start("daemon", &[text(&path), first, text(&dir.path().join("own"))]);
        let said = child.lines();
        assert!(child.wait().success(), "{first}: {said:?}");
        assert_eq!(Pod::open(&path).unwrap().get("again").unwrap(), Some(json!(1)), "{first}: {said:?}");
    }
}

fn daemon(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let pod = Pod::open(path).unwrap();
    pod.set("before", 1).unwrap();
    let work = || {
        std::env::set_current_dir("/").unwrap();
        (3..256).for_each(close);
        if let Err(error) = pod.set("after", 1) {
            assert!(error.to_string().contains("descriptor"), "{error}");
        }
        let again = Pod::open(path).unwrap();
        again.set("again", 1).unwrap();
        assert!(again.verify().unwrap().is_clean());
    };
    if arguments[1] == "fork" {
        crate::forked::fork(|_| work()).succeed("the daemon");
    } else {
        work();
        std::mem::forget(pod);
    }
}

#[test]
fn what_the_program_opened_under_a_number_of_ours_is_not_touched() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let own = dir.path().join("own");
    fs::create_dir(&own).unwrap();
    let mut child = Child::start("closes-all", &[text(&path), text(&own)]);
    let said = child.lines();
    assert!(child.wait().success(), "{said:?}");
    for entry in fs::read_dir(&own).unwrap() {
        assert_eq!(fs::read(entry.unwrap().path()).unwrap(), b"twelve bytes");
    }
}

fn closes_all(arguments: &[String]) {
    for durability in [Durability::Process, Durability::Disk] {
        let pod = Options::new().durability(durability).open(&arguments[0]).unwrap();
        pod.set("before", 1).unwrap();
        (3..256).for_each(close);
        let own: Vec<fs::File> = (0..40)
            .map(|number| {
                let path = Path::new(&arguments[1]).join(format!("{durability:?}-{number}"));
                fs::write(&path, "twelve bytes").unwrap();
                fs::File::options().read(true).write(true).open(path).unwrap()
            })
            .collect();
        let mut failed = None;
        for key in 0..20_000 {
            if let Err(error) = pod.set(key, "x".repeat(3000)) {
                failed = Some(error);
                break;
            }
        }
        say(format!("{failed:?}"));
        assert!(failed.is_some(), "the log cannot grow");
        assert!(pod.snapshot().is_err() || pod.sync().is_err());
        drop(pod);
        // They are all the program's still.
        assert!(own.iter().all(|file| file.metadata().unwrap().len() == 12 && file.as_raw_fd() > 2));
    }
}

// Case 8.

#[test]
fn waiting_for_the_lock_does_not_look_at_the_clock_on_the_wall() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        eprintln!("NOT RUN: strace is not installed");
        return;
    }
    let dir = directory();
    let path = dir.path().join("a.pod");
    let mut holder = Child::start("holds-the-lock", &[text(&path)]);
    assert_eq!(holder.line().as_deref(), Some("held"));
    let waits = crate::support::command("waits-for-the-lock", &[text(&path)]);
    let trace = dir.path().join("trace");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-e", "trace=futex", "-o"]).arg(&trace).arg(waits.get_program()).args(waits.get_args());
    strace.envs(waits.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = Child::of(strace);
    assert_eq!(child.lines(), ["timed out"]);
    assert!(child.wait().success());
    let trace = fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("FUTEX_WAIT"), "it sleeps");
    assert!(!trace.contains("CLOCK_REALTIME"), "{}", trace.lines().find(|line| line.contains("CLOCK_REALTIME")).unwrap());
}

fn holds_the_lock(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    let guard = pod.lock().unwrap();
    say("held");
    hear();
    drop(guard);
}

fn waits_for_the_lock(arguments: &[String]) {
    let pod = Options::new().lock_timeout(Duration::from_millis(300)).open(&arguments[0]).unwrap();
    match pod.set("k", 1).map_err(|error| error.kind()) {
        Err(ErrorKind::LockTimeout { .. }) => say("timed out"),
        other => say(format!("{other:?}")),
    }
}

// Case 9.

#[test]
fn a_growth_that_fails_keeps_nothing() {
    for kind in ["tmpfs", "ext4"] {
        let dir = directory();
        on_disk_of(kind, dir.path(), "full-disk");
    }
}

fn full_disk(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let pod = manual(path);
    pod.set(0, 1).unwrap();
    let free = || nix::sys::statvfs::statvfs(path).map(|stats| stats.blocks_available() * stats.fragment_size()).unwrap();
    let before = free();
    assert_eq!(pod.set("huge", "x".repeat(64 << 20)).unwrap_err().kind(), ErrorKind::Full);
    let after = free();
    assert!(after + (64 << 10) >= before, "{before} bytes were free, {after} are");
    pod.set("small", "x".repeat(1000)).unwrap();
}

#[test]
#[cfg_attr(tastypod_small_segments, ignore = "what is kept is too little for transactions of a thousand marks")]
fn removing_always_works_on_a_full_disk_and_gives_room() {
    for kind in ["tmpfs", "tmpfs of 9 MB", "tmpfs of 30 MB", "ext4"] {
        let dir = directory();
        on_disk_of(kind, dir.path(), "remove-on-full-disk");
    }
}

fn remove_on_full_disk(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    for (size, turns) in [(3000, 6), (300, 2), (30, 1)] {
        remove_values_on_full_disk(path, size, turns);
        fs::remove_dir_all(path).unwrap();
    }
}

/// Fills the disk with values of one size, and empties the store in every way, again and again.
fn remove_values_on_full_disk(path: &Path, size: usize, turns: usize) {
    let mut pod = manual(path);
    let fill = |pod: &Pod, turn: usize| {
        let value = |n: usize| format!("{turn} {n} {}", "x".repeat(size));
        let mut count = 0;
        let error = loop {
            match pod.set(count, value(count)) {
                Ok(()) => count += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Full, "{error}");
        assert_eq!(pod.len(), count);
        count
    };
    let mut most = 0;
    for turn in 0..turns {
        let count = fill(&pod, turn);
        most = most.max(count);
        assert!(count * 2 > most, "turn {turn}: {count} values of {size} bytes are all that fits where {most} did");
        if turn % 3 == 1 {
            drop(pod);
            pod = manual(path);
        }
        let what = format!("turn {turn}: {count} values of {size} bytes");
        match turn % 6 {
            // A clear and one transaction need a mark of each key, and get it in steps or not at all.
            3 => pod.clear().unwrap_or_else(|error| panic!("{what}, clear: {error}")),
            4 => {
                let in_one = pod.transaction(|txn| (0..count / 8).try_for_each(|n| txn.remove(n).map(drop)));
                in_one.unwrap_or_else(|error| panic!("{what}, many at once: {error}"));
                (count / 8..count).for_each(|n| drop(pod.remove(n).unwrap()));
            }
            _ => {
                let step = if turn % 2 == 0 { 1 } else { 7 };
                for start in 0..step {
                    for n in (start..count).step_by(step) {
                        pod.remove(n).unwrap_or_else(|error| panic!("{what}, remove {n}: {error}"));
                        // There is room again when half of them are gone.
                        if start == step / 2 && n / step == count / 2 / step {
                            pod.set("again", "x".repeat(size)).unwrap_or_else(|error| panic!("{what}, set after {n}: {error}"));
                            pod.remove("again").unwrap();
                        }
                    }
                }
            }
        }
        assert!(pod.is_empty());
        let report = pod.verify().unwrap();
        assert!(report.is_clean(), "{what}: {report}");
    }
}

#[test]
fn kills_on_a_full_disk_leave_a_store_from_which_can_be_removed() {
    for kind in ["tmpfs", "tmpfs of 9 MB", "ext4"] {
        let dir = directory();
        on_disk_of(kind, dir.path(), "kill-on-full-disk");
    }
}

fn kill_on_full_disk(arguments: &[String]) {
    let path = &arguments[0];
    let mut random = Random(seed() ^ 9);
    for round in 0..asked("TASTYPOD_KILL_ROUNDS", 12) {
        let mut child = Child::start("churn-on-full-disk", &[path, &(random.below(1 << 30)).to_string()]);
        assert_eq!(child.line().as_deref(), Some("full"));
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        child.kill();
        let pod = manual(Path::new(path));
        let report = pod.verify().unwrap();
        assert!(report.is_clean(), "round {round}: {report}");
        let keys: Vec<Key> = pod.keys().map(Result::unwrap).collect();
        for key in &keys {
            let value: String = pod.get_as(key).unwrap().unwrap();
            assert!(value.starts_with(&format!("{key} ")), "round {round}: {key}: {:?}", value.get(..20));
        }
        for key in keys.iter().take(50) {
            pod.remove(key).unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
    }
}

/// Fills the disk, and goes on with removing and setting for ever.
fn churn_on_full_disk(arguments: &[String]) {
    let pod = manual(Path::new(&arguments[0]));
    let mut random = Random(arguments[1].parse().unwrap());
    // More than any of the disks holds.
    const KEYS: u64 = 6000;
    let mut is_full = false;
    loop {
        let key = random.below(KEYS);
        let size = random.below(8000) as usize;
        match pod.set(key, format!("{key} {}", "x".repeat(size))) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                if !std::mem::replace(&mut is_full, true) {
                    say("full");
                }
                for _ in 0..random.below(40) {
                    pod.remove(random.below(KEYS)).unwrap();
                }
            }
        }
    }
}

#[test]
#[cfg_attr(tastypod_small_segments, ignore = "the log leaves so small a segment at once")]
fn what_is_written_beside_holes_of_a_copied_log_ends_no_process() {
    on_disk_of("ext4", directory().path(), "write-beside-holes");
}

fn fill_a_little(arguments: &[String]) {
    let pod = manual(Path::new(&arguments[0]));
    (0..300).for_each(|n| pod.set(n, "x".repeat(3000)).unwrap());
    say("filled");
    hear();
}

/// A copy whose zeros became a hole, on a disk that lacks the blocks for it: a store through the mapping would ask for all of them.
fn write_beside_holes(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let disk = path.parent().unwrap();
    let mut child = Child::start("fill-a-little", &[&arguments[0]]);
    assert_eq!(child.line().as_deref(), Some("filled"));
    child.kill();
    let log = path.join(".live/log");
    let end = fs::read(&log).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as i64 + 1;
    for entry in
        fs::read_dir(path.join(".live")).unwrap().map(|entry| entry.unwrap().path()).filter(|entry| entry.is_file() && *entry != log)
    {
        fs::remove_file(entry).unwrap();
    }
    let file = fs::File::options().write(true).open(&log).unwrap();
    let (start, length) = ((end + 4095) / 4096 * 4096, file.metadata().unwrap().len() as i64);
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, flags, start, length - start).unwrap();
    file.sync_all().unwrap();
    // Not in memory any more: it comes back in pieces as large as they may be.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    let left = || nix::sys::statvfs::statvfs(disk).map(|disk| disk.blocks_available() * disk.fragment_size()).unwrap();
    let fill_up_to = |name: &str, rest: u64| {
        let filler = fs::File::create(disk.join(name)).unwrap();
        filler.write_all_at(&vec![7; left().saturating_sub(rest) as usize], 0).unwrap();
        filler.sync_all().unwrap();
    };
    fill_up_to("filler", 1 << 20);
    let pod = manual(path);
    fill_up_to("more", 200 << 10);
    let (mut written, mut refused) = (0, 0);
    for turn in 0..400u64 {
        let outcome = if turn % 5 == 4 { pod.remove(turn / 5).map(drop) } else { pod.set(turn % 50 + 100, turn) };
        match outcome {
            Ok(()) => written += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "turn {turn}: {error}");
                refused += 1;
            }
        }
    }
    say(format!("{written} written, {refused} refused"));
    // All that were removals, at least.
    assert!(written >= 80, "{written} written, {refused} refused");
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(pod.get_as::<String>(299).unwrap().unwrap().len(), 3000);
}

// Case 10.

#[test]
fn writes_into_a_directory_that_was_removed_are_refused_soon() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = manual(&path);
    pod.set("k", 1).unwrap();
    fs::remove_dir_all(&path).unwrap();
    for outcome in [pod.verify().map(drop), pod.snapshot().map(drop), pod.sync()] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::StoreRemoved);
    }
    let mut refused = None;
    for number in 0..100_000 {
        if let Err(error) = pod.at("k").add(1) {
            refused = Some((number, error));
            break;
        }
    }
    let (number, error) = refused.expect("it is noticed within a segment of writes");
    assert_eq!(error.kind(), ErrorKind::StoreRemoved, "{number}: {error}");
    assert_eq!(pod.close().unwrap_err().kind(), ErrorKind::StoreRemoved);
}

// Case 11.

#[test]
fn a_loop_over_what_is_there_now_sees_each_key_once_though_it_is_removed_and_set_again() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.extend((0..10).map(|key| (key, 0))).unwrap();
    let mut seen: HashMap<String, u32> = HashMap::new();
    for (turn, entry) in pod.iter_live().enumerate() {
        let (key, _) = entry.unwrap();
        *seen.entry(key.to_string()).or_default() += 1;
        pod.remove(&key).unwrap();
        pod.set(&key, turn).unwrap();
        if turn < 5 {
            pod.set(format!("new {turn}"), 1).unwrap();
        }
        assert!(turn < 100, "it never ends");
    }
    assert_eq!(seen.len(), 15);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

// Case 12.

#[test]
fn a_missing_or_foreign_part_is_never_fewer_keys_in_silence() {
    for end in ["close", "kill"] {
        for name in ["log", "control", "index", "order", "segments", "locks", "stamps", "intent", "tmp"] {
            for harm in ["missing", "empty", "foreign"] {
                let dir = directory();
                let (path, other) = (dir.path().join("a.pod"), dir.path().join("b.pod"));
                for (store, keys) in [(&path, 500), (&other, 3)] {
                    let mut child = Child::start("leaves", &[text(store), &keys.to_string(), end]);
                    child.wait();
                }
                let (file, foreign) = (path.join(".live").join(name), other.join(".live").join(name));
                if !file.exists() || !file.is_file() {
                    continue;
                }
                match harm {
                    "missing" => fs::remove_file(&file).unwrap(),
                    "empty" => fs::write(&file, "").unwrap(),
                    _ if foreign.exists() => drop(fs::copy(&foreign, &file).unwrap()),
                    _ => continue,
                }
                let context = format!("{name} {harm} after a {end}");
                for read_only in [true, false] {
                    match Options::new().read_only(read_only).open(&path) {
                        Ok(pod) => {
                            assert_eq!(pod.len(), 500, "{context}");
                            assert_eq!(pod.get(499).unwrap(), Some(json!("later")), "{context}");
                            assert!(pod.verify().unwrap().is_clean(), "{context}");
                        }
                        Err(error) => {
                            assert!(matches!(error.kind(), ErrorKind::Integrity { .. } | ErrorKind::Conflict), "{context}: {error}");
                            assert!(error.to_string().contains(name), "{context}: {error}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn files_that_were_replaced_under_a_process_are_told_as_that() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = manual(&path);
    pod.set("k", 1).unwrap();
    let log = path.join(".live/log");
    fs::copy(&log, path.join("copy")).unwrap();
    fs::rename(path.join("copy"), &log).unwrap();
    let opens = |read_only: &str| {
        let mut child = Child::start("open-replaced", &[text(&path), read_only]);
        let said = child.lines().join("");
        assert!(child.wait().success());
        said
    };
    for read_only in ["true", "false"] {
        let said = opens(read_only);
        assert!(said.starts_with("StoreRemoved") && said.contains("replaced") && said.contains(text(&path)), "{said}");
    }
    drop(pod);
    assert_eq!(opens("false"), "opened");
}

fn open_replaced(arguments: &[String]) {
    match Options::new().read_only(arguments[1] == "true").open(&arguments[0]) {
        Ok(pod) => {
            assert_eq!(pod.get("k").unwrap(), Some(json!(1)));
            say("opened");
        }
        Err(error) => say(format!("{:?} {error}", error.kind())),
    }
}

/// Leaves a store whose files beside the log are behind it, unless it is closed in order.
fn leaves(arguments: &[String]) {
    let pod = manual(Path::new(&arguments[0]));
    let keys: i64 = arguments[1].parse().unwrap();
    pod.extend((0..keys / 2).map(|key| (key, "first"))).unwrap();
    pod.sync().unwrap();
    pod.extend((keys / 2..keys).map(|key| (key, "later"))).unwrap();
    if arguments[2] == "kill" {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    pod.close().unwrap();
}

// The small ones.

#[test]
fn a_backoff_that_makes_no_sense_is_refused_by_name_and_leaves_no_store() {
    let dir = directory();
    let path = dir.path().join("a.tracker");
    for factor in [f64::INFINITY, f64::NAN, -1.0, -0.5] {
        let options = Options::new().backoff(Duration::from_secs(1), factor, Duration::from_secs(60));
        let error = options.open_tracker(&path).unwrap_err();
        assert!(error.to_string().contains("backoff"), "{error}");
        assert!(!path.exists());
    }
}

#[test]
fn a_limit_on_file_sizes_is_a_full_disk_and_no_death() {
    let dir = directory();
    let mut child = Child::start("small-files", &[text(&dir.path().join("a.pod"))]);
    let said = child.lines();
    assert!(child.wait().success(), "{said:?}");
}

fn small_files(arguments: &[String]) {
    let pod = manual(Path::new(&arguments[0]));
    pod.set("before", 1).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE, 6 << 20, 6 << 20).unwrap();
    let error = (0..20_000).find_map(|key| pod.set(key, "x".repeat(1000)).err()).expect("it cannot grow so far");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(pod.get("before").unwrap(), Some(json!(1)));
}
