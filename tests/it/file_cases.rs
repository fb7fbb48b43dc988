//! Cases that users of stores in JSON files have hit: each stands for a kind.

use crate::support::{Role, directory, keep_only_log};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use tastypod::{Conversion, Error, ErrorKind, Key, KeyDialect, Options, Pod, SyncMode, shard};

pub const CHILDREN: &[Role] = &[];

/// A directory as tastypy leaves it: shards and nothing else.
fn of_tastypy(path: &Path, shards: &[&str]) {
    fs::create_dir_all(path).unwrap();
    for (number, text) in shards.iter().enumerate() {
        fs::write(path.join(format!("{number}.json")), text).unwrap();
    }
}

fn manual() -> Options {
    Options::new().sync_mode(SyncMode::Manual)
}

fn entries(pod: &Pod) -> Vec<(Key, String)> {
    pod.keys().map(|key| key.unwrap()).map(|key| (key.clone(), pod.raw_json(&key).unwrap().unwrap())).collect()
}

/// All files beside `.live`, with their bytes.
fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != ".live")
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Opening is an integrity error at that place, in both ways of opening, and changes no file.
#[track_caller]
fn refused(path: &Path, name: &str, line: u64) -> Error {
    let before = files(path);
    let mut last = None;
    for read_only in [true, false] {
        let error = Options::new().read_only(read_only).open(path).unwrap_err();
        match error.kind() {
            ErrorKind::Integrity { path: named, line: at, .. } => {
                assert!(named.ends_with(name), "{error}");
                assert_eq!(at, line, "{error}");
            }
            other => panic!("{other:?}: {error}"),
        }
        assert!(error.to_string().contains(name), "{error}");
        last = Some(error);
    }
    assert_eq!(files(path), before, "nothing is changed");
    last.unwrap()
}

#[test]
fn a_file_without_its_last_newline_is_read_and_written_well_again() {
    for end in ["", "\n", "\r\n", "\n\n", "\r\n\r\n"] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        of_tastypy(&path, &[&format!("\"a\"\t1\n\"b\"\t2{end}")]);
        let pod = Pod::open(&path).unwrap();
        assert_eq!(entries(&pod), [("a".into(), "1".into()), ("b".into(), "2".into())], "{end:?}");
        pod.set("c", 3).unwrap();
        pod.close().unwrap();
        assert_eq!(fs::read_to_string(path.join("0.json")).unwrap(), "\"a\"\t1\n\"b\"\t2\n\"c\"\t3\n", "{end:?}");
    }
}

#[test]
fn a_line_that_was_cut_is_named_and_nothing_behind_it_is_lost() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    of_tastypy(&path, &["\"a\"\t1\n\"b\"\t{\"n\":"]);
    refused(&path, "0.json", 2);
    // A torn line with another one glued to it.
    of_tastypy(&path, &["\"a\"\t1\n\"b\"\t{\"n\":\"c\"\t3\n"]);
    refused(&path, "0.json", 2);
    of_tastypy(&path, &["\"a\"\t1\n\"b\"\n\"c\"\t3\n"]);
    refused(&path, "0.json", 2);
    of_tastypy(&path, &["\"a\"\t1\n\n\"c\"\t3\n"]);
    refused(&path, "0.json", 2);
}

#[test]
fn an_empty_shard_or_manifest_is_named_with_what_to_do() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    pod.set("a", 1).unwrap();
    pod.close().unwrap();
    let manifest = fs::read(path.join("pod.json")).unwrap();
    for bytes in [&b""[..], &manifest[..manifest.len() / 2], b"{}", b"null", b"[1]"] {
        fs::write(path.join("pod.json"), bytes).unwrap();
        let before = files(&path);
        let error = Pod::open(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Integrity { .. }), "{bytes:?}: {error}");
        assert!(error.to_string().contains("pod.json"), "{error}");
        assert_eq!(files(&path), before);
    }
    fs::write(path.join("pod.json"), &manifest).unwrap();
    fs::write(path.join("0.json"), "").unwrap();
    let error = refused(&path, "0.json", 1);
    assert!(error.to_string().len() > 80, "it says what to do: {error}");
}

