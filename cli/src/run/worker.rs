//! A worker: claims a task, attempts it, and writes down how that went, until nothing is left.

use super::guard::Guard;
use super::job::{Attempt, Captured, End, Job};
use super::joblog::Joblog;
use super::printer::{Printer, Shown};
use super::program::Resolved;
use super::spawn::Spawner;
use super::stop::{Halt, Stop, Tally};
use super::template::{Fill, Template};
use crate::outcome::Trouble;
use crate::{duration, outcome};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Map, Value, json};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tastypod::{Claim, ErrorKind, Next, Retry, Tracker, Version};

/// How long a worker sleeps for a task before it looks whether the run is over.
const NAP: Duration = Duration::from_millis(100);

/// What a task gets on standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Input {
    /// Its key, on a line
    Key,
    /// A line of JSON: {"key": …, "value": …}
    Json,
}

/// Tasks whose run was killed. The only try of a task is not used up by that; where somebody said how many there are, a kill counts as one.
#[derive(Debug)]
pub struct Deaths {
    do_count: bool,
    /// When there was nothing to put back.
    seen: Mutex<Option<Version>>,
}

impl Deaths {
    pub fn new(do_count: bool) -> Deaths {
        Deaths { do_count, seen: Mutex::new(None) }
    }

    /// Puts them back. How many. This comes to an end with tasks that kill their runs too: each time it takes a run.
    pub fn retry(&self, tracker: &Tracker) -> outcome::Result<usize> {
        if self.do_count || tracker.max_tries() != 1 {
            return Ok(0);
        }
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let version = tracker.version();
        // All workers come here at the end, and each look is one at all tasks.
        if *seen == Some(version) {
            return Ok(0);
        }
        let count = tracker.retry_died()?;
        *seen = (count == 0).then_some(version);
        Ok(count)
    }
}

/// What all workers of a run share.
pub struct Run {
    pub tracker: Tracker,
    pub template: Template,
    pub programs: Resolved,
    /// `NAME=VALUE`, without the entries of a task.
    pub environment: Vec<CString>,
    pub input: Option<Input>,
    pub timeout: Option<Duration>,
    pub kept: usize,
    pub halt: Option<Halt>,
    pub stop: std::sync::Arc<Stop>,
    pub tally: Tally,
    pub printer: Printer,
    pub guard: Guard,
    pub deaths: Deaths,
    pub joblog: Option<Joblog>,
    pub sequence: AtomicU64,
    pub nothing: File,
}

/// What the attempt before may have left in a task and this one has to overwrite.
const OPTIONAL: [&str; 5] = ["signal", "stdout_bytes", "stderr_bytes", "stdout_lossy", "stderr_lossy"];

