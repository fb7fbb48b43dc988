//! Copies of a role process made by fork: a process for each crash point, without the cost of starting a program.
//!
//! Only a role process forks (`support::Child`), never the test runner with its many threads. What the copy is and what
//! it says comes back through pipes. An alarm ends whatever hangs.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

/// Seconds after which a forked process counts as hanging.
pub const HANG_SECONDS: u32 = 300;

/// The forked process's end of the pipes.
pub struct Line {
    input: PipeReader,
    output: PipeWriter,
}

/// The forking process's end. Dropping it kills the process.
pub struct Forked {
    pid: Pid,
    input: PipeWriter,
    output: PipeReader,
    ended: bool,
}

/// Runs `body` in a copy of this process, which then ends as by a kill: nothing is closed in good order.
#[allow(unsafe_code)]
pub fn fork(body: impl FnOnce(&Line)) -> Forked {
    let (child_input, input) = pipe().expect("pipes are to be had");
    let (output, child_output) = pipe().expect("pipes are to be had");
    // SAFETY: the role process that forks runs one thread beside the waiting main thread, so that the copy may allocate.
    match unsafe { nix::unistd::fork() }.expect("a process is to be had") {
        ForkResult::Parent { child } => Forked { pid: child, input, output, ended: false },
        ForkResult::Child => {
            drop((input, output));
            // SAFETY: calls without memory arguments; `_exit` runs no handlers, which belong to the parent.
            unsafe { nix::libc::alarm(HANG_SECONDS) };
            let line = Line { input: child_input, output: child_output };
            let outcome = catch_unwind(AssertUnwindSafe(|| body(&line)));
            // SAFETY: as above.
            unsafe { nix::libc::_exit(if outcome.is_ok() { 0 } else { 101 }) }
        }
    }
}

/// A directory in memory where the system has one: what a kill leaves is the same there, and thousands of stores are made
/// in it without waiting for a disk.
pub fn quick_directory() -> tempfile::TempDir {
    let in_memory = tempfile::Builder::new().prefix("tastypod-").tempdir_in("/dev/shm");
    in_memory.unwrap_or_else(|_| crate::support::directory())
}

/// Puts a control page of another boot beside a log, as a power cut leaves it.
pub fn as_after_a_power_cut(live: &Path) {
    static PAGE: OnceLock<(Vec<u8>, u64)> = OnceLock::new();
    let (page, length) = PAGE.get_or_init(|| {
        let directory = quick_directory();
        let path = directory.path().join("a.pod");
        drop(tastypod::Pod::open(&path).unwrap());
        let page = fs::read(path.join(".live/control")).unwrap();
        let log = fs::read(path.join(".live/log")).unwrap();
        assert_eq!((&page[..8], &page[STORE..STORE + 8]), (&b"tastyCTL"[..], &log[24..32]), "the page is laid out otherwise");
        (page[..4096].to_vec(), page.len() as u64)
    });
    let log = File::open(live.join("log")).unwrap();
    let mut store = [0; 8];
    log.read_exact_at(&mut store, 24).unwrap();
    let mut page = page.clone();
    page[BOOT] ^= 1;
    page[INODE..INODE + 8].copy_from_slice(&log.metadata().unwrap().ino().to_ne_bytes());
    page[STORE..STORE + 8].copy_from_slice(&store);
    let control = File::create(live.join("control")).unwrap();
    control.write_all_at(&page, 0).unwrap();
    control.set_len(*length).unwrap();
}

/// Where a control page names the boot, and the log's inode and store.
const BOOT: usize = 16;
const INODE: usize = 56;
const STORE: usize = 64;

fn read_line(mut pipe: &PipeReader) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while pipe.read(&mut byte).expect("a pipe reads") == 1 {
        if byte[0] == b'\n' {
            return Some(String::from_utf8(line).expect("lines are text"));
        }
        line.push(byte[0]);
    }
    None
}

impl Line {
    pub fn say(&self, text: impl std::fmt::Display) {
        (&self.output).write_all(format!("{text}\n").as_bytes()).expect("the parent listens");
    }

    /// The parent's next line; nothing when it is gone.
    pub fn hear(&self) -> Option<String> {
        read_line(&self.input)
    }
}

impl Forked {
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    pub fn tell(&self, text: impl std::fmt::Display) {
        (&self.input).write_all(format!("{text}\n").as_bytes()).expect("the forked process lives");
    }

    /// The next line that was said; nothing at the end.
    pub fn hear(&self) -> Option<String> {
        read_line(&self.output)
    }

    /// What is still said until the end, and how the process ended.
    pub fn end(mut self) -> (Vec<String>, WaitStatus) {
        let mut said = Vec::new();
        let mut bytes = Vec::new();
        self.output.read_to_end(&mut bytes).expect("a pipe reads");
        // A line that was cut off was not said.
        let text = String::from_utf8(bytes).expect("lines are text");
        said.extend(text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned));
        let status = waitpid(self.pid, None).expect("a child can be waited for");
        self.ended = true;
        (said, status)
    }

    /// Waits for a good end. Returns the last line that was said.
    #[track_caller]
    pub fn succeed(self, what: &str) -> String {
        let (said, status) = self.end();
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{what}: {status:?}");
        said.last().cloned().unwrap_or_default()
    }

    /// Waits until it stopped itself; false if it ended instead.
    pub fn wait_for_stop(&mut self) -> bool {
        let status = waitpid(self.pid, Some(WaitPidFlag::WUNTRACED)).expect("a child can be waited for");
        match status {
            WaitStatus::Stopped(..) => true,
            WaitStatus::Exited(_, 0) => {
                self.ended = true;
                false
            }
            other => panic!("a process that was to stop ended: {other:?}"),
        }
    }

    /// Waits for the end, whatever it is.
    pub fn wait_for_end(&mut self) -> WaitStatus {
        self.ended = true;
        waitpid(self.pid, None).expect("a child can be waited for")
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("a child that was not waited for can be signalled");
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Whether SIGKILL ended it.
pub fn was_killed(status: WaitStatus) -> bool {
    matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _))
}
