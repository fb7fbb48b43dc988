//! Both ways with the real tastypy: its package comes from the registry and runs, as it is, under Python 2.7; nothing of it is kept
//! here. Where there is no Python 2.7 or no network the tests say so and do nothing.

use crate::support::{Role, directory, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tastypod::{Conversion, KeyDialect, Options, Pod};

pub const CHILDREN: &[Role] = &[];

/// Opens a store, sets keys, saves, and prints all entries.
const USE: &str = r#"
import json, sys
import tastypy
kind, path, size, changes = sys.argv[1:5]
store = (tastypy.Tracker if kind == "tracker" else tastypy.POD)(path, file_size=int(size))
for key, value in json.loads(changes):
    store[key] = value
store.sync()
print(json.dumps([list(entry) for entry in store.items()]))
"#;

/// The real tastypy, with the interpreter that it is for.
pub struct Tastypy {
    interpreter: PathBuf,
    packages: PathBuf,
}

impl Tastypy {
    /// Installed where this process's tests can use it, unless it is not to be had.
    pub fn get() -> Option<&'static Tastypy> {
        static TASTYPY: OnceLock<Option<Tastypy>> = OnceLock::new();
        TASTYPY.get_or_init(|| Tastypy::install().inspect_err(|reason| eprintln!("NOT RUN with tastypy: {reason}")).ok()).as_ref()
    }

    fn install() -> Result<Tastypy, String> {
        let interpreter = interpreter().ok_or("there is no Python 2.7")?;
        let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tastypy-{}", std::process::id()));
        let mut pip = Command::new(&interpreter);
        pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--target"]).arg(&packages);
        let output = pip.args(["tastypy==0.0.3", "natsort==6.2.1", "tblib==1.7.0"]).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!("it cannot be installed: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default()));
        }
        Ok(Tastypy { interpreter, packages })
    }

    /// Runs a program that may import it. What it printed, as JSON.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Value {
        let mut python = Command::new(&self.interpreter);
        let output = python.env("PYTHONPATH", &self.packages).args(["-c", program]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// On the path, or among those that pyenv keeps.
fn interpreter() -> Option<PathBuf> {
    let kept = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let kept = kept.and_then(|root| fs::read_dir(root.join("versions")).ok()).into_iter().flatten().flatten();
    let kept = kept.map(|version| version.path().join("bin/python2.7"));
    let works = |python: &PathBuf| Command::new(python).args(["-c", "import pip"]).output().is_ok_and(|output| output.status.success());
    std::iter::once(PathBuf::from("python2.7")).chain(kept).find(works)
}

fn with_tastypy(tastypy: &Tastypy, kind: &str, path: &Path, file_size: u64, changes: &Value) -> Value {
    tastypy.run(USE, &[kind, text(path), &file_size.to_string(), &changes.to_string()])
}

fn entries(pod: &Pod) -> Value {
    let text = |key| serde_json::from_str::<Value>(&pod.raw_json(&key).unwrap().unwrap()).unwrap();
    pod.keys().map(|key| key.unwrap()).map(|key| json!([key, text(key.clone())])).collect()
}

fn copy(name: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tastypy-0.0.3").join(name);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn the_real_tastypy_and_we_take_turns_on_one_store() {
    let Some(tastypy) = Tastypy::get() else { return };
    for (name, kind, file_size) in [("edge.pod", "pod", 1000), ("many.pod", "pod", 100), ("crawl.tracker", "tracker", 50)] {
        let dir = directory();
        let path = dir.path().join(name);
        copy(name, &path);
        let pod = Pod::open(&path).unwrap();
        let size =
            serde_json::from_str::<Value>(&fs::read_to_string(path.join("pod.json")).unwrap()).unwrap()["file_size"].as_u64().unwrap();
        if name == "edge.pod" {
            assert_eq!(size, file_size);
        }
        let task = json!({"_tries": 1, "_done": true, "_aborted": false, "é\u{1f980}": [1.5, 12_345_678_901_u64]});
        pod.set("ours \\ \t é\u{1f980}", &task).unwrap();
        let ours = entries(&pod);
        pod.close().unwrap();
        let theirs = with_tastypy(tastypy, kind, &path, size, &json!([["theirs \\\\ \t é", task]]));
        let read = theirs.as_array().unwrap();
        assert_eq!(read[..read.len() - 1], ours.as_array().unwrap()[..], "{name}: it reads what we wrote");
        let pod = Pod::open(&path).unwrap();
        assert_eq!(entries(&pod), theirs, "{name}: we read what it wrote");
        assert!(pod.verify().unwrap().is_clean());
    }
}

#[test]
fn the_real_tastypy_reads_what_we_export() {
    let Some(tastypy) = Tastypy::get() else { return };
    let dir = directory();
    let path = dir.path().join("ours.pod");
    let pod = Options::new().file_size(7).open(&path).unwrap();
    for n in 0..30 {
        pod.set(n, json!({"n": n, "text": format!("line\n{n}\t\\")})).unwrap();
        pod.set(format!("key \\ {n} \t\" é\u{1f980}\u{7f}"), json!([n, 0.1, -1e300, null, true])).unwrap();
    }
    pod.remove(3).unwrap();
    pod.compact().unwrap();
    pod.convert(Conversion::new().key_dialect(KeyDialect::Tastypy)).unwrap();
    let ours = entries(&pod);
    pod.close().unwrap();
    assert_eq!(with_tastypy(tastypy, "pod", &path, 7, &json!([])), ours);
}
