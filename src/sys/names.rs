//! Names in directories: exchanging and moving files so that nothing is replaced unseen.

use super::crash;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The system call itself: not every libc has a function for it.
#[allow(unsafe_code)]
fn rename_with(from: &Path, to: &Path, flags: libc::c_uint) -> io::Result<()> {
    let (from, to) = (CString::new(from.as_os_str().as_bytes())?, CString::new(to.as_os_str().as_bytes())?);
    // SAFETY: both names are strings that end with a zero byte and live until the call returns; the call keeps neither.
    let outcome = unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    crash::point("file renamed with flags");
    Ok(())
}

/// Lets two files change places. `Unsupported` where the file system cannot.
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    rename_with(one, other, libc::RENAME_EXCHANGE).map_err(unsupported)
}

/// Renames to a name that nobody has yet. `Unsupported` where the file system cannot.
pub(crate) fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_with(from, to, libc::RENAME_NOREPLACE).map_err(unsupported)
}

fn unsupported(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => io::Error::new(io::ErrorKind::Unsupported, error),
        _ => error,
    }
}
