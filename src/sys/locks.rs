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

/// The processes that hold a lock in a range of a file, as far as /proc shows their open files, each with the first byte of its
/// lowest lock there: the kernel does not say who owns such a lock.
pub(crate) fn holders(inode: u64, start: u64, end: u64) -> Vec<(u32, u64)> {
    let mut holders = Vec::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let descriptors = std::fs::read_dir(process.path().join("fdinfo")).into_iter().flatten().flatten();
        let texts = descriptors.filter_map(|descriptor| std::fs::read_to_string(descriptor.path()).ok());
        let lowest = texts.filter_map(|text| text.lines().filter_map(|line| locked_from(line, inode, start, end)).min()).min();
        holders.extend(lowest.map(|lowest| (pid, lowest)));
    }
    holders
}

/// The first byte that a line of `fdinfo` says is locked, if that is in the range of the file:
/// `lock: 1: OFDLCK ADVISORY READ -1 fe:00:10010678 1048653 1048653`.
fn locked_from(line: &str, inode: u64, start: u64, end: u64) -> Option<u64> {
    let words: Vec<&str> = line.strip_prefix("lock:")?.split_ascii_whitespace().collect();
    let [.., file, first, _last] = words[..] else { return None };
    let is_file = file.rsplit(':').next().and_then(|number| number.parse().ok()) == Some(inode);
    let first: u64 = first.parse().ok()?;
    (words.contains(&"OFDLCK") && is_file && (start..end).contains(&first)).then_some(first)
}
