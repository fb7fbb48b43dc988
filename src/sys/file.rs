//! Files and directories: opening, allocating, stamping, and the advisory lock that serialises openers.

use super::crash;
use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Whether no file has this number.
#[allow(unsafe_code)]
fn is_closed(number: RawFd) -> bool {
    // SAFETY: the call takes no memory, and only looks.
    unsafe { libc::fcntl(number, libc::F_GETFD) == -1 }
}

/// Calls `open` so that what it opens gets a number above 2: a program may run without standard input, output or error, and what it
/// prints would go into a file of the store that got such a number.
pub(super) fn off_standard<T>(open: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut in_the_way = Vec::new();
    while (0..=2).any(is_closed) {
        in_the_way.push(File::open("/dev/null")?);
    }
    open()
}

/// A file that stays open for long. A program may close descriptors that it does not know, as daemons do, and open files of its own under
/// their numbers: so it is looked at, each time, whether the number is this file's still.
#[derive(Debug)]
pub(crate) struct Kept {
    file: ManuallyDrop<File>,
    device: u64,
    inode: u64,
    /// Where this open file's position stands, which nothing else uses: who opens the same file once more may get the same number.
    mark: Option<u64>,
}

/// Puts an open file's position where no other's is likely to be.
fn mark(file: &File) -> Option<u64> {
    // Within what every file system can say a file's length is.
    let mark = super::process::random_words::<1>()[0] >> 24;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    (is_file && nix::unistd::lseek(file, mark as i64, nix::unistd::Whence::SeekSet).is_ok()).then_some(mark)
}

impl Kept {
    pub(crate) fn new(file: File) -> io::Result<Kept> {
        let metadata = file.metadata()?;
        Ok(Kept { device: metadata.dev(), inode: metadata.ino(), mark: mark(&file), file: ManuallyDrop::new(file) })
    }

    /// The same where it does not matter before it is used that it cannot be looked at.
    pub(crate) fn of(file: File) -> Kept {
        let (device, inode) = file.metadata().map_or((0, 0), |metadata| (metadata.dev(), metadata.ino()));
        Kept { device, inode, mark: mark(&file), file: ManuallyDrop::new(file) }
    }

    /// Whether its number is its own still.
    pub(crate) fn is_there(&self) -> bool {
        self.file().is_ok()
    }
}

#[allow(unsafe_code)]
impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_there() {
            // SAFETY: dropped once, here, and not used afterwards. Otherwise the number is somebody else's to close.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// A file, or one that has to be looked at before it is used.
pub(crate) trait Open {
    fn file(&self) -> io::Result<&File>;
}

impl Open for File {
    fn file(&self) -> io::Result<&File> {
        Ok(self)
    }
}

impl Open for Kept {
    fn file(&self) -> io::Result<&File> {
        let is_marked =
            |mark: u64| nix::unistd::lseek(&*self.file, 0, nix::unistd::Whence::SeekCur).is_ok_and(|position| position as u64 == mark);
        match self.file.metadata() {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == (self.device, self.inode) && self.mark.is_none_or(is_marked) => {
                Ok(&self.file)
            }
            _ => Err(io::Error::other(
                "its descriptor was closed by this program, which must leave those alone that it has not opened; open the store again",
            )),
        }
    }
}

/// Opens an existing file.
pub(crate) fn open(path: &Path, writable: bool) -> io::Result<File> {
    off_standard(|| OpenOptions::new().read(true).write(writable).open(path))
}

/// Opens a file to be read. Whatever else stands there is `InvalidInput`, and not waited for, as the other end of a pipe would be.
pub(crate) fn open_only_file(path: &Path) -> io::Result<File> {
    let no_file = || Err(io::ErrorKind::InvalidInput.into());
    match off_standard(|| OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)) {
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
    match off_standard(|| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)) {
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

/// Fails where this process may not make a file so long: the system would not only refuse it, but end the process by a signal.
pub(crate) fn require_length(end: u64) -> io::Result<()> {
    let (limit, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE)?;
    if end <= limit { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EFBIG)) }
}

/// Whether the file system cannot do what it was asked for.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

/// To look before one asks for so much.
const LARGE: u64 = 1 << 20;

/// Bytes that are free on a file's disk for everybody: some file systems keep a few even from who may take what is kept for the system.
/// Of a file in memory nobody says how much there is.
pub(crate) fn disk_left(file: &impl Open) -> io::Result<Option<u64>> {
    let disk = nix::sys::statvfs::fstatvfs(file.file()?)?;
    #[allow(clippy::unnecessary_cast)]
    let left = (disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64);
    Ok((disk.blocks() > 0).then_some(left))
}