impl Run {
    /// The next task and its number; nothing where the run is over.
    fn next(&self) -> outcome::Result<Option<(Claim, u64)>> {
        let number = || self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        while !self.stop.is_draining() {
            match self.tracker.claim_wait(NAP)? {
                Next::Task(claim) => return Ok(Some((claim, number()))),
                Next::TimedOut => {}
                Next::Finished if self.deaths.retry(&self.tracker)? > 0 => {}
                Next::Finished => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Works until nothing is left.
    pub fn work(&self, worker: usize) {
        let mut spawner = Spawner::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.next() {
                Ok(Some((claim, sequence))) => {
                    let key = claim.key().clone();
                    let outcome = self.attempt(claim, worker, sequence, &mut spawner, &mut buffer);
                    let shown = outcome.unwrap_or_else(|trouble| {
                        self.stop.fail(trouble);
                        Shown::default()
                    });
                    if !self.printer.end(&self.tracker, key, shown) {
                        self.stop.drain();
                    }
                }
                Ok(None) => return,
                Err(trouble) => return self.stop.fail(trouble),
            }
        }
    }

    fn attempt(&self, claim: Claim, worker: usize, sequence: u64, spawner: &mut Spawner, buffer: &mut [u8]) -> outcome::Result<Shown> {
        let key = claim.key().to_string();
        let fill = Fill { key: &key, sequence, worker: worker + 1 };
        let mark = self.guard.mark(sequence);
        let slot = self.guard.slot(worker);
        slot.sequence.store(sequence, Ordering::SeqCst);
        let prepared = self.template.fill(&fill).and_then(|arguments| {
            let path = self.programs.path(&arguments[0])?;
            let own = [
                format!("TASTYPOD_KEY={key}"),
                format!("TASTYPOD_ATTEMPT={}", claim.tries()),
                format!("TASTYPOD_SLOT={}", worker + 1),
                mark.clone(),
            ];
            let own = own.map(|entry| CString::new(entry).map_err(|_| "the key holds a NUL, and the environment cannot".to_owned()));
            Ok((arguments, path, own.into_iter().collect::<Result<Vec<_>, _>>()?))
        });
        let (arguments, path, own) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return self.failed(claim, &why, &json!({"exit": null})),
        };
        let mut environment: Vec<&CStr> = self.environment.iter().map(CString::as_c_str).collect();
        environment.extend(own.iter().map(CString::as_c_str));
        let input = self.input.map(|input| input_of(input, &claim)).transpose()?;
        let job = Job {
            path: &path,
            arguments: &arguments,
            environment: &environment,
            mark: &mark,
            input: input.as_ref().unwrap_or(&self.nothing).as_fd(),
            timeout: self.timeout,
            beat_every: self.tracker.lease().map(|lease| lease / 3),
            kept: if self.printer.is_printing() { usize::MAX } else { self.kept },
        };
        let is_ours = || !claim.heartbeat().is_err_and(|error| error.kind() == ErrorKind::LeaseLost);
        match job.attempt(spawner, &slot.group, buffer, &self.stop, is_ours) {
            Ok(attempt) => {
                let noted = self
                    .joblog
                    .as_ref()
                    .map_or(Ok(()), |joblog| joblog.note(sequence, &attempt, &self.template.shown(&fill).unwrap_or_default()));
                // The tracker is told in any case: it is what counts.
                let shown = self.note(claim, attempt)?;
                noted.map(|()| shown)
            }
            Err(error @ (Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)) => {
                claim.release()?;
                Err(Trouble::system(format!("start {}", arguments[0].to_string_lossy()), error))
            }
            Err(error) => {
                let why = format!("cannot run {}: {}", arguments[0].to_string_lossy(), error.desc());
                self.failed(claim, &why, &json!({"exit": null}))
            }
        }
    }

    /// Writes down how an attempt ended; what it wrote, if that is to be shown.
    fn note(&self, claim: Claim, attempt: Attempt) -> outcome::Result<Shown> {
        if !attempt.left.is_empty() {
            self.printer.say(&format!("{}: these could not be ended: {}", claim.key(), attempt.left.join(", ")));
        }
        let fields = || self.fields(&claim, &attempt);
        let is_over = match attempt.end {
            End::Exited(0) => {
                let fields = fields();
                self.ended(claim.done_with(fields))?;
                self.tally.succeeded.fetch_add(1, Ordering::SeqCst);
                self.halt();
                true
            }
            End::Exited(code) => {
                let fields = fields();
                self.failed(claim, &format!("exit code {code}"), &fields)?.is_over
            }
            End::Signalled(signal) => {
                let name = nix::sys::signal::Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
                let fields = fields();
                self.failed(claim, &format!("killed by {name}"), &fields)?.is_over
            }
            End::TimedOut => {
                let fields = fields();
                let limit = duration::shown(self.timeout.unwrap_or_default());
                self.failed(claim, &format!("timed out after {limit}"), &fields)?.is_over
            }
            End::Stopped => {
                self.ended(claim.release())?;
                return Ok(Shown::default());
            }
            End::Lost => {
                eprintln!("tastypod: {}: its lease ran out and another runner has it; this attempt was stopped", claim.key());
                return Ok(Shown::default());
            }
        };
        Ok(Shown { streams: Some(attempt.streams), is_over })
    }

    /// A task that somebody else took, or removed, is his: that is said, and no more.
    fn ended<T>(&self, outcome: tastypod::Result<T>) -> outcome::Result<Option<T>> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::LeaseLost => {
                eprintln!("tastypod: {error}");
                Ok(None)
            }
            outcome => Ok(outcome.map(Some)?),
        }
    }

    fn failed(&self, claim: Claim, why: &str, fields: &impl serde::Serialize) -> outcome::Result<Shown> {
        let retry = self.ended(claim.fail_with(why, fields))?;
        self.tally.failed.fetch_add(1, Ordering::SeqCst);
        self.halt();
        Ok(Shown { streams: None, is_over: retry == Some(Retry::Never) })
    }

    fn halt(&self) {
        if let Some(halt) = &self.halt {
            halt.look(&self.tally, &self.stop);
        }
    }

    /// What is kept of an attempt in the task.
    fn fields(&self, claim: &Claim, attempt: &Attempt) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("exit".to_owned(), if let End::Exited(code) = attempt.end { code.into() } else { Value::Null });
        if let End::Signalled(signal) = attempt.end {
            fields.insert("signal".to_owned(), signal.into());
        }
        fields.insert("seconds".to_owned(), ((attempt.seconds * 1e6).round() / 1e6).into());
        for (name, stream) in ["stdout", "stderr"].into_iter().zip(&attempt.streams) {
            let kept = Captured { bytes: stream.bytes[..stream.bytes.len().min(self.kept)].to_vec(), total: stream.total };
            let (text, is_lossy) = kept.text();
            fields.insert(name.to_owned(), text.into());
            if stream.total > kept.bytes.len() as u64 {
                fields.insert(format!("{name}_bytes"), stream.total.into());
            }
            if is_lossy {
                fields.insert(format!("{name}_lossy"), true.into());
            }
        }
        for name in OPTIONAL {
            if !fields.contains_key(name) && claim.part().get(name).is_some() {
                fields.insert(name.to_owned(), Value::Null);
            }
        }
        fields
    }
}

/// A file to be read from its beginning, so that nobody has to wait until the task reads.
fn input_of(input: Input, claim: &Claim) -> outcome::Result<File> {
    let text = match input {
        Input::Key => claim.key().to_string(),
        Input::Json => json!({"key": claim.key(), "value": claim.value()?}).to_string(),
    };
    let memory = memfd_create(c"task", MFdFlags::MFD_CLOEXEC).map_err(|error| Trouble::system("make a file in memory", error))?;
    let mut file = File::from(memory);
    let written = writeln!(file, "{text}").and_then(|()| file.rewind());
    written.map_err(|error| Trouble::io("write a file in memory", &error))?;
    Ok(file)
}
