//! Doing something before SIGTERM or SIGINT ends the process, for programs that ask for it.
//!
//! The handler only writes a byte to a pipe. A thread waits for it, does the work, puts back what the signal did before, and sends it
//! again. What is ignored stays ignored. A child made by fork has no such thread: there the handler lets the signal take its course at once.

use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

const SIGNALS: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// The writing end of the pipe, and the process whose thread waits at the other.
static PIPE: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: libc::c_int) {
    // SAFETY: getpid, write, signal and raise are safe in a handler; the byte outlives the call.
    unsafe {
        if libc::getpid() == OWNER.load(Ordering::Acquire) {
            let byte = signal as u8;
            libc::write(PIPE.load(Ordering::Acquire), std::ptr::from_ref(&byte).cast(), 1);
        } else {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}

/// Has `work` called before SIGTERM or SIGINT does what it did before. Once for each process.
pub(crate) fn before_termination(work: fn()) -> io::Result<()> {
    static INSTALLED: Mutex<i32> = Mutex::new(0);
    let mut installed = INSTALLED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let this = std::process::id() as i32;
    if *installed == this {
        return Ok(());
    }
    let (reader, writer) = super::file::off_standard(io::pipe)?;
    // SAFETY: both descriptors were just made and are handed on, each to one owner; the writing end stays open for the handler.
    let mut reader = unsafe { File::from_raw_fd(reader.into_raw_fd()) };
    debug_assert!(reader.as_raw_fd() >= 0);
    PIPE.store(writer.into_raw_fd(), Ordering::Release);
    OWNER.store(this, Ordering::Release);
    let mut before: Vec<(libc::c_int, libc::sigaction)> = Vec::new();
    for signal in SIGNALS {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a zeroed sigaction is a valid one with an empty mask; the handler is an `extern "C"` function of the right type that
        // stays loaded; the call fills in `old`.
        unsafe {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            action.sa_sigaction = note as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            if libc::sigaction(signal, &raw const action, old.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let mut old = old.assume_init();
            if old.sa_sigaction == libc::SIG_IGN {
                // As under nohup, or in the background of a shell without job control: it stays ignored.
                libc::sigaction(signal, &raw const old, std::ptr::null_mut());
                continue;
            }
            if old.sa_sigaction == action.sa_sigaction {
                // Inherited by a fork: the parent's handler, whose thread is not here.
                old.sa_sigaction = libc::SIG_DFL;
            }
            before.push((signal, old));
        }
    }
    std::thread::Builder::new().name("tastypod-signals".to_owned()).spawn(move || {
        let mut byte = [0];
        // More than one may come, where the program's own handler lets it live.
        while reader.read_exact(&mut byte).is_ok() {
            work();
            for (signal, old) in before.iter().filter(|(signal, _)| *signal == libc::c_int::from(byte[0])) {
                // SAFETY: what was in force before is put back, and the signal sent to this process once more.
                unsafe {
                    libc::sigaction(*signal, std::ptr::from_ref(old), std::ptr::null_mut());
                    libc::kill(libc::getpid(), *signal);
                }
            }
        }
    })?;
    *installed = this;
    Ok(())
}
