//! `tastypod run`: does the tasks of a tracker, several at a time.

mod bar;
mod commands;
mod family;
mod guard;
mod job;
mod joblog;
mod printer;
mod program;
mod spawn;
mod stop;
mod template;
mod worker;

pub use bar::Bar;

use crate::duration::{Backoff, OrNone};
use crate::outcome::{Outcome, Result, Trouble};
use crate::{duration, output, store};
use guard::Guard;
use joblog::Joblog;
use printer::{Printer, Printing};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stop::{Halt, Stop, Tally};
use tastypod::Tracker;
use template::{Fill, Template};
use worker::{Deaths, Input, Run};

/// Does the tasks of a tracker, each with a command, several at a time.
///
/// Any number of runs may work on one tracker, from any shells: each task is done by one of them. Kill any, or all: what was done stays done,
/// what was under way goes back, and the next run goes on. The command is run without a shell, each argument as it stands but for
/// placeholders. Output, exit code and duration are kept in the task: `tastypod get TRACKER TASK`.
///
/// The first Ctrl-C lets the tasks under way finish, the second stops them, and so do SIGTERM and SIGHUP.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// The tracker's directory
    tracker: PathBuf,
    /// Tasks at the same time (default: one for each processor)
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// How often a task may be tried, for all runs and lastingly; 0 is without limit. A run that is killed has tried its tasks. Without: once (a
    /// new tracker), and what a killed run had under way is tried again
    #[arg(long)]
    max_tries: Option<u64>,
    /// How long a task waits after its n-th failure: FIRST[,FACTOR[,LONGEST]], such as 1s,2,1h; or none. Lastingly
    #[arg(long, value_parser = duration::parse_backoff, value_name = "BACKOFF")]
    backoff: Option<OrNone<Backoff>>,
    /// After how long without a sign of life of a run others may take its tasks, such as 60s; or none: when it has died. Lastingly
    #[arg(long, value_parser = duration::parse_or_none, value_name = "DURATION")]
    lease: Option<OrNone<Duration>>,
    /// Stop a task that takes longer: it failed
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// When to give up: now,fail=1 stops all at the first failure, soon,fail=10% finishes what is under way; also success=COUNT
    #[arg(long)]
    halt: Option<Halt>,
    /// Say what would be run, in order, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what tasks write, each in one piece as it ends
    #[arg(short, long)]
    print: bool,
    /// Print what tasks write, in the order of the tasks; of those that were over before this run too, as far as it was kept
    #[arg(short, long)]
    keep_order: bool,
    /// A task gets its key on standard input, or itself as JSON; no key is appended to the command then
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "key", value_name = "FORM")]
    stdin: Option<Input>,
    /// The command is one for /bin/sh: its arguments are joined by blanks, and keys quoted
    #[arg(long)]
    shell: bool,
    /// Append a line for each attempt to this file, as GNU parallel does
    #[arg(long, value_name = "FILE")]
    joblog: Option<PathBuf>,
    /// How many bytes of output and of errors are kept in a task
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES")]
    keep_output: usize,
    /// At the end, one line of JSON on standard output: how far the tracker is, and the attempts of this run
    #[arg(long, conflicts_with_all = ["print", "keep_order", "dry_run"])]
    json: bool,
    /// No bar and no summary
    #[arg(short, long)]
    quiet: bool,
    /// The command and its arguments
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

const HELP: &str = "\
Placeholders in the command:
  {}    the task's key        {/}   without directory           {#}  number of the attempt
  {.}   without extension     {//}  its directory               {%}  number of the worker
                              {/.}  without both
A command without any gets the key as its last argument.

Environment of a task:
  TASTYPOD_KEY      its key
  TASTYPOD_ATTEMPT  1 at its first try
  TASTYPOD_SLOT     as {%}: from 1 to the number of jobs, never that of two tasks at the same time
  TASTYPOD_JOB      names this attempt and all that it starts: they are ended with it where it is stopped

Fields that a task gets: exit (null where a signal ended it), signal, seconds, stdout, stderr; and, where they apply, stdout_bytes (it was
longer than is kept) and stdout_lossy (bytes that were no UTF-8 were replaced).

Example:
  find . -type f -print0 | tastypod add sums.tracker -0
  tastypod run sums.tracker -j 8 --max-tries 3 -- sha256sum {}";

pub fn run(args: &Args) -> Result {
    if args.dry_run {
        return dry_run(args);
    }
    let jobs = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, Into::into), usize::from);
    // First of all, while this process has one thread and nothing open.
    let guard = Guard::start(jobs)?;
    let tracker = store::tracker(&args.tracker)?;
    settle(&tracker, args)?;
    let deaths = Deaths::new(args.max_tries.is_some());
    let again = deaths.retry(&tracker)?;
    if again > 0 && !args.quiet {
        eprintln!("tastypod: {} whose run was killed: tried again", output::grouped(again as u64));
    }
    let progress = tracker.progress();
    if progress.todo + progress.claimed == 0 {
        if args.keep_order {
            let printer = Printer::new(Printing::InOrder, Bar::new(false), &tracker)?;
            printer.finish(&tracker);
            if let Some(trouble) = printer.trouble() {
                return Err(Trouble::failed(trouble));
            }
        }
        if !args.quiet {
            eprintln!("tastypod: nothing to do: {progress}{}", advice(args, progress.failed));
        }
        return Ok(if progress.failed == 0 { Outcome::Done } else { Outcome::SomeFailed });
    }
    let template = args.template();
    let programs = program::Resolved::default();
    if let Some(program) = template.program() {
        let program = CString::new(program).map_err(|_| Trouble::usage("a program's name holds no NUL"))?;
        programs.path(&program).map_err(Trouble::usage)?;
    }
    let joblog = args.joblog.as_deref().map(Joblog::open).transpose()?;
    if let Some(said) = commands::note(&tracker, &args.tracker, &template.unfilled())? {
        eprintln!("tastypod: {said}");
    }
    let bar = Bar::new(!args.quiet);
    let stop = Arc::new(Stop::new()?);
    let said = bar.clone();
    Stop::watch_signals(&stop, move |text| said.say(text))?;
    let printing = match (args.keep_order, args.print) {
        (true, _) => Printing::InOrder,
        (false, true) => Printing::AsTheyEnd,
        (false, false) => Printing::Nothing,
    };
    let run = Run {
        template,
        programs,
        environment: environment(),
        input: args.stdin,
        timeout: args.timeout,
        kept: args.keep_output,
        halt: args.halt,
        stop,
        tally: Tally::default(),
        printer: Printer::new(printing, bar.clone(), &tracker)?,
        guard,
        deaths,
        joblog,
        sequence: Default::default(),
        nothing: File::open("/dev/null").map_err(|error| Trouble::io("/dev/null", &error))?,
        tracker,
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drawing = scope.spawn(|| bar.follow(&run.tracker, &is_over));
        let workers: Vec<_> = (0..jobs)
            .map(|worker| {
                scope.spawn({
                    let run = &run;
                    move || run.work(worker)
                })
            })
            .collect();
        let outcomes: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        drawing.thread().unpark();
        if outcomes.iter().any(std::thread::Result::is_err) {
            run.stop.fail(Trouble::failed("a worker panicked"));
        }
    });
    bar.finish();
    finish(args, run)
}

