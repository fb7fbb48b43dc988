//! What tasks wrote, on standard output and error: each task's in one piece, as it ends or in the order in which they began.

use super::bar::Bar;
use super::job::Captured;
use crate::output;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printing {
    Nothing,
    AsTheyEnd,
    InOrder,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the attempt whose turn it is.
    next: u64,
    waiting: BTreeMap<u64, Option<[Captured; 2]>>,
    failed: Option<io::Error>,
}

#[derive(Debug)]
pub struct Printer {
    printing: Printing,
    bar: Bar,
    state: Mutex<State>,
}

fn write(streams: &[Captured; 2]) -> io::Result<()> {
    // One that does not listen to errors still gets the output.
    let _ = io::stderr().lock().write_all(&streams[1].bytes);
    let mut out = io::stdout().lock();
    out.write_all(&streams[0].bytes)?;
    out.flush()
}

impl Printer {
    /// Attempts are numbered from 1.
    pub fn new(printing: Printing, bar: Bar) -> Printer {
        Printer { printing, bar, state: Mutex::new(State { next: 1, ..State::default() }) }
    }

    pub fn is_printing(&self) -> bool {
        self.printing != Printing::Nothing
    }

    pub fn is_ordered(&self) -> bool {
        self.printing == Printing::InOrder
    }

    /// An attempt is over; nothing where it has no output to show. Whether printing still works.
    pub fn end(&self, sequence: u64, streams: Option<[Captured; 2]>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        match self.printing {
            Printing::Nothing => return true,
            Printing::AsTheyEnd => self.print(streams.as_ref(), &mut state.failed),
            Printing::InOrder => {
                state.waiting.insert(sequence, streams);
                while let Some(streams) = state.waiting.remove(&state.next) {
                    state.next += 1;
                    self.print(streams.as_ref(), &mut state.failed);
                }
            }
        }
        state.failed.is_none()
    }

    fn print(&self, streams: Option<&[Captured; 2]>, failed: &mut Option<io::Error>) {
        if let Some(streams) = streams
            && failed.is_none()
        {
            *failed = self.bar.suspend(|| write(streams)).err();
        }
    }

    /// A message, above the bar.
    pub fn say(&self, text: &str) {
        self.bar.say(text);
    }

    /// Why standard output could not be written, unless its reader just went away.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed.as_ref().filter(|error| !output::is_closed(error)).map(|error| format!("standard output: {error}"))
    }

    /// Whether some output could not be printed.
    pub fn has_failed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failed.is_some()
    }
}
