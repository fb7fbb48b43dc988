//! Files of a store that are something else, or more than they should be; and a disk that is full in the middle of a checkpoint.

use crate::bad_input::{on_disk_of, use_up};
use crate::support::{Child, Role, directory, say, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tastypod::{Conversion, ErrorKind, KeyDialect, Options, Pod, SyncMode};

pub const CHILDREN: &[Role] = &[("files-open", open), ("files-on-full-disk", on_full_disk)];

/// Copies manifest and shards, and nothing else.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Opens a store in a process of its own: what hangs there is found.
fn open(arguments: &[String]) {
    for read_only in [false, true] {
        match Options::new().read_only(read_only).open(&arguments[0]) {
            Ok(pod) => say(format!("{} keys", pod.len())),
            Err(error) => say(format!("{:?}: {error}", error.kind())),
        }
    }
}

fn opened(path: &Path) -> Vec<String> {
    let mut child = Child::start("files-open", &[text(path)]);
    assert!(child.wait().success());
    child.lines()
}

/// Both ways of opening name the file and say that.
#[track_caller]
fn refused(path: &Path, file: &Path, words: &[&str]) {
    let said = opened(path);
    assert_eq!(said.len(), 2, "{said:?}");
    for said in said {
        assert!(said.starts_with("Integrity") && said.contains(text(file)), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

fn fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

fn socket(path: &Path) {
    // A socket's path is short, so it is made elsewhere.
    let dir = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap());
    assert!(std::process::Command::new("mv").arg(dir.path().join("socket")).arg(path).status().unwrap().success());
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let dir = directory();
    let store = dir.path().join("store");
    let pod = Options::new().file_size(2).open(&store).unwrap();
    pod.extend((0..4).map(|n| (n, n))).unwrap();
    pod.close().unwrap();
    type Maker = fn(&Path);
    let makers: [(&str, Maker); 4] = [
        ("pipe", fifo),
        ("socket", socket),
        ("device", |path| symlink("/dev/zero", path).unwrap()),
        ("directory", |path| fs::create_dir(path).unwrap()),
    ];
    for (kind, make) in makers {
        for name in ["0.json", "1.json", "2.json", "pod.json"] {
            for has_manifest in [true, false] {
                let path = dir.path().join(format!("{kind}-{name}-{has_manifest}"));
                copy(&store, &path);
                let manifest = path.join("pod.json");
                if !has_manifest {
                    fs::remove_file(&manifest).unwrap();
                }
                let file = path.join(name);
                if file.exists() {
                    fs::remove_file(&file).unwrap();
                }
                make(&file);
                refused(&path, &file, &["not a file"]);
            }
        }
    }
    // Under a running process.
    let pod = Pod::open(&store).unwrap();
    pod.set(0, "changed").unwrap();
    fs::remove_file(store.join("0.json")).unwrap();
    fifo(&store.join("0.json"));
    let error = pod.sync().unwrap_err();
    assert!(error.to_string().contains(text(&store.join("0.json"))), "{error}");
    fs::remove_file(store.join("0.json")).unwrap();
    assert!(matches!(pod.sync().unwrap_err().kind(), ErrorKind::ChangedOnDisk { .. }), "it is missing");
    pod.sync_overwrite().unwrap();
    assert_eq!(fs::read_to_string(store.join("0.json")).unwrap(), "0\t\"changed\"\n1\t1\n");
}

#[test]
fn a_link_to_a_file_is_read_and_then_replaced() {
    for target in ["../elsewhere.json", "absolute"] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let pod = Pod::open(&path).unwrap();
        pod.set("a", 1).unwrap();
        pod.close().unwrap();
        let (shard, elsewhere) = (path.join("0.json"), dir.path().join("elsewhere.json"));
        fs::rename(&shard, &elsewhere).unwrap();
        symlink(if target == "absolute" { elsewhere.clone() } else { PathBuf::from(target) }, &shard).unwrap();
        let pod = Pod::open(&path).unwrap();
        pod.set("b", 2).unwrap();
        pod.sync().unwrap();
        assert!(fs::symlink_metadata(&shard).unwrap().is_file());
        assert_eq!(fs::read_to_string(&shard).unwrap(), "\"a\"\t1\n\"b\"\t2\n");
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "\"a\"\t1\n", "what it led to is nobody's business");
    }
}

#[test]
fn a_shard_that_may_not_be_read_is_named() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("a.pod");
    let pod = Options::new().file_mode(0o644).open(&path).unwrap();
    pod.set("k", 1).unwrap();
    pod.close().unwrap();
    fs::set_permissions(path.join("0.json"), fs::Permissions::from_mode(0o0)).unwrap();
    let mut child = Child::start("open-as-nobody", &[text(&path), "read"]);
    let said = child.lines().join("\n");
    assert!(said.starts_with("Io: ") && said.contains("no permission") && said.contains("0.json"), "{said}");
}

