//! Tasks: the values of a tracker, objects with reserved fields.
//!
//! | field | meaning | absent or null |
//! |---|---|---|
//! | `_tries` | how often it was tried, an integer | 0 |
//! | `_done`, `_aborted` | booleans | false |
//! | `_priority` | a number: higher ones come first | 0 |
//! | `_not_before` | seconds since 1970, a number: not claimed before | at once |
//! | `_error` | why it went back last | none |

use crate::error::Result as Outcome;
use crate::value::archive::archived::Archive;
use crate::value::editing::edit::{self, Edit};
use crate::value::editing::sum::Number;
use crate::value::reading::node::{Node, Shape};
use crate::value::reading::path::Step;
use crate::value::writing::stored::Arena;
use serde::Serialize;

/// Names of the reserved fields.
pub(crate) mod field {
    pub(crate) const TRIES: &str = "_tries";
    pub(crate) const DONE: &str = "_done";
    pub(crate) const ABORTED: &str = "_aborted";
    pub(crate) const PRIORITY: &str = "_priority";
    pub(crate) const NOT_BEFORE: &str = "_not_before";
    pub(crate) const ERROR: &str = "_error";
}

/// What a tracker needs to know of a value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Task {
    pub(crate) tries: u64,
    pub(crate) done: bool,
    pub(crate) aborted: bool,
    pub(crate) priority: f64,
    /// Microseconds since 1970; 0 for at once.
    pub(crate) not_before: u64,
}

impl Task {
    /// The task that a value is, or why it is none.
    #[inline]
    pub(crate) fn of(value: Node<'_>) -> Result<Task, String> {
        let mut task = Task::default();
        let Shape::Object(entries) = value.shape() else {
            return Err(format!("the value of a task is an object, not {}", value.kind_name()));
        };
        for entry in entries {
            let key = entry.key();
            if !key.starts_with('_') {
                continue;
            }
            let node = Node::Whole(&entry.value);
            match key {
                field::TRIES => task.tries = tries(node)?,
                field::DONE => task.done = flag(node, field::DONE)?,
                field::ABORTED => task.aborted = flag(node, field::ABORTED)?,
                field::PRIORITY => task.priority = number(node, field::PRIORITY)?,
                field::NOT_BEFORE => task.not_before = (number(node, field::NOT_BEFORE)? * 1e6) as u64,
                _ => {}
            }
        }
        Ok(task)
    }

    /// Whether it takes its turn by its place in the order alone.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.tries == 0 && self.priority == 0.0 && self.not_before == 0
    }

    /// Whether it was tried as often as it may be.
    #[inline]
    pub(crate) fn is_exhausted(&self, max_tries: u64) -> bool {
        max_tries != 0 && self.tries >= max_tries
    }
}

