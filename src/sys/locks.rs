//! Open-file-description locks on byte ranges: the kernel drops them when the last descriptor of the open file closes,
//! so a killed process leaves none. A child made by fork shares the open file until it closes its descriptor.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io;

use super::crash;

fn range(kind: i32, start: u64, length: u64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: length as libc::off_t,
        l_pid: 0,
    }
}

fn set(file: &File, kind: i32, start: u64, length: u64) -> io::Result<bool> {
    let outcome = fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind, start, length)));
    crash::point("range lock");
    match outcome {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes or converts to a shared lock on `length` bytes from `start`; false where somebody excludes it.
pub(crate) fn try_shared(file: &File, start: u64, length: u64) -> io::Result<bool> {
    set(file, libc::F_RDLCK, start, length)
}

/// Takes or converts to an exclusive lock; false where somebody else has any lock there. Conversion is atomic.
pub(crate) fn try_exclusive(file: &File, start: u64, length: u64) -> io::Result<bool> {
    set(file, libc::F_WRLCK, start, length)
}

/// Gives back what this open file holds in the range.
pub(crate) fn release(file: &File, start: u64, length: u64) -> io::Result<()> {
    set(file, libc::F_UNLCK, start, length).map(|_| ())
}

/// The first locked range of others that an exclusive lock on the range would meet.
pub(crate) fn first_holder(file: &File, start: u64, length: u64) -> io::Result<Option<u64>> {
    let mut probe = range(libc::F_WRLCK, start, length);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut probe))?;
    Ok((i32::from(probe.l_type) != libc::F_UNLCK).then_some(probe.l_start as u64))
}
