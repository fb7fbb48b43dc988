//! Both ways with the real tastypy: its package comes from the registry and runs under Python 3 with the mechanical changes that it
//! needs; nothing of it is kept here. Where there is no network the tests say so and do nothing.

use crate::support::{Role, directory};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tastypod::{Conversion, KeyDialect, Options, Pod};

pub const CHILDREN: &[Role] = &[];

/// Gets the package and changes what Python 3 reads otherwise than Python 2 did.
const PORT: &str = r##"
import glob, os, re, subprocess, sys, tarfile
target = sys.argv[1]
pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "tastypy", "-d", target, "tastypy==0.0.3"]
# Where the tools to build a package are not there, pip gets those too.
if subprocess.run(pip + ["--no-build-isolation"], stderr=subprocess.DEVNULL, timeout=120).returncode != 0:
    subprocess.run(pip, check=True, timeout=120)
with tarfile.open(glob.glob(os.path.join(target, "*.tar.gz"))[0]) as package:
    package.extractall(target)
source = os.path.join(target, "tastypy-0.0.3", "tastypy")
port = os.path.join(target, "port")
os.makedirs(os.path.join(port, "tastypy"), exist_ok=True)
def put(name, text):
    with open(os.path.join(port, name), "w") as out:
        out.write(text)
put("natsort.py", "import re\ndef humansorted(names, reverse=False):\n    return sorted(names, reverse=reverse,"
    " key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r'(\\d+)', name)])\n")
for name in ["_deep_proxy", "exceptions", "file_utils", "persistent_ordered_dict", "json_serializer", "progress_tracker"]:
    text = open(os.path.join(source, name + ".py")).read()
    text = text.replace("basestring", "str").replace(", unicode)", ", str)").replace("unicode(", "str(")
    text = text.replace("index / self._file_size", "index // self._file_size").replace("self.walker.next()", "next(self.walker)")
    text = re.sub(r"(?m)^(\s*)yield self\.get_next\(\)$", r"\1try:\n\1\tyield self.get_next()\n\1except StopIteration:\n\1\treturn", text)
    text = re.sub(r"key = key\.encode\('utf8'\)", "pass", text)
    text = re.sub(r"\.decode\('utf-?8'\)", "", text)
    text = text.replace("self._open(path, 'w')", "self._open(path, 'wt')").replace("self._open(file_path))", "self._open(file_path, 'rt'))")
    text = text.replace("f.write(line)\n\n        # No more", "f.write(line)\n            f.close()\n\n        # No more")
    text = re.sub(r"(?m)^(\s*)print (.*)$", r"\1print(\2)", text)
    put(os.path.join("tastypy", name + ".py"), text)
init = open(os.path.join(source, "__init__.py")).read()
put(os.path.join("tastypy", "__init__.py"), init[:init.index("# Initialization of shared_progress_tracker")])
"##;

/// Opens a store, sets keys, saves, and prints all entries.
const USE: &str = r#"
import json, sys
sys.path.insert(0, sys.argv[1])
import tastypy
kind, path, size, changes = sys.argv[2:6]
store = (tastypy.Tracker if kind == "tracker" else tastypy.POD)(path, file_size=int(size))
for key, value in json.loads(changes):
    store[key] = value
store.sync()
print(json.dumps([list(entry) for entry in store.items()]))
"#;

/// The directory with the package, unless it is not to be had.
pub fn package() -> Option<&'static Path> {
    static PACKAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = PACKAGE.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tastypy-{}", std::process::id()));
        fs::create_dir_all(&target).ok()?;
        let output = Command::new("python3").args(["-c", PORT]).arg(&target).output().ok()?;
        if output.status.success() {
            return Some(target.join("port"));
        }
        eprintln!("NOT RUN: tastypy is not to be had: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
        None
    });
    found.as_deref()
}

fn with_tastypy(port: &Path, kind: &str, path: &Path, file_size: u64, changes: &Value) -> Value {
    let mut python = Command::new("python3");
    python.args(["-W", "ignore", "-c", USE]).arg(port).arg(kind).arg(path).args([file_size.to_string(), changes.to_string()]);
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
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
    let Some(port) = package() else { return };
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
        let theirs = with_tastypy(port, kind, &path, size, &json!([["theirs \\\\ \t é", task]]));
        let read = theirs.as_array().unwrap();
        assert_eq!(read[..read.len() - 1], ours.as_array().unwrap()[..], "{name}: it reads what we wrote");
        let pod = Pod::open(&path).unwrap();
        assert_eq!(entries(&pod), theirs, "{name}: we read what it wrote");
        assert!(pod.verify().unwrap().is_clean());
    }
}

#[test]
fn the_real_tastypy_reads_what_we_export() {
    let Some(port) = package() else { return };
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
    assert_eq!(with_tastypy(port, "pod", &path, 7, &json!([])), ours);
}