/// A change of a task's fields.
pub(crate) enum Change<'a> {
    /// Adds to the tries, of which no more are taken than there are. They stop at the greatest number: a task whose tries cannot be counted would keep others from being claimed.
    Tries(i64),
    Set(&'static str, &'a dyn Setting),
    Flag(&'static str, bool),
    /// Sets all entries of an object.
    Merge(Archive<'a>),
    /// Takes a field out, if it is there.
    Drop(&'static str),
}

/// A value that can be archived without knowing its type.
pub(crate) trait Setting {
    fn archive(&self, arena: &mut Arena) -> Outcome<crate::value::writing::stored::Span>;
}

impl<T: Serialize> Setting for T {
    fn archive(&self, arena: &mut Arena) -> Outcome<crate::value::writing::stored::Span> {
        arena.encode(self)
    }
}

/// Appends a task's value with some changes made one after the other; each or none may change it.
pub(crate) fn change(task: Archive<'_>, changes: &[Change<'_>], out: &mut Vec<u8>) -> Outcome<()> {
    let mut arena = Arena::default();
    let mut current = None;
    for (index, change) in changes.iter().enumerate() {
        let is_last = index + 1 == changes.len();
        let mut settings = Arena::default();
        let task = match &current {
            None => task,
            Some(span) => arena.get(Clone::clone(span)),
        };
        let (name, edit) = match change {
            Change::Tries(number) => match task.node().get(field::TRIES) {
                // What counts as 0, below it or null, is counted on from there.
                Some(node) if node.as_i64().is_none_or(|count| count < 0 || count.checked_add(*number).is_none()) => {
                    let count = tries(node).unwrap_or_default().saturating_add_signed(*number);
                    let span = settings.encode(&count)?;
                    (Some(&field::TRIES), Edit::Set(settings.get(span)))
                }
                _ => (Some(&field::TRIES), Edit::Add(Number::Int(*number))),
            },
            Change::Set(name, value) => {
                let span = value.archive(&mut settings)?;
                (Some(name), Edit::Set(settings.get(span)))
            }
            Change::Flag(name, value) => (Some(name), Edit::Set(crate::value::writing::stored::truth(*value))),
            Change::Merge(fields) => (None, Edit::Merge(*fields)),
            Change::Drop(name) => (Some(name), Edit::Remove),
        };
        let steps: &[Step] = &name.map(|name| Step::Key((*name).into())).into_iter().collect::<smallvec::SmallVec<[Step; 1]>>();
        let mut next = Arena::default();
        if is_last {
            if !edit::apply(task, steps, edit, out)?.changed {
                out.extend_from_slice(task.as_bytes());
            }
            return Ok(());
        }
        let (changed, (), span) = next.append(|out| Ok((edit::apply(task, steps, edit, out)?.changed, ())))?;
        if changed {
            (arena, current) = (next, Some(span));
        }
    }
    out.extend_from_slice(task.as_bytes());
    Ok(())
}

#[cold]
fn wrong(name: &str, expected: &str, node: Node<'_>) -> String {
    format!("{name} of a task is {expected}, not {}", node.kind_name())
}

#[inline]
fn tries(node: Node<'_>) -> Result<u64, String> {
    match node.shape() {
        // tastypy counts below 0; for every gate that is 0.
        Shape::Int(tries) => Ok(u64::try_from(tries).unwrap_or(0)),
        Shape::Uint(tries) => Ok(tries),
        Shape::Null => Ok(0),
        _ => Err(wrong(field::TRIES, "an integer", node)),
    }
}

#[inline]
fn flag(node: Node<'_>, name: &str) -> Result<bool, String> {
    match node.shape() {
        Shape::Bool(value) => Ok(value),
        Shape::Null => Ok(false),
        _ => Err(wrong(name, "a boolean", node)),
    }
}

fn number(node: Node<'_>, name: &str) -> Result<f64, String> {
    if node.is_null() { Ok(0.0) } else { node.as_f64().ok_or_else(|| wrong(name, "a number", node)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Encoded;

    fn of(json: &str) -> Result<Task, String> {
        Task::of(Encoded::from_json(json).unwrap().archive().node())
    }

    #[test]
    fn tries_stop_at_the_greatest_number_and_null_counts_as_none() {
        let cases = [
            ("{}", 1, 1),
            (r#"{"_tries":null}"#, 1, 1),
            (r#"{"_tries":null}"#, 0, 0),
            (r#"{"_tries":9223372036854775807}"#, 1, 1 << 63),
            (r#"{"_tries":9223372036854775808}"#, -1, (1 << 63) - 1),
            (r#"{"_tries":18446744073709551614}"#, 1, u64::MAX),
            (r#"{"_tries":18446744073709551615}"#, 1, u64::MAX),
        ];
        for (json, number, expected) in cases {
            let encoded = Encoded::from_json(json).unwrap();
            let mut arena = Arena::default();
            let ((), (), span) = arena.append(|out| change(encoded.archive(), &[Change::Tries(number)], out).map(|()| ((), ()))).unwrap();
            assert_eq!(Task::of(arena.get(span).node()).map(|task| task.tries), Ok(expected), "{json} {number}");
        }
    }

    #[test]
    fn missing_fields_and_null_read_as_their_defaults() {
        assert_eq!(of("{}"), Ok(Task::default()));
        assert_eq!(of(r#"{"_tries":null,"_done":null,"_aborted":null,"_priority":null,"_not_before":null}"#), Ok(Task::default()));
        let task = of(r#"{"x":1,"_not_before":1.5,"_priority":-2,"_aborted":true,"_done":true,"_tries":7}"#);
        assert_eq!(task, Ok(Task { tries: 7, done: true, aborted: true, priority: -2.0, not_before: 1_500_000 }));
        assert_eq!(of(r#"{"_not_before":-5}"#).unwrap().not_before, 0);
        assert_eq!(of(r#"{"_tries":-1}"#).unwrap().tries, 0);
    }

    #[test]
    fn other_values_are_no_tasks() {
        for json in ["1", "[]", "null", r#"{"_tries":0.5}"#, r#"{"_done":1}"#, r#"{"_aborted":"no"}"#, r#"{"_priority":"high"}"#] {
            assert!(of(json).is_err(), "{json}");
        }
    }
}