/// Makes the file `length` bytes long at least, with disk blocks from `offset` on, so that no later store into a mapping
/// of it can fail for want of space. Never changes a byte or shrinks the file: it may be repeated or come late.
pub(crate) fn allocate(file: &impl Open, offset: u64, length: u64) -> io::Result<()> {
    let file = file.file()?;
    require_length(offset.saturating_add(length))?;
    if length > LARGE && disk_left(file).is_ok_and(|left| left.is_some_and(|left| left < length)) {
        // Some file systems keep what they had found of it when they notice that it is too little, and all others go without.
        return Err(io::ErrorKind::StorageFull.into());
    }
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

/// What the system keeps of a file in memory in one piece, at most. A store into such a piece asks for the blocks of all of it, so on a
/// full disk it ends the process for a hole elsewhere in it. Holes are whole pieces, or nothing is stored beside them through a mapping.
pub(crate) const PIECE_BYTES: u64 = 2 * 1024 * 1024;

/// As [`punch`], for a file that is stored to on both sides: only the whole pieces of the range.
pub(crate) fn punch_pieces(file: &impl Open, start: u64, end: u64) -> bool {
    let (start, end) = (start.next_multiple_of(PIECE_BYTES), end / PIECE_BYTES * PIECE_BYTES);
    start < end && punch(file, start, end - start)
}

/// As [`allocate`], for a file that is stored to there: with the rest of the pieces that the range begins and ends in, up to `file_end`.
pub(crate) fn allocate_pieces(file: &impl Open, start: u64, end: u64, file_end: u64) -> io::Result<()> {
    let (start, end) = (start / PIECE_BYTES * PIECE_BYTES, end.next_multiple_of(PIECE_BYTES).min(file_end));
    allocate(file, start, end - start)
}

/// Gives a range's blocks back to the file system; it reads as zeros from then on. The file keeps its length. False where
/// the file system cannot.
pub(crate) fn punch(file: &impl Open, offset: u64, length: u64) -> bool {
    let Ok(file) = file.file() else { return false };
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
pub(crate) fn disk_bytes(file: &impl Open) -> io::Result<u64> {
    Ok(file.file()?.metadata()?.blocks() * 512)
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
pub(crate) fn write_at(file: &impl Open, bytes: &[u8], offset: u64) -> io::Result<()> {
    let file = file.file()?;
    require_length(offset.saturating_add(bytes.len() as u64))?;
    file.write_all_at(bytes, offset)?;
    crash::point("file written");
    Ok(())
}

/// Reads up to `length` bytes at `offset`; fewer at the file's end.
pub(crate) fn read_at(file: &impl Open, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let file = file.file()?;
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
pub(crate) fn sync_data(file: &impl Open) -> io::Result<()> {
    let file = file.file()?;
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
    let directory = open(path, false)?;
    let outcome = directory.sync_all();
    crash::about(|| name_of(&directory));
    crash::point("directory synced");
    outcome
}

/// Opens a file once more, whatever stands at its path by now: what the system says of failed writes is said to each
/// open file by itself.
pub(crate) fn open_again(file: &impl Open) -> io::Result<File> {
    open(&path_of(file.file()?), true)
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
    off_standard(|| Ok(File::from(nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?)))
}

/// The same open file once more.
pub(crate) fn duplicate(file: &impl Open) -> io::Result<File> {
    off_standard(|| file.file()?.try_clone())
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

pub(crate) fn stamp(file: &impl Open) -> io::Result<Stamp> {
    Ok(stamp_of(&file.file()?.metadata()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_whole_pieces_and_what_is_stored_to_has_none_in_its_pieces() {
        let file = tempfile::tempfile().unwrap();
        let bytes = 4 * PIECE_BYTES;
        let blocks = || disk_bytes(&file).unwrap();
        write_at(&file, &vec![1; bytes as usize], 0).unwrap();
        let full = blocks();
        assert!(full >= bytes);
        // Less than a piece, and one that is cut on both sides.
        assert!(!punch_pieces(&file, 4096, PIECE_BYTES - 4096) && !punch_pieces(&file, 4096, 2 * PIECE_BYTES - 4096));
        assert!(punch_pieces(&file, 4096, bytes - 4096));
        assert_eq!(full - blocks(), 2 * PIECE_BYTES);
        assert_eq!(read_at(&file, PIECE_BYTES - 1, 2).unwrap(), [1, 0]);
        allocate_pieces(&file, 2 * PIECE_BYTES - 4096, 2 * PIECE_BYTES, bytes).unwrap();
        assert_eq!(full - blocks(), PIECE_BYTES);
        allocate_pieces(&file, bytes - 8192, bytes - 4096, bytes - 4096).unwrap();
        assert_eq!((full - blocks(), file.metadata().unwrap().len()), (PIECE_BYTES, bytes));
    }
}
