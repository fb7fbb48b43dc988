//! One attempt at one task: a child, what it writes, and how it ends.

use super::family::Family;
use super::spawn::{Child, Program, Spawner};
use super::stop::Stop;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// From asking a task to end until it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// How often to look whether all that a task has started has ended.
const LOOK: Duration = Duration::from_millis(10);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Signalled(i32),
    /// It took longer than it may, and was stopped.
    TimedOut,
    /// The run is to stop.
    Stopped,
    /// Somebody else has the task by now.
    Lost,
}

/// What a stream brought.
#[derive(Debug, Default)]
pub struct Captured {
    /// Its beginning, as much as is wanted of it.
    pub bytes: Vec<u8>,
    /// How many there were.
    pub total: u64,
}

#[derive(Debug)]
pub struct Attempt {
    pub end: End,
    pub seconds: f64,
    /// Standard output and error.
    pub streams: [Captured; 2],
    /// Processes of it that could not be ended.
    pub left: Vec<String>,
}

/// What an attempt is made with.
pub struct Job<'a> {
    pub path: &'a CStr,
    pub arguments: &'a [CString],
    pub environment: &'a [&'a CStr],
    /// The entry of the environment that names the attempt.
    pub mark: &'a str,
    pub input: BorrowedFd<'a>,
    pub timeout: Option<Duration>,
    /// How often `beat` is called.
    pub beat_every: Option<Duration>,
    /// How many bytes of a stream are wanted.
    pub kept: usize,
}

/// A stream that is being read.
struct Stream {
    file: Option<std::fs::File>,
    captured: Captured,
}

