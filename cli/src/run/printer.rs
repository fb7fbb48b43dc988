//! What tasks wrote, on standard output and error: each task's in one piece, as it ends or in the order of the tasks.

use super::bar::Bar;
use super::job::Captured;
use crate::outcome::Result;
use crate::output;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tastypod::{Key, Tracker};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printing {
    Nothing,
    AsTheyEnd,
    InOrder,
}

/// The tasks of a tracker in the order in which their output is printed, those included that were over before this run.
#[derive(Debug, Default)]
struct Order {
    keys: Vec<Key>,
    /// How many of them have been printed.
    next: usize,
    /// Those that will not be tried again, but are not done: as far as was known at the beginning.
    failed: HashSet<Key>,
    /// What attempts of this run wrote, and whether the last one was the task's last.
    ended: HashMap<Key, (Vec<[Captured; 2]>, bool)>,
    known: HashSet<Key>,
}

/// What is to be printed of an attempt.
#[derive(Debug, Default)]
pub struct Shown {
    pub streams: Option<[Captured; 2]>,
    /// Whether the task will not be tried again.
    pub is_over: bool,
}

#[derive(Debug, Default)]
struct State {
    order: Order,
    failed: Option<io::Error>,
}

impl Order {
    /// By priority, then as they were added: as they are begun, but for what failed and is tried again.
    fn of(tracker: &Tracker) -> Result<Order> {
        let claimed: HashSet<Key> = tracker.claims()?.into_iter().map(|claim| claim.key).collect();
        let failures = tracker.failures().filter(|failure| failure.as_ref().map_or(true, |failure| failure.is_final));
        let failed = failures.map(|failure| Ok(failure?.key)).collect::<Result<HashSet<_>>>()?;
        let failed = failed.into_iter().filter(|key| !claimed.contains(key)).collect();
        let mut keys = Vec::new();
        for entry in tracker.iter() {
            let (key, task) = entry?;
            keys.push((task.get("_priority").and_then(Value::as_f64).unwrap_or(0.0), key));
        }
        keys.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let keys: Vec<Key> = keys.into_iter().map(|(_, key)| key).collect();
        Ok(Order { known: keys.iter().cloned().collect(), keys, next: 0, failed, ended: HashMap::new() })
    }

    /// The output of the task whose turn it is, if it is over, or if nothing is waited for any more.
    fn take(&mut self, tracker: &Tracker, is_end: bool) -> io::Result<Option<Vec<[Captured; 2]>>> {
        let Some(key) = self.keys.get(self.next) else { return Ok(None) };
        if self.ended.get(key).is_some_and(|(_, is_over)| *is_over || is_end) {
            let streams = self.ended.remove(key).map(|(streams, _)| streams);
            self.next += 1;
            return Ok(streams);
        }
        // Somebody else's, or from an earlier run; one that was removed has nothing to show.
        let task = tracker.get(key).map_err(io::Error::other)?.unwrap_or_default();
        if !is_end && !task.is_null() && task["_done"] != true && !self.failed.contains(key) {
            return Ok(None);
        }
        let is_kept = |stream: &str| task.get(format!("{stream}_bytes")).is_none_or(Value::is_null);
        if !(is_kept("stdout") && is_kept("stderr")) {
            let _ = writeln!(io::stderr(), "tastypod: {key}: only the beginning of what it wrote was kept");
        }
        let kept = ["stdout", "stderr"].map(|stream| {
            let bytes = task.get(stream).and_then(Value::as_str).unwrap_or_default().as_bytes().to_vec();
            Captured { total: bytes.len() as u64, bytes }
        });
        self.next += 1;
        Ok(Some(vec![kept]))
    }
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
    pub fn new(printing: Printing, bar: Bar, tracker: &Tracker) -> Result<Printer> {
        let order = if printing == Printing::InOrder { Order::of(tracker)? } else { Order::default() };
        let printer = Printer { printing, bar, state: Mutex::new(State { order, failed: None }) };
        printer.print_in_order(tracker, false);
        Ok(printer)
    }

    pub fn is_printing(&self) -> bool {
        self.printing != Printing::Nothing
    }

    /// An attempt is over; nothing where it has no output to show. Whether printing still works.
    pub fn end(&self, tracker: &Tracker, key: Key, shown: Shown) -> bool {
        match self.printing {
            Printing::Nothing => return true,
            Printing::AsTheyEnd => self.print(shown.streams.as_ref(), &mut self.state().failed),
            Printing::InOrder => {
                let mut state = self.state();
                let order = &mut state.order;
                let ended = order.ended.entry(key.clone()).or_insert_with(|| {
                    // One that was added meanwhile is the last.
                    if !order.known.contains(&key) {
                        order.known.insert(key.clone());
                        order.keys.push(key);
                    }
                    Default::default()
                });
                ended.0.extend(shown.streams);
                ended.1 = shown.is_over;
                drop(state);
                self.print_in_order(tracker, false);
            }
        }
        self.state().failed.is_none()
    }

    /// Nothing will end any more: what is left to print.
    pub fn finish(&self, tracker: &Tracker) {
        self.print_in_order(tracker, true);
    }

    fn print_in_order(&self, tracker: &Tracker, is_end: bool) {
        let state = &mut *self.state();
        while state.failed.is_none() {
            match state.order.take(tracker, is_end) {
                Ok(Some(attempts)) => attempts.iter().for_each(|streams| self.print(Some(streams), &mut state.failed)),
                Ok(None) => return,
                Err(error) => state.failed = Some(error),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.state().failed.as_ref().filter(|error| !output::is_closed(error)).map(|error| format!("standard output: {error}"))
    }

    /// Whether some output could not be printed.
    pub fn has_failed(&self) -> bool {
        self.state().failed.is_some()
    }
}