#[test]
fn compressed_files_are_bounded_and_broken_ones_named() {
    let dir = directory();
    let store = dir.path().join("store");
    let pod = Options::new().gzipped(true).open(&store).unwrap();
    pod.set("long", "x".repeat(100 << 20)).unwrap();
    pod.close().unwrap();
    let whole = fs::read(store.join("0.json.gz")).unwrap();
    assert!(whole.len() < 1 << 20);
    // The manifest knows how long it is.
    let known = dir.path().join("known");
    copy(&store, &known);
    assert_eq!(opened(&known), ["1 keys", "1 keys"]);
    // Nobody says that it should be so long.
    let bomb = dir.path().join("bomb");
    copy(&store, &bomb);
    fs::remove_file(bomb.join("pod.json")).unwrap();
    refused(&bomb, &bomb.join("0.json.gz"), &["expands to far more"]);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x55;
    for (name, bytes) in [("cut", &whole[..whole.len() / 2]), ("flipped", &flipped), ("text", b"\"a\"\t1\n"), ("empty", b"")] {
        for has_manifest in [true, false] {
            let path = dir.path().join(format!("{name}-{has_manifest}"));
            copy(&store, &path);
            fs::write(path.join("0.json.gz"), bytes).unwrap();
            if !has_manifest {
                fs::remove_file(path.join("pod.json")).unwrap();
            }
            refused(&path, &path.join("0.json.gz"), &[if name == "flipped" && !has_manifest { "0.json.gz" } else { "broken gzip" }]);
        }
    }
}

#[test]
fn the_longest_keys_and_what_is_all_escapes_come_back() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Options::new().file_size(2).open(&path).unwrap();
    let all: String = (0..0x300).filter_map(char::from_u32).chain("\u{2028}\u{ffff}\u{10ffff}🦀".chars()).collect();
    let entries: Vec<(String, Value)> = vec![
        ("\u{1}".repeat(65_000), json!("\u{2}".repeat(1 << 20))),
        ("\\\"\t\n".repeat(16_000), json!({ all.clone(): [all.clone(), "\\".repeat(1 << 20)] })),
        (all.clone(), json!([[], {}, "", all])),
        ("é".repeat(32_000), json!("é\u{7f}\u{80}".repeat(1 << 18))),
    ];
    pod.extend(entries.iter().map(|(key, value)| (key, value))).unwrap();
    for (gzipped, key_dialect) in
        [(false, KeyDialect::Json), (true, KeyDialect::Json), (false, KeyDialect::Tastypy), (true, KeyDialect::Tastypy)]
    {
        pod.convert(Conversion::new().gzipped(gzipped).key_dialect(key_dialect)).unwrap();
        let copied = dir.path().join(format!("copy-{gzipped}-{key_dialect:?}"));
        copy(&path, &copied);
        let read = Pod::open(&copied).unwrap();
        let back: Vec<(String, Value)> =
            read.iter().map(|entry| entry.map(|(key, value)| (key.as_str().unwrap().to_owned(), value)).unwrap()).collect();
        assert!(back == entries, "{gzipped} {key_dialect:?}");
    }
}

#[test]
fn a_tracker_comes_from_its_files_alone() {
    let dir = directory();
    let path = dir.path().join("a.tracker");
    let tracker = Options::new().max_tries(2).file_size(10).open_tracker(&path).unwrap();
    tracker.add_many(0..50).unwrap();
    for key in 0..10 {
        tracker.mark_done(key).unwrap();
    }
    tracker.abort(10).unwrap();
    tracker.increment_tries(11).unwrap();
    let claim = tracker.claim().unwrap().unwrap();
    let claimed = claim.key().clone();
    tracker.sync().unwrap();
    let copied = dir.path().join("copy.tracker");
    copy(&path, &copied);
    claim.done().unwrap();
    for read_only in [true, false] {
        let read = Options::new().read_only(read_only).open_tracker(&copied).unwrap();
        assert_eq!((read.len(), read.num_done(), read.num_aborted(), read.num_tried(), read.max_tries()), (50, 10, 1, 2, 2));
        assert_eq!(read.todo_keys().count(), 39);
        assert!(read.verify().unwrap().is_clean());
        if !read_only {
            // The claim was of another store.
            assert!(read.work().map(|claim| claim.unwrap()).any(|claim| claim.key() == &claimed && claim.done().is_ok()));
        }
    }
}

/// Changes more than the disk has room for in the files.
fn on_full_disk(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let pod = Options::new().file_size(40).sync_mode(SyncMode::Manual).open(path).unwrap();
    let value = |turn: u32| format!("{turn}{}", "x".repeat(600));
    pod.extend((0..100).map(|n| (n, value(0)))).unwrap();
    pod.sync().unwrap();
    let files = || -> Vec<Vec<u8>> { (0..3).map(|n| fs::read(path.join(format!("{n}.json"))).unwrap()).collect() };
    let before = files();
    pod.extend((0..100).map(|n| (n, value(1)))).unwrap();
    let give_back = use_up(path.parent().unwrap(), 150_000);
    let error = pod.sync().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.to_string().contains(text(path)) && error.to_string().contains("free some space"), "{error}");
    assert_eq!(pod.sync().unwrap_err().kind(), ErrorKind::Full);
    assert!(files() == before, "old files stay");
    assert_eq!((pod.dirty_len(), pod.get(7).unwrap()), (100, Some(json!(value(1)))));
    give_back();
    pod.sync().unwrap();
    assert_eq!(pod.dirty_len(), 0);
    assert!(files().iter().all(|file| String::from_utf8_lossy(file).lines().all(|line| line.contains("\t\"1x"))));
    drop(pod);
    assert_eq!(Pod::open(path).unwrap().get(99).unwrap(), Some(json!(value(1))));
}

#[test]
fn a_full_disk_in_the_middle_of_a_checkpoint_leaves_the_old_files() {
    for kind in ["tmpfs", "ext4"] {
        let dir = directory();
        on_disk_of(kind, dir.path(), "files-on-full-disk");
    }
}