#[test]
fn of_two_lines_with_the_same_key_the_later_is_named() {
    let dir = directory();
    for (shards, name, line) in [
        (&["\"a\"\t1\n\"b\"\t2\n\"a\"\t3\n"][..], "0.json", 3),
        (&["\"a\"\t1\n\"b\"\t2\n", "\"c\"\t1\n\"a\"\t2\n"], "1.json", 2),
        (&["[1,2]\t1\n[1,[2]]\t2\n[1,2]\t1\n"], "0.json", 3),
        (&["1\t1\n\"1\"\t2\n[1]\t1\n1\t1\n"], "0.json", 4),
    ] {
        let path = dir.path().join(format!("{}-{line}.pod", shards.len()));
        of_tastypy(&path, shards);
        refused(&path, name, line);
        fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn of_a_member_that_stands_twice_the_last_counts() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    of_tastypy(&path, &["\"a\"\t{\"z\":1,\"b\":2,\"z\":3}\n"]);
    assert_eq!(Pod::open(&path).unwrap().get("a").unwrap(), Some(json!({"z": 3, "b": 2})));
}

fn gz(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_files_of_several_members_are_read_whole() {
    let (one, two) = (gz("\"a\"\t1\n"), gz("\"b\"\t2\n"));
    for bytes in [
        [&one[..], &two].concat(),
        [&one[..], &[0; 700], &two].concat(),
        [&one[..], &two, &[0; 3]].concat(),
        [&gz(""), &one[..], &gz(""), &two].concat(),
    ] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("0.json.gz"), &bytes).unwrap();
        let pod = Pod::open(&path).unwrap();
        assert_eq!(entries(&pod), [("a".into(), "1".into()), ("b".into(), "2".into())]);
        drop(pod);
        assert_eq!(shard::read(path.join("0.json.gz")).unwrap().count(), 2);
    }
}

#[test]
fn broken_gzip_is_named() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    fs::create_dir(&path).unwrap();
    let whole = gz("\"a\"\t1\n\"b\"\t\"some text that is long enough\"\n");
    let mut flipped = whole.clone();
    flipped[whole.len() - 6] ^= 1;
    for bytes in
        [&whole[..whole.len() - 1], &whole[..whole.len() / 2], &flipped, &b"\"a\"\t1\n"[..], b"", &[&whole[..], &[0, 0, 7]].concat()]
    {
        fs::write(path.join("0.json.gz"), bytes).unwrap();
        let before = files(&path);
        let error = Pod::open(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Integrity { path, .. } if path.ends_with("0.json.gz")), "{bytes:?}: {error}");
        assert_eq!(files(&path), before);
    }
    // A shard that nobody compressed in a store of compressed ones.
    fs::write(path.join("0.json.gz"), &whole).unwrap();
    let pod = Options::new().file_size(2).open(&path).unwrap();
    pod.set("c", 3).unwrap();
    pod.close().unwrap();
    fs::remove_file(path.join("1.json.gz")).unwrap();
    fs::write(path.join("1.json"), "\"c\"\t3\n").unwrap();
    let error = Pod::open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Integrity { path, .. } if path.to_str().unwrap().contains("1.json")), "{error}");
}

#[test]
fn nothing_that_happens_to_the_log_makes_a_store_older_than_its_files() {
    for flip in [0, 8, 64, 4096, 4100, 4200, 5000, 4 << 20] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let pod = Pod::open(&path).unwrap();
        for turn in 0..50 {
            pod.extend((0..40).map(|key| (key, turn))).unwrap();
        }
        pod.sync().unwrap();
        std::mem::forget(pod.set("after", 1));
        drop(pod);
        fs::remove_file(path.join(".live/control")).unwrap();
        let log = path.join(".live/log");
        let mut bytes = fs::read(&log).unwrap();
        let length = bytes.len();
        bytes[flip % length] ^= 1;
        fs::write(&log, bytes).unwrap();
        match Pod::open(&path) {
            Ok(pod) => assert!((0..40).all(|key| pod.get(key).unwrap() == Some(json!(49))), "flipped at {flip}"),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Integrity { .. } | ErrorKind::VersionMismatch), "{flip}: {error}"),
        }
    }
}

