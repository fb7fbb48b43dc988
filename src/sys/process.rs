//! Who processes are, whether they live, and which boot and machine this is.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

/// A process: its id and the kernel's tick at which it started, since ids are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// Clock ticks after boot; 0 where /proc does not tell.
    pub(crate) started_ticks: u64,
}

/// This process.
pub(crate) fn current() -> Identity {
    let pid = std::process::id();
    Identity { pid, started_ticks: status(pid).map_or(0, |status| status.started_ticks) }
}

struct Status {
    state: u8,
    threads: u64,
    started_ticks: u64,
}

/// Reads `/proc/PID/stat`; the program's name in it may hold spaces and parentheses, so the fields count from the last.
fn status(pid: u32) -> Option<Status> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let rest = &text[text.iter().rposition(|byte| *byte == b')')? + 1..];
    let rest = std::str::from_utf8(rest).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // The state is field 3, the number of threads field 20, the start time field 22.
    let threads = fields.nth(16)?.parse().ok()?;
    let started_ticks = fields.nth(1)?.parse().ok()?;
    Some(Status { state, threads, started_ticks })
}

/// Whether a process certainly ended: gone, a zombie, or its id in use by another. Where /proc hides it (`hidepid`),
/// a process that exists counts as alive.
pub(crate) fn is_dead(process: Identity) -> bool {
    match status(process.pid) {
        Some(status) => {
            // The first thread of a living process may have ended: it is a zombie then, among others.
            matches!(status.state, b'Z' | b'X' | b'x') && status.threads <= 1
                || (process.started_ticks != 0 && status.started_ticks != process.started_ticks)
        }
        None => {
            let Ok(pid) = i32::try_from(process.pid) else { return true };
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH)
        }
    }
}

/// The process that a thread belongs to.
pub(crate) fn process_of_thread(thread: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Whether a process has a thread, now.
pub(crate) fn has_thread(pid: u32, thread: u32) -> bool {
    // SAFETY: signal 0 is not delivered; the call only tells whether it could be.
    let outcome = unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, 0) };
    outcome == 0 || nix::errno::Errno::last() != nix::errno::Errno::ESRCH
}

/// The name of a program for messages: of this process.
pub(crate) fn program_name() -> String {
    let name = std::env::current_exe().ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    name.or_else(|| fs::read_to_string("/proc/self/comm").ok().map(|name| name.trim_end().to_owned()))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The name of another process's program, for messages, as the kernel cuts it off.
pub(crate) fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "unknown".to_owned(), |name| name.trim_end().to_owned())
}

/// When a process was started.
pub(crate) fn started(pid: u32) -> Option<SystemTime> {
    started_at(status(pid)?.started_ticks)
}

/// When a process that started so many ticks after boot was started.
pub(crate) fn started_at(started_ticks: u64) -> Option<SystemTime> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot_seconds: u64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // SAFETY: sysconf with a valid name reads a constant of the system.
    let ticks_per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|ticks| *ticks > 0)?;
    let after_boot = Duration::from_millis(started_ticks.checked_mul(1000)? / ticks_per_second);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(boot_seconds))?.checked_add(after_boot)
}

/// The kernel's random number of this boot: two words.
pub(crate) fn boot_id() -> io::Result<[u64; 2]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let parse = |part: Option<&str>| {
        part.and_then(|part| u64::from_str_radix(part, 16).ok()).ok_or_else(|| io::Error::other("boot_id has another form"))
    };
    Ok([parse(digits.get(..16))?, parse(digits.get(16..32))?])
}

/// The number of this process's pid namespace, whose thread ids the robust mutex holds.
pub(crate) fn pid_namespace() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

/// The libc in whose form the mutex is: equal numbers can share it.
pub(crate) const LIBC: u64 = if cfg!(target_env = "musl") { 2 } else { 1 };

/// Has a function called when the process exits. Without memory for that it is not called, as after a kill.
pub(crate) fn at_exit(function: extern "C" fn()) {
    // SAFETY: an `extern "C"` function that takes nothing and stays loaded as long as the process does: this crate is
    // linked into the program, or into a library whose own handlers libc runs before it is unloaded.
    unsafe { libc::atexit(function) };
}

/// Random words for seeds and identities, not for secrets.
pub(crate) fn random_words<const N: usize>() -> [u64; N] {
    let mut words = [0u64; N];
    for word in &mut words {
        let mut bytes = [0u8; 8];
        // SAFETY: the buffer is 8 bytes long. A short or failed read leaves zeros, which the mixing below tolerates.
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        *word = u64::from_le_bytes(bytes) ^ super::clock::unix_nanoseconds().rotate_left(32);
    }
    words
}