impl Stream {
    /// Reads once, which does not wait since there is something, or the end.
    fn read(&mut self, buffer: &mut [u8], kept: usize) {
        let Some(file) = &mut self.file else { return };
        match file.read(buffer) {
            Ok(0) => self.file = None,
            Ok(count) => {
                let room = kept.saturating_sub(self.captured.bytes.len()).min(count);
                self.captured.bytes.extend_from_slice(&buffer[..room]);
                self.captured.total += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => self.file = None,
        }
    }
}

/// Why and when a child is made to end.
struct Ending {
    family: Family,
    why: Option<End>,
    kill_at: Option<Instant>,
    left: Vec<String>,
}

impl Ending {
    /// Asks the child to end, and all that it has started; unless it has ended already, and so done its work.
    fn begin(&mut self, why: End, child: &Child) {
        let has_ended = poll(&mut [PollFd::new(child.ended.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|count| count > 0);
        if self.why.is_none() && !has_ended {
            self.why = Some(why);
            self.family.signal(Signal::SIGTERM);
            // One that is stopped would not see it.
            self.family.signal(Signal::SIGCONT);
            self.kill_at = Some(Instant::now() + GRACE);
        }
    }

    /// Time is over.
    fn kill(&mut self) {
        self.kill_at = None;
        self.left = self.family.kill();
    }

    /// The child has ended. What it has started gets as much time as it had.
    fn finish(&mut self) {
        while self.kill_at.is_some_and(|at| Instant::now() < at) && !self.family.is_alone() {
            std::thread::sleep(LOOK);
        }
        if self.why.is_some() {
            self.kill();
        }
    }
}

fn timeout_until(moment: Option<Instant>) -> PollTimeout {
    let Some(moment) = moment else { return PollTimeout::NONE };
    // Rounded up: a wait that ends too early would be done again at once.
    let milliseconds = moment.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
    i32::try_from(milliseconds).ok().and_then(|milliseconds| PollTimeout::try_from(milliseconds).ok()).unwrap_or(PollTimeout::MAX)
}

impl Job<'_> {
    /// Runs it to its end. `beat` says whether the task is still ours.
    pub fn attempt(
        &self,
        spawner: &mut Spawner,
        slot: &AtomicI32,
        buffer: &mut [u8],
        stop: &Stop,
        beat: impl FnMut() -> bool,
    ) -> nix::Result<Attempt> {
        let (out_reads, out_writes) = pipe2(OFlag::O_CLOEXEC)?;
        let (error_reads, error_writes) = pipe2(OFlag::O_CLOEXEC)?;
        let started = Instant::now();
        let child = spawner.spawn(&Program {
            path: self.path,
            arguments: self.arguments,
            environment: self.environment,
            streams: [self.input, out_writes.as_fd(), error_writes.as_fd()],
            slot,
        })?;
        drop((out_writes, error_writes));
        let mut streams = [out_reads, error_reads].map(|reads| Stream { file: Some(reads.into()), captured: Captured::default() });
        let mut ending = self.follow(&child, &mut streams, buffer, stop, started, beat);
        ending.finish();
        // From here on nobody may send signals to that number: the wait gives it back.
        slot.store(0, Ordering::SeqCst);
        let status = loop {
            match waitpid(Pid::from_raw(child.pid), None) {
                Err(Errno::EINTR) => {}
                status => break status?,
            }
        };
        let end = match status {
            WaitStatus::Exited(_, code) => End::Exited(code),
            WaitStatus::Signaled(_, signal, _) => End::Signalled(signal as i32),
            _ => return Err(Errno::ECHILD),
        };
        // Whatever one says that was made to end: its work may be half of it.
        let end = ending.why.unwrap_or(end);
        let seconds = started.elapsed().as_secs_f64();
        Ok(Attempt { end, seconds, streams: streams.map(|stream| stream.captured), left: ending.left })
    }

    /// Reads until the child has ended. Why it was made to end, if it was.
    fn follow(
        &self,
        child: &Child,
        streams: &mut [Stream; 2],
        buffer: &mut [u8],
        stop: &Stop,
        started: Instant,
        mut beat: impl FnMut() -> bool,
    ) -> Ending {
        let deadline = self.timeout.map(|timeout| started + timeout);
        let mut beat_at = self.beat_every.map(|every| started + every);
        let mut ending = Ending { family: Family::new(child.pid, self.mark), why: None, kill_at: None, left: Vec::new() };
        let mut has_ended = false;
        loop {
            let mut polled = Vec::with_capacity(4);
            polled.push(PollFd::new(child.ended.as_fd(), PollFlags::POLLIN));
            for file in streams.iter().filter_map(|stream| stream.file.as_ref()) {
                polled.push(PollFd::new(file.as_fd(), PollFlags::POLLIN));
            }
            if ending.why.is_none() && !has_ended {
                polled.push(stop.poll_fd());
            }
            // What the child started may have the streams open for long: nobody waits for it, only for what is there.
            let until = [deadline.filter(|_| ending.why.is_none()), ending.kill_at, beat_at].into_iter().flatten().min();
            let outcome = poll(&mut polled, if has_ended { PollTimeout::ZERO } else { timeout_until(until) });
            let ready: Vec<bool> = match outcome {
                Ok(_) => polled.iter().map(|fd| fd.any().unwrap_or(true)).collect(),
                Err(Errno::EINTR) => continue,
                Err(_) => {
                    ending.begin(End::Stopped, child);
                    vec![false; polled.len()]
                }
            };
            has_ended |= ready[0];
            let mut is_read = false;
            for (stream, is_ready) in streams.iter_mut().filter(|stream| stream.file.is_some()).zip(&ready[1..]) {
                if *is_ready {
                    is_read = true;
                    stream.read(buffer, self.kept);
                }
            }
            if has_ended {
                // Once more, for what it wrote last.
                if !is_read && ready[0] {
                    return ending;
                }
                continue;
            }
            if stop.is_stopped() {
                ending.begin(End::Stopped, child);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                ending.begin(End::TimedOut, child);
            }
            if let (Some(at), Some(every)) = (beat_at, self.beat_every)
                && now >= at
            {
                beat_at = Some(now + every);
                if !beat() {
                    ending.begin(End::Lost, child);
                }
            }
            if ending.kill_at.is_some_and(|at| now >= at) {
                ending.kill();
            }
        }
    }
}

impl Captured {
    /// As text: whether bytes of it were no UTF-8, and were replaced.
    pub fn text(&self) -> (String, bool) {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => (text.to_owned(), false),
            // A character that was cut in two is no fault of the stream.
            Err(error) if error.error_len().is_none() && self.total > self.bytes.len() as u64 => {
                (String::from_utf8_lossy(&self.bytes[..error.valid_up_to()]).into_owned(), false)
            }
            Err(_) => (String::from_utf8_lossy(&self.bytes).into_owned(), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Captured;

    #[test]
    fn text_that_is_cut_in_a_character_is_no_fault() {
        let whole = "aä".as_bytes();
        assert_eq!(Captured { bytes: whole.to_vec(), total: 3 }.text(), ("aä".to_owned(), false));
        assert_eq!(Captured { bytes: whole[..2].to_vec(), total: 3 }.text(), ("a".to_owned(), false));
        assert_eq!(Captured { bytes: whole[..2].to_vec(), total: 2 }.text(), ("a\u{fffd}".to_owned(), true));
    }
}