#[test]
fn numbers_are_equal_in_all_ways_of_writing_them() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let big = "123456789012345678901234567890";
    of_tastypy(&path, &[&format!("\"a\"\t[1e-05, 1e+16, -0.0, {big}, 0.1, 5e-324, 1.7976931348623157e+308, -0]\n\"b\"\t1\n")]);
    let before = files(&path);
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.at("a").index(0).get_as::<f64>().unwrap(), Some(1e-5));
    assert_eq!(pod.at("a").index(1).get_as::<f64>().unwrap(), Some(1e16));
    assert_eq!(pod.at("a").index(2).get_as::<f64>().unwrap().map(f64::to_bits), Some((-0.0f64).to_bits()));
    assert_eq!(pod.at("a").index(5).get_as::<f64>().unwrap(), Some(5e-324));
    assert_eq!(pod.at("a").index(6).get_as::<f64>().unwrap(), Some(f64::MAX));
    assert!(pod.raw_json("a").unwrap().unwrap().contains(big));
    assert_eq!(pod.get("a").unwrap_err().kind(), ErrorKind::InvalidValue);
    pod.close().unwrap();
    assert_eq!(files(&path)[0], before[0], "an untouched file keeps its bytes");
    let pod = Pod::open(&path).unwrap();
    let text = pod.raw_json("a").unwrap().unwrap();
    pod.set("b", 2).unwrap();
    pod.close().unwrap();
    assert_eq!(Pod::open(&path).unwrap().raw_json("a").unwrap().unwrap(), text, "a rewritten file holds the same");
    let written = fs::read_to_string(path.join("0.json")).unwrap();
    let spelled = format!("[1e-05,1e+16,-0.0,{big},0.1,5e-324,1.7976931348623157e+308,-0]");
    assert_eq!(written.replace(' ', ""), format!("\"a\"\t{spelled}\n\"b\"\t2\n"), "in the very spelling");
}

#[test]
fn random_floats_keep_every_digit() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let mut random = crate::chance::Random(7);
    let floats: Vec<f64> = std::iter::repeat_with(|| f64::from_bits(random.next())).filter(|float| float.is_finite()).take(4000).collect();
    let pod = Pod::open(&path).unwrap();
    pod.set("floats", &floats).unwrap();
    pod.close().unwrap();
    fs::remove_dir_all(path.join(".live")).unwrap();
    let back = Pod::open(&path).unwrap().get_as::<Vec<f64>>("floats").unwrap().unwrap();
    assert!(back.iter().zip(&floats).all(|(one, other)| one.to_bits() == other.to_bits()));
}

#[test]
fn an_absent_key_cannot_be_marked_and_so_blocks_no_saving() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = manual().open(&path).unwrap();
    pod.set("a", 1).unwrap();
    assert_eq!(pod.mark_dirty("absent").unwrap_err().kind(), ErrorKind::KeyNotFound);
    pod.sync().unwrap();
    pod.mark_dirty("a").unwrap();
    assert_eq!(pod.dirty().unwrap(), [Key::from("a")]);
    pod.sync().unwrap();
    assert_eq!(pod.dirty_len(), 0);
}

#[test]
fn keys_are_read_as_tastypy_wrote_them() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let text = "\"a\\\\\\\\b\"\t1\n\"t\\\\tb\"\t2\n-7\t3\n\"\\\\u00e9\"\t4\n\"\\\\\"q\"\t5\n";
    of_tastypy(&path, &[text]);
    let pod = Pod::open(&path).unwrap();
    let keys: Vec<Key> = pod.keys().collect::<Result<_, _>>().unwrap();
    assert_eq!(keys, ["a\\b".into(), "t\tb".into(), Key::from(-7), "é".into(), "\"q".into()]);
    for key in &keys {
        pod.set(key, 0).unwrap();
    }
    pod.close().unwrap();
    let expected: String = text.lines().map(|line| format!("{}\t0\n", line.split('\t').next().unwrap())).collect();
    assert_eq!(fs::read_to_string(path.join("0.json")).unwrap(), expected, "and written so");
}

