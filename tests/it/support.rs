//! Starting this very test binary again as another process, with a role.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What takes longer hangs, however busy the machine is.
pub const HANG: Duration = Duration::from_secs(300);

/// What a started process does: a name, and a function that gets the arguments.
pub type Role = (&'static str, fn(&[String]));

/// A started process. Dropping it kills it.
pub struct Child {
    pub process: std::process::Child,
    pub input: Option<ChildStdin>,
    pub output: BufReader<std::process::ChildStdout>,
}

/// In a started process: does what the role says, and exits. In the test runner: nothing.
pub fn run_child(roles: &[&[Role]]) {
    let Ok(role) = std::env::var("TASTYPOD_ROLE") else { return };
    let arguments: Vec<String> =
        std::env::var("TASTYPOD_ARGUMENTS").map_or_else(|_| Vec::new(), |text| text.split('\u{1f}').map(str::to_owned).collect());
    let (_, body) = roles.iter().flat_map(|group| group.iter()).find(|(name, _)| *name == role).unwrap_or_else(|| panic!("no role {role}"));
    body(&arguments);
    std::process::exit(0);
}

/// The command that starts this binary in a role.
pub fn command(role: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its binary"));
    command.args(["--exact", "child_entry", "--nocapture"]).env("TASTYPOD_ROLE", role).env("TASTYPOD_ARGUMENTS", arguments.join("\u{1f}"));
    command
}

impl Child {
    pub fn start(role: &str, arguments: &[&str]) -> Child {
        Child::of(command(role, arguments))
    }

    /// Starts a command that ends in [`command`]'s.
    pub fn of(mut command: Command) -> Child {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the test binary starts");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Child { process, input, output }
    }

    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    /// The next line that the role printed with [`say`]; nothing at the end.
    pub fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).expect("a pipe reads") == 0 {
                return None;
            }
            // The test runner prints lines of its own.
            if let Some(said) = line.strip_prefix("> ") {
                return Some(said.trim_end().to_owned());
            }
            if let Some((_, said)) = line.split_once("... > ") {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    /// Everything that is still to be said.
    pub fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Writes a line to the role's standard input.
    pub fn tell(&mut self, text: &str) {
        writeln!(self.input.as_mut().expect("open"), "{text}").expect("the role reads");
    }

    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Waits for the end, at most some minutes: a hang is a failure.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.process)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn wait(process: &mut std::process::Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            return status;
        }
        assert!(start.elapsed() < HANG, "a process hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether SIGKILL ended it.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(nix::libc::SIGKILL)
}

/// In a role: prints a line for the test.
pub fn say(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {text}").and_then(|()| out.flush()).expect("the test listens");
}

/// In a role: waits for a line from the test.
pub fn hear() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the test speaks");
    line.trim_end().to_owned()
}

/// In a role: waits until the test closes the pipe.
pub fn hear_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A directory on a real file system, removed at the end.
pub fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tastypod-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable")
}

/// Takes away the files that a log is saved in: what is left is the log alone.
pub fn keep_only_log(path: &Path) {
    for entry in std::fs::read_dir(path).expect("a store is a directory") {
        let entry = entry.expect("a directory reads");
        if entry.file_name() != ".live" {
            std::fs::remove_file(entry.path()).expect("a shard can be removed");
        }
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
