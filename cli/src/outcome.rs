//! How a command ends: the exit codes, in one place, and the errors that lead to them.

use std::fmt::Display;
use std::process::ExitCode;
use tastypod::ErrorKind;

/// What a command that went through came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is done, also where there was nothing to do.
    Done,
    /// Some tasks stand failed, or items were refused.
    SomeFailed,
    /// What was named is not there.
    Absent,
    /// What was looked at contradicts itself.
    Corrupt,
    /// Ended by a signal before all was done.
    Interrupted(i32),
}

/// For `--help`: what `code` says.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done, also where there was nothing to do or to show; of run: all tasks of the store are done
  1    tasks stand failed or aborted, in this run or from before; some items were refused; or the system failed
  2    usage: arguments that make no sense
  3    what was named is not there: a store, a key, a task
  4    corrupt: stored bytes contradict themselves
  128+ ended by that signal with work left (130: Ctrl-C)";

impl Outcome {
    pub fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::SomeFailed => 1,
            Outcome::Absent => 3,
            Outcome::Corrupt => 4,
            Outcome::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(130),
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(outcome.code())
    }
}

/// Why a command did not go through: the exit code, and what is said on standard error.
#[derive(Debug)]
pub struct Trouble {
    pub code: u8,
    pub message: String,
}

pub type Result<T = Outcome> = std::result::Result<T, Trouble>;

impl Trouble {
    /// The arguments are at fault.
    pub fn usage(message: impl Display) -> Trouble {
        Trouble { code: 2, message: message.to_string() }
    }

    /// A store, a key or a task is not there.
    pub fn absent(message: impl Display) -> Trouble {
        Trouble { code: 3, message: message.to_string() }
    }

    /// The system, or something on the way, is at fault.
    pub fn failed(message: impl Display) -> Trouble {
        Trouble { code: 1, message: message.to_string() }
    }

    pub fn io(what: impl Display, error: &std::io::Error) -> Trouble {
        Trouble::failed(format!("{what}: {error}"))
    }

    pub fn system(what: impl Display, error: nix::Error) -> Trouble {
        Trouble::io(what, &error.into())
    }
}

impl From<tastypod::Error> for Trouble {
    fn from(error: tastypod::Error) -> Trouble {
        let code = match error.kind() {
            ErrorKind::Integrity { .. } => 4,
            ErrorKind::KeyNotFound | ErrorKind::NotFound | ErrorKind::StoreRemoved => 3,
            ErrorKind::WrongKind
            | ErrorKind::InvalidKey
            | ErrorKind::InvalidValue
            | ErrorKind::Conflict
            | ErrorKind::TypeMismatch { .. } => 2,
            _ => 1,
        };
        Trouble { code, message: error.to_string() }
    }
}