/// What is left to say, and the exit code.
fn finish(args: &Args, run: Run) -> Result {
    let Run { tracker, stop, tally, printer, guard, .. } = run;
    drop(guard);
    printer.finish(&tracker);
    let progress = tracker.progress();
    let (succeeded, failed) = (tally.succeeded.load(Ordering::SeqCst), tally.failed.load(Ordering::SeqCst));
    if args.json {
        let mut said = crate::status::json_of(&tracker)?;
        said["attempts"] = serde_json::json!({"succeeded": succeeded, "failed": failed});
        output::print(|out| output::line(out, said))?;
    }
    // The first who says what is wrong is right; a store that cannot be saved now is at least as bad as a failed task.
    let closed = tracker.pod().clone().close();
    drop(tracker);
    if let Some(trouble) = stop.take_trouble() {
        return Err(trouble);
    }
    closed?;
    if let Some(trouble) = printer.trouble() {
        return Err(Trouble::failed(trouble));
    }
    if !args.quiet {
        eprintln!("tastypod: {progress}{}", advice(args, progress.failed));
    }
    let is_whole = progress.done == progress.total;
    Ok(match stop.signal() {
        Some(signal) if progress.todo + progress.claimed > 0 => Outcome::Interrupted(signal),
        _ if is_whole && !printer.has_failed() => Outcome::Done,
        _ if progress.failed == 0 && failed == 0 && !stop.is_draining() => Outcome::Done,
        _ => Outcome::SomeFailed,
    })
}

fn advice(args: &Args, failed: usize) -> String {
    if failed == 0 {
        return String::new();
    }
    let tracker = args.tracker.display();
    format!("; why: tastypod failures {tracker}; again: tastypod retry {tracker} ({} failed)", output::grouped(failed as u64))
}

impl Args {
    fn template(&self) -> Template {
        Template::new(&self.command, self.shell, self.stdin.is_none())
    }
}

/// Writes what was asked for into the tracker.
fn settle(tracker: &Tracker, args: &Args) -> Result<()> {
    if let Some(tries) = args.max_tries {
        tracker.set_max_tries(tries)?;
    }
    if let Some(OrNone(lease)) = args.lease {
        if lease.is_some_and(|lease| lease < Duration::from_millis(100)) {
            return Err(Trouble::usage("a lease is at least 100ms: a run gives a sign of life three times in it"));
        }
        tracker.set_lease(lease)?;
    }
    if let Some(OrNone(backoff)) = args.backoff {
        tracker.set_backoff(backoff)?;
    }
    Ok(())
}

/// What a task gets in its environment.
const OWN_ENTRIES: [&str; 4] = ["TASTYPOD_KEY", "TASTYPOD_ATTEMPT", "TASTYPOD_SLOT", family::MARK];

/// This process's environment, without what a run around this one put there.
fn environment() -> Vec<CString> {
    let own = |name: &OsString| OWN_ENTRIES.iter().any(|own| name == own);
    std::env::vars_os()
        .filter(|(name, _)| !own(name))
        .filter_map(|(name, value)| CString::new([name.as_bytes(), value.as_bytes()].join(&b'=')).ok())
        .collect()
}

fn dry_run(args: &Args) -> Result {
    let tracker = store::tracker_to_read(&args.tracker)?;
    let template = args.template();
    let limit = args.max_tries.unwrap_or_else(|| tracker.max_tries());
    let mut sequence = 0;
    output::print(|out| {
        for entry in tracker.iter() {
            let (key, task) = entry?;
            let flag = |name: &str| task.get(name).and_then(serde_json::Value::as_bool).unwrap_or(false);
            let tries = task.get("_tries").and_then(serde_json::Value::as_u64).unwrap_or(0);
            if flag("_done") || flag("_aborted") || limit != 0 && tries >= limit {
                continue;
            }
            sequence += 1;
            let key = key.to_string();
            match template.shown(&Fill { key: &key, sequence, worker: 1 }) {
                Ok(text) => output::line(out, text)?,
                Err(why) => eprintln!("tastypod: {key}: {why}"),
            }
        }
        Ok(())
    })?;
    Ok(Outcome::Done)
}