#[test]
fn values_too_deep_to_be_read_back_are_refused_when_they_are_set() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let pod = Pod::open(&path).unwrap();
    pod.set_raw_json("deep", &nested(127)).unwrap();
    assert_eq!(pod.set_raw_json("deeper", &nested(128)).unwrap_err().kind(), ErrorKind::InvalidValue);
    let mut value = json!(1);
    for _ in 0..128 {
        value = json!([value]);
    }
    assert_eq!(pod.set("deeper", &value).unwrap_err().kind(), ErrorKind::InvalidValue);
    assert_eq!(pod.set("deeper", json!({"a": value[0]})).unwrap_err().kind(), ErrorKind::InvalidValue);
    pod.close().unwrap();
    fs::remove_dir_all(path.join(".live")).unwrap();
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.raw_json("deep").unwrap().unwrap(), nested(127));
    assert_eq!(
        serde_json::from_str::<Value>(&fs::read_to_string(path.join("0.json")).unwrap()[7..]).unwrap(),
        pod.get("deep").unwrap().unwrap()
    );
}

#[test]
fn an_isolated_handle_starts_from_the_files_and_erases_nothing() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    of_tastypy(&path, &["\"a\"\t1\n\"b\"\t2\n"]);
    let mine = Options::new().isolated(true).open(&path).unwrap();
    assert_eq!(mine.len(), 2);
    mine.set("c", 3).unwrap();
    Pod::open(&path).unwrap().set("d", 4).unwrap();
    mine.sync().unwrap();
    assert_eq!(Pod::open(&path).unwrap().len(), 4);
    Pod::open(&path).unwrap().set("c", 30).unwrap();
    mine.set("c", 31).unwrap();
    assert_eq!(mine.sync().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(Pod::open(&path).unwrap().get("c").unwrap(), Some(json!(30)));
}

#[test]
fn adoption_guesses_no_file_size() {
    let size = |path: &Path| {
        let manifest: Value = serde_json::from_slice(&fs::read(path.join("pod.json")).unwrap()).unwrap();
        manifest["file_size"].as_u64().unwrap()
    };
    let dir = directory();
    let one = "\"a\"\t1\n\"b\"\t2\n\"c\"\t3\n";
    for (name, shards, named, expected) in [
        ("one", &[one][..], None, Some(1000)),
        ("one named", &[one], Some(3), Some(3)),
        ("one named larger", &[one], Some(50), Some(50)),
        ("one contradicted", &[one], Some(2), None),
        ("two", &[one, "4\t4\n"], None, Some(3)),
        ("two named", &[one, "4\t4\n"], Some(3), Some(3)),
        ("two contradicted", &[one, "4\t4\n"], Some(4), None),
        ("two contradicted below", &[one, "4\t4\n"], Some(2), None),
    ] {
        let path = dir.path().join(name);
        of_tastypy(&path, shards);
        let before = files(&path);
        let options = named.map_or_else(Options::new, |named| Options::new().file_size(named));
        match (options.open(&path), expected) {
            (Ok(pod), Some(expected)) => {
                pod.close().unwrap();
                assert_eq!(size(&path), expected, "{name}");
            }
            (Err(error), None) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{name}: {error}");
                assert_eq!(files(&path), before, "{name}");
            }
            (outcome, expected) => panic!("{name}: {outcome:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn what_tastypy_would_destroy_is_not_written_for_it() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    of_tastypy(&path, &["\"a\"\t1\n[1,\"x\"]\t2\n"]);
    let pod = Pod::open(&path).unwrap();
    // What it can read is read.
    assert_eq!(pod.get((1, "x")).unwrap(), Some(json!(2)));
    let error = pod.set((2, "y"), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert!(error.to_string().contains("convert"), "{error}");
    assert_eq!(pod.len(), 2);
    pod.convert(Conversion::new().key_dialect(KeyDialect::Json)).unwrap();
    pod.set((2, "y"), 1).unwrap();
    assert_eq!(pod.len(), 3);
    pod.close().unwrap();
    assert!(fs::read_to_string(path.join("0.json")).unwrap().ends_with("[2,\"y\"]\t1\n"));
}

#[test]
fn what_tastypy_writes_and_no_key_or_value_can_be_is_named() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let nested = format!("\"a\"\t1\n\"b\"\t{}{}\n", "[".repeat(128), "]".repeat(128));
    for text in [
        "\"a\"\t1\ntrue\t2\n",
        "\"a\"\t1\n1.5\t2\n",
        "\"a\"\t1\nnull\t2\n",
        "\"a\"\t1\n{}\t2\n",
        "\"a\"\t1\n9223372036854775808\t2\n",
        "\"a\"\t1\n\"\\\\ud800\"\t2\n",
        "\"a\"\t1\n\"b\"\t\"\\udc00\"\n",
        "\"a\"\t1\n\"b\"\tNaN\n",
        "\"a\"\t1\n\"b\"\t[Infinity]\n",
        "\"a\"\t1\n\"b\"\t{\"x\":-Infinity}\n",
        &nested,
    ] {
        of_tastypy(&path, &[text]);
        refused(&path, "0.json", 2);
    }
}

