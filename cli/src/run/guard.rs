//! The guard: a process that outlives the runner by a moment, to kill what the runner leaves.
//!
//! The kernel kills a task when the runner dies, but not what the task itself has started. So the runner forks a guard at the very
//! beginning. It sleeps on a pipe whose other end the runner has: when the runner is gone, however it went, the guard kills the process
//! groups of all tasks that were under way, and what has left these. Which they are stands in memory that both share, one slot for each
//! worker, filled by a task itself before its program begins, and emptied once it has ended and before its process id can be another's.

#![allow(unsafe_code)]

use super::family::{self, Family};
use crate::outcome::{Result, Trouble};
use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, close, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// What a worker is at, for the guard.
#[derive(Debug)]
pub struct Slot {
    /// The process group, 0 while there is none.
    pub group: AtomicI32,
    /// The number of the attempt.
    pub sequence: AtomicU64,
}

/// The runner's side.
#[derive(Debug)]
pub struct Guard {
    slots: &'static [Slot],
    marks: String,
    runner_lives: Option<OwnedFd>,
    guard: Pid,
}

/// Memory that forks share, of zeros. It stays until the process ends.
fn shared_slots(count: usize) -> nix::Result<&'static [Slot]> {
    let bytes = std::num::NonZeroUsize::new(count * size_of::<Slot>()).expect("there is a worker");
    let protection = nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE;
    // SAFETY: new memory at a place of the kernel's choice.
    let memory = unsafe { nix::sys::mman::mmap_anonymous(None, bytes, protection, nix::sys::mman::MapFlags::MAP_SHARED)? };
    // SAFETY: as long as asked for, page-aligned, zeroed, never unmapped, and used by these slots of atomics only.
    Ok(unsafe { std::slice::from_raw_parts(memory.as_ptr().cast::<Slot>(), count) })
}

/// The guard's whole life.
fn watch(slots: &[Slot], marks: &str, runner_lives: OwnedFd) -> ! {
    // In a session of its own it gets neither Ctrl-C nor what is sent to the runner's process group.
    let _ = setsid();
    for ignored in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: ignoring runs no code.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
    let _ = nix::sys::prctl::set_name(&std::ffi::CString::new(family::GUARD).expect("a constant"));
    // Who reads what the runner writes is not to wait for us.
    if let Ok(nothing) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = (dup2_stdin(&nothing), dup2_stdout(&nothing), dup2_stderr(&nothing));
    }
    let _ = std::fs::File::from(runner_lives).read(&mut [0]);
    let under_way: Vec<(i32, u64)> = slots
        .iter()
        .map(|slot| (slot.group.load(Ordering::SeqCst), slot.sequence.load(Ordering::SeqCst)))
        .filter(|(group, _)| *group > 0)
        .collect();
    // What is quickly done for all first.
    for (group, _) in &under_way {
        let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
    }
    for (group, sequence) in under_way {
        Family::new(group, &format!("{marks}{sequence}")).kill();
    }
    // SAFETY: ends this process, without the handlers that belong to the runner.
    unsafe { libc::_exit(0) }
}

impl Guard {
    /// Starts a guard over so many workers. The process must have one thread yet.
    pub fn start(workers: usize) -> Result<Guard> {
        let failed = |error| Trouble::system("start the guard", error);
        let slots = shared_slots(workers).map_err(failed)?;
        let marks = family::marks();
        let (reads, writes) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(failed)?;
        // SAFETY: the process has one thread, so the child may do anything.
        match unsafe { fork() }.map_err(failed)? {
            ForkResult::Child => {
                let _ = close(writes);
                watch(slots, &marks, reads)
            }
            ForkResult::Parent { child } => Ok(Guard { slots, marks, runner_lives: Some(writes), guard: child }),
        }
    }

    /// Where a worker notes its task.
    pub fn slot(&self, worker: usize) -> &'static Slot {
        &self.slots[worker]
    }

    /// The entry of the environment that names an attempt.
    pub fn mark(&self, sequence: u64) -> String {
        format!("{}{sequence}", self.marks)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.runner_lives.take());
        let _ = waitpid(self.guard, None);
    }
}
