//! Starting a program the quick way, so that it cannot outlive this process.
//!
//! A child shares this process's memory until it executes the program (`CLONE_VM | CLONE_VFORK`, as `posix_spawn` does), so that starting
//! costs the same however much memory is mapped. `posix_spawn` itself cannot ask the kernel to kill the child when its parent dies, nor note
//! its process id where the [guard](super::guard) sees it before the program's first instruction; both are done here.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};

/// What the child does before it is the program needs little; a page for its frames and one for what libc does.
const STACK_BYTES: usize = 64 << 10;

/// What a thread needs to start programs, used again for each.
#[derive(Debug)]
pub struct Spawner {
    stack: Vec<u128>,
}

/// What to start.
#[derive(Debug)]
pub struct Program<'a> {
    pub path: &'a CStr,
    pub arguments: &'a [CString],
    /// `NAME=VALUE`.
    pub environment: &'a [&'a CStr],
    /// Standard input, output and error.
    pub streams: [BorrowedFd<'a>; 3],
    /// Gets the child's process id, which is that of its process group, before the program begins.
    pub slot: &'a AtomicI32,
}

/// A started child. It must be waited for.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    /// Readable once the child has ended.
    pub ended: OwnedFd,
}

/// What the child reads, in its parent's memory, which stands still meanwhile.
struct Orders<'a> {
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    streams: [RawFd; 3],
    slot: &'a AtomicI32,
    parent: libc::pid_t,
    mask: libc::sigset_t,
    error: AtomicI32,
}

/// Signals that this process catches or ignores and that a program expects to end it.
const TO_DEFAULT: [c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE];

/// Runs in the child, on its own stack, in its parent's memory: system calls only, nothing that allocates, locks or panics.
extern "C" fn in_child(orders: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes its `Orders`, which it keeps, without touching them, until the child has executed or exited.
    let orders = unsafe { &*orders.cast::<Orders<'_>>() };
    // SAFETY: plain system calls on values of this frame and on descriptors that the parent keeps open; each is async-signal-safe.
    // All signals are blocked until the mask is set, and handlers are this process's own (no CLONE_SIGHAND), so none of the parent's
    // runs here. `execve` gets strings and arrays ended by null that `spawn` keeps alive.
    unsafe {
        if libc::setpgid(0, 0) == 0
            && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            && orders.streams.iter().zip(0..).all(|(from, to)| libc::dup2(*from, to) == to)
        {
            // A parent that died before it was asked for a signal sends none.
            if libc::getppid() != orders.parent {
                libc::_exit(127);
            }
            orders.slot.store(libc::getpid(), Ordering::SeqCst);
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            for signal in TO_DEFAULT {
                let mut before: libc::sigaction = MaybeUninit::zeroed().assume_init();
                libc::sigaction(signal, null(), &raw mut before);
                // Who started us with a signal ignored, as nohup does, means it. SIGPIPE is ignored by Rust itself.
                if before.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE {
                    continue;
                }
                // Ignoring forgets a Ctrl-C that came before the child had its own process group.
                for disposition in [libc::SIG_IGN, libc::SIG_DFL] {
                    action.sa_sigaction = disposition;
                    libc::sigaction(signal, &raw const action, null_mut());
                }
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const orders.mask, null_mut());
            libc::execve(orders.path, orders.arguments, orders.environment);
        }
        orders.error.store(Errno::last_raw(), Ordering::SeqCst);
        orders.slot.store(0, Ordering::SeqCst);
        libc::_exit(127)
    }
}

/// The array of pointers that C wants.
fn pointers<'a>(texts: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    texts.map(CStr::as_ptr).chain([null()]).collect()
}

impl Spawner {
    pub fn new() -> Spawner {
        Spawner { stack: vec![0; STACK_BYTES / size_of::<u128>()] }
    }

    /// Starts a program in a process group of its own. It is killed when the calling *thread* ends, so this thread must wait for it.
    pub fn spawn(&mut self, program: &Program<'_>) -> nix::Result<Child> {
        let arguments = pointers(program.arguments.iter().map(CString::as_c_str));
        let environment = pointers(program.environment.iter().copied());
        // Until the child is itself, no signal may run a handler in it.
        let mask = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
        let orders = Orders {
            path: program.path.as_ptr(),
            arguments: arguments.as_ptr(),
            environment: environment.as_ptr(),
            streams: program.streams.map(|stream| stream.as_raw_fd()),
            slot: program.slot,
            parent: std::process::id().cast_signed(),
            mask: *mask.as_ref(),
            error: AtomicI32::new(0),
        };
        let mut pidfd: c_int = -1;
        let top = self.stack.as_mut_ptr_range().end;
        // SAFETY: the child runs `in_child` on a stack that nobody else uses: `&mut self` is held until clone returns, which, by
        // CLONE_VFORK, is when the child has executed or exited. 16-byte aligned, as u128 is. `orders` and all that it points to live
        // beyond that. Memory that the child changes: its stack, the atomics, and errno, which no one reads across the call.
        let pid = unsafe {
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
            libc::clone(in_child, top.cast(), flags, (&raw const orders).cast_mut().cast(), &raw mut pidfd)
        };
        let outcome = Errno::result(pid);
        mask.thread_set_mask()?;
        let pid = outcome?;
        // SAFETY: the kernel made this descriptor for us and put it here.
        let child = Child { pid, ended: unsafe { OwnedFd::from_raw_fd(pidfd) } };
        match orders.error.load(Ordering::SeqCst) {
            0 => Ok(child),
            error => {
                nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None)?;
                Err(Errno::from_raw(error))
            }
        }
    }
}