#[test]
fn members_keep_their_order_through_rewrites() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let member = "{\"zeta\":1,\"alpha\":{\"y\":1,\"x\":2},\"mid\":[{\"b\":1,\"a\":2}],\"0\":null}";
    of_tastypy(&path, &[&format!("\"a\"\t{member}\n\"b\"\t0\n")]);
    for turn in 1..5 {
        let pod = Pod::open(&path).unwrap();
        pod.set("b", turn).unwrap();
        pod.at("a").key("mid").index(0).key("b").set(turn).unwrap();
        pod.close().unwrap();
        fs::remove_dir_all(path.join(".live")).unwrap();
    }
    let text = fs::read_to_string(path.join("0.json")).unwrap();
    assert_eq!(
        text.lines().next().unwrap().replace(": ", ":").replace(", ", ","),
        format!("\"a\"\t{}", member.replace("\"b\":1", "\"b\":4"))
    );
}

#[test]
fn a_negative_number_of_tries_reads_as_none() {
    let dir = directory();
    let path = dir.path().join("a.tracker");
    of_tastypy(&path, &["\"a\"\t{\"_tries\": -2, \"_done\": false, \"_aborted\": false}\n"]);
    let tracker = Options::new().max_tries(1).open_tracker(&path).unwrap();
    assert_eq!((tracker.tries("a").unwrap(), tracker.num_tried()), (0, 0));
    assert!(tracker.should_try("a").unwrap());
    assert_eq!((tracker.tries("a").unwrap(), tracker.num_tried()), (1, 1), "counted on from 0");
    assert_eq!(tracker.todo().try_keys().count(), 0, "the try was used");
    assert!(tracker.verify().unwrap().is_clean());
}

#[test]
fn the_log_alone_holds_what_was_not_saved() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = manual().open(&path).unwrap();
    pod.set("a", 1).unwrap();
    pod.sync().unwrap();
    pod.set("b", 2).unwrap();
    // As by a kill: the last process does not save.
    std::mem::forget(pod.snapshot().unwrap());
    let copied = dir.path().join("b.pod");
    fs::create_dir_all(copied.join(".live")).unwrap();
    fs::copy(path.join(".live/log"), copied.join(".live/log")).unwrap();
    keep_only_log(&copied);
    assert_eq!(Pod::open(&copied).unwrap().get("b").unwrap(), Some(json!(2)));
}
