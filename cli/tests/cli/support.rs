//! Starting the binary, and looking at what it left.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A hang is a failure; nothing here takes so long.
pub const HANG: Duration = Duration::from_secs(300);

/// For scripts: waits until the test makes the file `go`, however long that takes.
pub const UNTIL_GO: &str = "until [ -e go ]; do sleep 0.02; done";

/// A directory of a test, and the binary to be run in it.
pub struct Place {
    directory: tempfile::TempDir,
}

/// How a command ended: exit code, standard output, standard error.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    fn of(output: &Output) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The same, where nothing else than this exit code was expected.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_tastypod")
}

impl Place {
    pub fn new() -> Place {
        let directory =
            tempfile::Builder::new().prefix("tastypod-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        Place { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        // Signals that whoever started the tests ignores, as a shell does for what runs in the background, would stay ignored.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,QUIT,HUP,TERM", binary()]).args(arguments).current_dir(self.directory.path());
        command
    }

    /// Runs it with nothing on standard input.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.feed(arguments, b"")
    }

    /// Runs it with this on standard input.
    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut child =
            self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // Who does not read it closes it.
        let _ = child.stdin.take().expect("piped").write_all(input);
        Ended::of(&child.wait_with_output().expect("it ends"))
    }

    /// Runs a script with the binary's directory first in PATH.
    pub fn shell(&self, script: &str) -> Ended {
        let folder = Path::new(binary()).parent().expect("it is in a directory").display().to_string();
        let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(self.directory.path()).env("PATH", path).stdin(Stdio::null());
        Ended::of(&command.output().expect("there is a shell"))
    }

    pub fn start(&self, arguments: &[&str]) -> Started {
        let child = self.command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        Started::of(child)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).expect("the directory is writable");
    }

    pub fn tracker(&self, name: &str) -> tastypod::Tracker {
        tastypod::Options::new().create(false).open_tracker(self.path(name)).expect("the tracker opens")
    }

    /// A field of a task.
    pub fn field(&self, tracker: &str, key: &str, field: &str) -> serde_json::Value {
        let tracker = self.tracker(tracker);
        let task = tracker.get(key).expect("it reads").unwrap_or_else(|| panic!("{key} is there"));
        task.get(field).cloned().unwrap_or_default()
    }
}

/// A command that goes on. Dropping it kills it.
pub struct Started {
    pub child: Child,
    /// What it has said so far.
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Started {
    pub fn of(child: Child) -> Started {
        Started { child, out: Vec::new(), err: Vec::new() }
    }

    /// Waits until it has written this to standard output.
    pub fn wait_for_out(&mut self, text: &str) {
        read_until(text, self.child.stdout.as_mut().expect("piped"), &mut self.out);
    }

    /// Waits until it has written this to standard error.
    pub fn wait_for_err(&mut self, text: &str) {
        read_until(text, self.child.stderr.as_mut().expect("piped"), &mut self.err);
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id().cast_signed()), signal).expect("it lives");
    }

    pub fn end(mut self) -> Ended {
        // Read while it runs, since it may say more than a pipe holds.
        fn read(stream: Option<impl std::io::Read + Send + 'static>, mut text: Vec<u8>) -> JoinHandle<Vec<u8>> {
            std::thread::spawn(move || {
                stream.map(|mut stream| stream.read_to_end(&mut text));
                text
            })
        }
        let stdout = read(self.child.stdout.take(), std::mem::take(&mut self.out));
        let stderr = read(self.child.stderr.take(), std::mem::take(&mut self.err));
        let status = wait(&mut self.child);
        let [stdout, stderr] = [stdout, stderr].map(|text| text.join().expect("it only reads"));
        Ended::of(&Output { status, stdout, stderr })
    }
}

fn read_until(text: &str, stream: &mut impl std::io::Read, said: &mut Vec<u8>) {
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(said).contains(text) {
        let count = stream.read(&mut bytes).expect("a pipe reads");
        assert!(count > 0, "it ended without `{text}`: {}", String::from_utf8_lossy(said));
        said.extend_from_slice(&bytes[..count]);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        assert!(start.elapsed() < HANG, "a process hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until something is true.
#[track_caller]
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < HANG, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills a process, all that descend from it, and all in groups of theirs, so that nobody is left to tidy up.
pub fn kill_all_of(pid: u32) {
    let stat = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = |pid: u32| stat(pid).rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
    let mut family = vec![pid];
    // One that stands still starts no further children.
    let signal = |pid: u32, signal| {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal);
    };
    signal(pid, nix::sys::signal::Signal::SIGSTOP);
    let mut next = 0;
    while next < family.len() {
        let all = std::fs::read_dir("/proc").expect("/proc is there").flatten();
        let children =
            all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|child| parent(*child) == Some(family[next]));
        for child in children.collect::<Vec<u32>>() {
            signal(child, nix::sys::signal::Signal::SIGSTOP);
            family.push(child);
        }
        next += 1;
    }
    for pid in family {
        signal(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Processes, zombies apart, whose command line has this text in it.
pub fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push(format!("{}: {line}", entry.file_name().to_string_lossy()));
        }
    }
    found
}

/// Output that is JSON.
pub fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
