//! Files and directories: opening, allocating, stamping, and the advisory lock that serialises openers.

use super::crash;
use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Opens an existing file.
pub(crate) fn open(path: &Path, writable: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(writable).open(path)
}

/// Opens a file to be read. Whatever else stands there is `InvalidInput`, and not waited for, as the other end of a pipe would be.
pub(crate) fn open_only_file(path: &Path) -> io::Result<File> {
    let no_file = || Err(io::ErrorKind::InvalidInput.into());
    match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => no_file(),
        // A socket.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => no_file(),
        Err(error) => Err(error),
    }
}

/// Opens a file for reading and writing, making an empty one if there is none. Its rights are `mode`, whatever the process's
/// umask takes from other files: who shares a store says so with the mode.
pub(crate) fn open_or_create(path: &Path, mode: u32) -> io::Result<File> {
    match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path, true),
        outcome => {
            let file = outcome?;
            crash::point("file created");
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            crash::point("file mode set");
            Ok(file)
        }
    }
}

/// Makes a directory and those above it; for each `mode` plus the right to enter for whoever may read.
pub(crate) fn create_directories(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_directories(parent, mode)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        outcome => outcome?,
    }
    crash::point("directory created");
    let enter = mode | (mode & 0o444) >> 2;
    fs::set_permissions(path, fs::Permissions::from_mode(enter & 0o777))?;
    crash::point("directory mode set");
    Ok(())
}

/// Makes the file `length` bytes long at least, with disk blocks from `offset` on, so that no later store into a mapping
/// of it can fail for want of space. Never changes a byte or shrinks the file: it may be repeated or come late.
pub(crate) fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    loop {
        let outcome = nix::fcntl::fallocate(file, nix::fcntl::FallocateFlags::empty(), offset as i64, length as i64);
        crash::point("blocks allocated");
        return match outcome {
            Ok(()) => Ok(()),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

/// Gives a range's blocks back to the file system; it reads as zeros from then on. The file keeps its length. False where
/// the file system cannot.
pub(crate) fn punch(file: &File, offset: u64, length: u64) -> bool {
    let flags = nix::fcntl::FallocateFlags::FALLOC_FL_PUNCH_HOLE | nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
    loop {
        let outcome = nix::fcntl::fallocate(file, flags, offset as i64, length as i64);
        crash::point("blocks given back");
        if outcome != Err(nix::errno::Errno::EINTR) {
            return outcome.is_ok();
        }
    }
}

/// Bytes of disk blocks that a file has.
pub(crate) fn disk_bytes(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.blocks() * 512)
}

/// A path to an open file or directory itself, whatever its name is by now.
pub(crate) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The name that an open file or directory has by now.
pub(crate) fn name_of(file: &File) -> PathBuf {
    fs::read_link(path_of(file)).unwrap_or_default()
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    crash::point("file written");
    Ok(())
}

/// Reads up to `length` bytes at `offset`; fewer at the file's end.
pub(crate) fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Makes the bytes of a file power-safe. The system tells of a write that failed only once through each open file.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    let outcome = file.sync_data();
    crash::about(|| name_of(file));
    crash::point("file synced");
    outcome
}

/// Asks the system to begin writing a file to the disk, so that a later [`sync_data`] has less to wait for.
#[allow(unsafe_code)]
pub(crate) fn begin_writing(file: &File) {
    // SAFETY: the call takes no memory. What comes of it does not matter.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Makes the names in a directory power-safe.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = File::open(path)?;
    let outcome = directory.sync_all();
    crash::about(|| name_of(&directory));
    crash::point("directory synced");
    outcome
}

/// Opens a file once more, whatever stands at its path by now: what the system says of failed writes is said to each
/// open file by itself.
pub(crate) fn open_again(file: &File) -> io::Result<File> {
    open(&path_of(file), true)
}

/// Renames within one file system, replacing what stands at `to`.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    crash::point("file renamed");
    Ok(())
}

/// Takes away a file that was made here and is of no use.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    crash::point("file removed");
    Ok(())
}

/// Takes away an empty directory.
pub(crate) fn remove_directory(path: &Path) -> io::Result<()> {
    fs::remove_dir(path)?;
    crash::point("directory removed");
    Ok(())
}

/// A file in memory that ends with the process.
pub(crate) fn in_memory(name: &str) -> io::Result<File> {
    Ok(File::from(nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?))
}

/// Closes a descriptor that belongs to a thread which this process, made by fork, does not have.
pub(crate) fn close_orphan(descriptor: RawFd) {
    // Whatever comes of it, the descriptor is gone.
    let _ = nix::unistd::close(descriptor);
}

/// Takes the whole-file lock if nobody else has it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    let outcome = fs2::FileExt::try_lock_exclusive(file);
    crash::point("file locked");
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the whole-file lock back.
pub(crate) fn unlock(file: &File) {
    // Only a bad descriptor makes it fail; the lock would then end with the file.
    let _ = fs2::FileExt::unlock(file);
    crash::point("file unlocked");
}

/// What changes when anybody changes a file through the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified_nanoseconds: u64,
    pub(crate) changed_nanoseconds: u64,
    pub(crate) links: u64,
}

pub(crate) fn stamp(file: &File) -> io::Result<Stamp> {
    Ok(stamp_of(&file.metadata()?))
}

pub(crate) fn stamp_at(path: &Path) -> io::Result<Stamp> {
    Ok(stamp_of(&fs::metadata(path)?))
}

/// Of a file in an open directory: without the way there, which costs more than the look.
#[allow(clippy::unnecessary_cast)]
pub(crate) fn stamp_in(directory: &File, name: &str) -> io::Result<Stamp> {
    let stat = nix::sys::stat::fstatat(directory, name, nix::fcntl::AtFlags::empty())?;
    Ok(Stamp {
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        size: stat.st_size as u64,
        modified_nanoseconds: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        changed_nanoseconds: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        links: stat.st_nlink as u64,
    })
}

fn nanoseconds(seconds: i64, rest: i64) -> u64 {
    (seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(rest as u64)
}

fn stamp_of(metadata: &fs::Metadata) -> Stamp {
    Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        modified_nanoseconds: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        changed_nanoseconds: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        links: metadata.nlink(),
    }
}

/// File systems whose mappings or locks are not coherent between machines, or not at all.
const INCOHERENT: [(i64, &str); 11] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x7461_636f, "OCFS2"),
];

/// Refuses a directory on a file system that cannot share memory between its users.
pub(crate) fn require_coherent(path: &Path) -> Result<()> {
    let stats = nix::sys::statfs::statfs(path).map_err(|error| Error::io("look at the file system of", path, error.into()))?;
    #[allow(clippy::unnecessary_cast)]
    let kind = stats.filesystem_type().0 as i64;
    match INCOHERENT.iter().find(|(number, _)| *number == kind) {
        Some((_, name)) => Err(Error::new(
            ErrorKind::UnsupportedFilesystem,
            format!(
                "{} lies on {name}, where processes of several machines do not see each other's memory and locks; use a local disk, or vouch with Options::allow_network_filesystem(true) that one machine alone opens it",
                path.display()
            ),
        )),
        None => Ok(()),
    }
}
