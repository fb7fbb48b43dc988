//! Random calls, savings, reverts, reopenings and edits by hand, each compared with an ordered map in plain memory, and the files with what
//! other programs read in them: Python's json, line by line, and jq, which reads a file as a stream.

use crate::chance::{Random, asked, seed};
use crate::support::{Role, directory};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tastypod::{Conversion, Options, Pod};

pub const CHILDREN: &[Role] = &[];

const FILE_SIZE: usize = 4;
/// Reads the directories that it is told of and answers with what their files hold, in order.
const READER: &str = r#"
import gzip, json, os, sys
for line in sys.stdin:
    directory, entries, number = line.rstrip("\n"), [], 0
    while True:
        path = os.path.join(directory, "%d.json" % number)
        opener = open if os.path.exists(path) else lambda p, **k: gzip.open(p + ".gz", "rt", **k)
        if not os.path.exists(path) and not os.path.exists(path + ".gz"):
            break
        with opener(path, encoding="utf-8", newline="\n") as file:
            for entry in file:
                key, value = entry.rstrip("\n").split("\t")
                entries.append([json.loads(key), json.loads(value)])
        number += 1
    print(json.dumps(entries), flush=True)
"#;

/// A Python program that reads stores.
struct Reader {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reader {
    fn start() -> Option<Reader> {
        let mut process = Command::new("python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (input, output) = (process.stdin.take()?, BufReader::new(process.stdout.take()?));
        Some(Reader { process, input, output })
    }

    fn read(&mut self, path: &Path) -> Value {
        writeln!(self.input, "{}", path.display()).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("the reader answers")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What jq makes of the uncompressed files: keys and values in turn.
fn read_with_jq(path: &Path) -> Option<Value> {
    let files: Vec<_> = (0..).map(|number| path.join(format!("{number}.json"))).take_while(|file| file.exists()).collect();
    let mut parts = Vec::new();
    for file in &files {
        // One by one: a file whose last line has no newline would run into the next.
        let output = Command::new("jq").args(["-c", "-s", "."]).arg(file).output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        parts.extend(serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap());
    }
    Some(parts.chunks(2).map(|entry| Value::from(entry.to_vec())).collect())
}

fn any_key(random: &mut Random) -> Value {
    match random.index(14) {
        0 => json!("tab\tand\\backslash"),
        1 => json!("é\u{1f980}\u{2028}"),
        2 => json!(["pair", 1]),
        n => json!(n),
    }
}

fn any_value(random: &mut Random) -> Value {
    match random.index(6) {
        0 => json!({"z": 1, "a": [1.5, null, true, "\n\t\u{7f}\u{1f980}"]}),
        1 => json!("text with \"quotes\" and a tab\t"),
        2 => json!([]),
        _ => json!(random.index(1_000_000)),
    }
}

type Map = Vec<(Value, Value)>;

fn set(map: &mut Map, key: &Value, value: Value) {
    match map.iter_mut().find(|(known, _)| known == key) {
        Some(entry) => entry.1 = value,
        None => map.push((key.clone(), value)),
    }
}

fn as_json(map: &Map) -> Value {
    map.iter().map(|(key, value)| json!([key, value])).collect()
}

fn as_key(key: &Value) -> tastypod::Key {
    serde_json::from_value(key.clone()).unwrap()
}

fn contents(pod: &Pod) -> Value {
    pod.iter().map(|entry| entry.unwrap()).map(|(key, value)| json!([key, value])).collect()
}

fn open(path: &Path) -> Pod {
    Options::new().file_size(FILE_SIZE as u64).sync_at(usize::MAX).open(path).unwrap()
}

/// Changes, removes or adds a line of a file, as a person would.
fn edit(path: &Path, random: &mut Random, map: &mut Map) {
    let file = path.join("0.json");
    let Ok(text) = fs::read_to_string(&file) else { return };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.len() < 2 {
        return;
    }
    let at = random.index(lines.len() - 1);
    let key: Value = serde_json::from_str(lines[at].split('\t').next().unwrap()).unwrap();
    match random.index(3) {
        0 => {
            lines[at] = format!("{key} \t \"edited\"\r");
            set(map, &key, json!("edited"));
        }
        1 => {
            lines.remove(at);
            map.retain(|(known, _)| *known != key);
        }
        _ => {
            lines.insert(at, "\"added by hand\"\t{}".to_owned());
            if map.iter().any(|(known, _)| *known == json!("added by hand")) {
                return;
            }
            let before = map.iter().position(|(known, _)| *known == key).unwrap();
            map.insert(before, (json!("added by hand"), json!({})));
        }
    }
    fs::write(&file, lines.join("\n")).unwrap();
}

fn run(seed: u64, reader: &mut Option<Reader>) {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let mut random = Random(seed);
    let mut map = Map::new();
    let mut saved = Map::new();
    let mut pod = open(&path);
    let mut is_packed = false;
    let mut compare = |path: &Path, saved: &Map, is_packed: bool| {
        if let Some(reader) = reader {
            assert_eq!(reader.read(path), as_json(saved), "seed {seed}: Python");
        }
        if !is_packed && let Some(read) = read_with_jq(path) {
            assert_eq!(read, as_json(saved), "seed {seed}: jq");
        }
    };
    for step in 0..60 {
        match random.index(20) {
            0..10 => {
                let (key, value) = (any_key(&mut random), any_value(&mut random));
                pod.set(as_key(&key), &value).unwrap();
                set(&mut map, &key, value);
            }
            10..13 => {
                let key = any_key(&mut random);
                pod.remove(as_key(&key)).unwrap();
                map.retain(|(known, _)| *known != key);
            }
            13 | 14 => {
                pod.sync().unwrap();
                saved.clone_from(&map);
                compare(&path, &saved, is_packed);
            }
            15 | 16 => {
                pod.revert().unwrap();
                map.clone_from(&saved);
            }
            17 => {
                pod.close().unwrap();
                compare(&path, &map, is_packed);
                if random.index(2) == 0 {
                    fs::remove_dir_all(path.join(".live")).unwrap();
                }
                if !is_packed && random.index(2) == 0 {
                    edit(&path, &mut random, &mut map);
                }
                saved.clone_from(&map);
                pod = open(&path);
            }
            18 => {
                is_packed = !is_packed;
                pod.convert(Conversion::new().gzipped(is_packed)).unwrap();
                saved.clone_from(&map);
                compare(&path, &saved, is_packed);
            }
            _ => pod.compact().unwrap(),
        }
        assert_eq!(contents(&pod), as_json(&map), "seed {seed}, step {step}");
        if step % 16 == 0 {
            let report = pod.verify().unwrap();
            assert!(report.is_clean(), "seed {seed}, step {step}: {report}");
        }
    }
}

#[test]
fn the_files_hold_what_other_programs_read_in_them() {
    let mut reader = Reader::start();
    if reader.is_none() {
        eprintln!("NOT COMPARED with Python's json: there is no python3");
    }
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("NOT COMPARED with jq: it is not installed");
    }
    let first = seed();
    for number in 0..asked("TASTYPOD_MODEL_RUNS", 5) {
        run(first.wrapping_add(number), &mut reader);
    }
}
