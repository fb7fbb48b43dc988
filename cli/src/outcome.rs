//! How a command ends: the exit codes, in one place, and the errors that lead to them.

use std::fmt::Display;
use std::process::ExitCode;
use tastypod::ErrorKind;

/// What a command that went through came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is done.
    Done,
    /// Some tasks failed, or items were refused, or a key is absent.
    SomeFailed,
    /// There was nothing to do.
    Nothing,
    /// What was looked at contradicts itself.
    Corrupt,
    /// Ended by a signal before all was done.
    Interrupted(i32),
}

/// For `--help`: what `code` says.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    some tasks failed, some items were refused, a key is absent, or the system failed
  2    usage: arguments that make no sense, or no store where one was named
  3    nothing to do, or nothing to show
  4    corrupt: stored bytes contradict themselves
  128+ ended by that signal before all was done (130: Ctrl-C)";

impl Outcome {
    pub fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::SomeFailed => 1,
            Outcome::Nothing => 3,
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
