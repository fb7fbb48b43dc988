//! When to stop: Ctrl-C once and twice, `--halt`, and what goes wrong.

use crate::outcome::{Result, Trouble};
use nix::poll::PollFd;
use nix::sys::eventfd::{EfdFlags, EventFd};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

/// What all workers look at.
#[derive(Debug)]
pub struct Stop {
    is_draining: AtomicBool,
    is_stopped: AtomicBool,
    /// Readable from the moment on that tasks are to be stopped: nobody reads it.
    stopped: EventFd,
    /// The first signal that came, or 0.
    signal: AtomicI32,
    trouble: Mutex<Option<Trouble>>,
}

impl Stop {
    pub fn new() -> Result<Stop> {
        let stopped = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(|error| Trouble::system("eventfd", error))?;
        Ok(Stop {
            is_draining: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            stopped,
            signal: AtomicI32::new(0),
            trouble: Mutex::new(None),
        })
    }

    /// No further task begins.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    /// Tasks that are under way are stopped, and go back.
    pub fn stop(&self) {
        self.drain();
        self.is_stopped.store(true, Ordering::SeqCst);
        // It fails only where the counter is full, and is readable then too.
        let _ = self.stopped.write(1);
    }

    /// Something is wrong that the next task would meet too. The first one to say so is heard.
    pub fn fail(&self, trouble: impl Into<Trouble>) {
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert_with(|| trouble.into());
        self.drain();
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// To poll for: ready once tasks are to be stopped.
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.stopped.as_fd(), nix::poll::PollFlags::POLLIN)
    }

    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    pub fn take_trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Whether a signal was ignored when this program was started, as nohup and the background of a script do: then it stays so.
    fn is_ignored(signal: i32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default().trim().to_owned();
        u64::from_str_radix(&mask, 16).is_ok_and(|mask| mask & 1 << (signal - 1) != 0)
    }

    /// From now on the first Ctrl-C drains, and stops with the second. Other signals come from whom nobody can ask a second time, and stop.
    /// `say` tells the user which.
    pub fn watch_signals(stop: &std::sync::Arc<Stop>, say: impl Fn(&str) + Send + 'static) -> Result<()> {
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !Stop::is_ignored(*signal));
        let mut signals = Signals::new(wanted).map_err(|error| Trouble::io("watch for signals", &error))?;
        let stop = std::sync::Arc::clone(stop);
        let watch = move || {
            for (count, signal) in signals.forever().enumerate() {
                if count == 0 {
                    stop.signal.store(signal, Ordering::SeqCst);
                }
                if count == 0 && signal == SIGINT {
                    say("no further tasks begin; those under way are finished (again: stop them, they go back)");
                    stop.drain();
                } else {
                    if !stop.is_stopped() {
                        say("stopping the tasks under way; they go back");
                    }
                    stop.stop();
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map_err(|error| Trouble::io("start a thread", &error))?;
        Ok(())
    }
}

/// `--halt`: when to give up, as GNU parallel says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Halt {
    is_now: bool,
    counts_failures: bool,
    limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    Count(u64),
    Percent(f64),
}

impl FromStr for Halt {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Halt, String> {
        let wrong = || {
            format!(
                "{text}: write WHEN,WHAT=COUNT, WHEN being now or soon, WHAT fail or success, COUNT a number or a percentage: now,fail=1 or soon,fail=10%"
            )
        };
        let (when, rest) = text.split_once(',').ok_or_else(wrong)?;
        let (what, count) = rest.split_once('=').ok_or_else(wrong)?;
        let is_now = match when {
            "now" => true,
            "soon" => false,
            _ => return Err(wrong()),
        };
        let counts_failures = match what {
            "fail" => true,
            "success" => false,
            _ => return Err(wrong()),
        };
        let limit = match count.strip_suffix('%') {
            Some(percent) => Limit::Percent(percent.parse().map_err(|_| wrong())?),
            None => Limit::Count(count.parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?),
        };
        Ok(Halt { is_now, counts_failures, limit })
    }
}

/// How the attempts of this run ended.
#[derive(Debug, Default)]
pub struct Tally {
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
}

/// Attempts before a percentage means something.
const PERCENT_AFTER: u64 = 3;

impl Halt {
    /// Stops as it says, where the tally has reached the limit. Whether it has.
    pub fn look(&self, tally: &Tally, stop: &Stop) -> bool {
        let (succeeded, failed) = (tally.succeeded.load(Ordering::SeqCst), tally.failed.load(Ordering::SeqCst));
        let count = if self.counts_failures { failed } else { succeeded };
        let is_reached = match self.limit {
            Limit::Count(limit) => count >= limit,
            Limit::Percent(percent) => {
                let all = succeeded + failed;
                all >= PERCENT_AFTER && count as f64 * 100.0 >= percent * all as f64
            }
        };
        if is_reached {
            if self.is_now { stop.stop() } else { stop.drain() }
        }
        is_reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halt_counts_failures_or_successes() {
        let (tally, stop) = (Tally::default(), Stop::new().unwrap());
        let soon: Halt = "soon,fail=2".parse().unwrap();
        tally.failed.store(1, Ordering::SeqCst);
        assert!(!soon.look(&tally, &stop) && !stop.is_draining());
        tally.failed.store(2, Ordering::SeqCst);
        assert!(soon.look(&tally, &stop) && stop.is_draining() && !stop.is_stopped());
        let now: Halt = "now,fail=50%".parse().unwrap();
        assert!(!now.look(&tally, &stop), "two attempts say nothing");
        tally.succeeded.store(2, Ordering::SeqCst);
        assert!(now.look(&tally, &stop) && stop.is_stopped());
    }

    #[test]
    fn what_is_no_halt_says_what_is() {
        for text in ["", "now", "now,fail", "later,fail=1", "now,fail=0", "now,fail=x%", "soon,done=1"] {
            assert!(text.parse::<Halt>().unwrap_err().contains("now,fail=1"), "{text}");
        }
    }
}
