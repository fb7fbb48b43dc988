//! Random calls on a map, each compared with the same call on a model of it in plain memory.

use super::bytes::Bytes;
use serde_json::{Map, Number, Value, json};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use tastypod::{At, Error, ErrorKind, IterLive, Key, Options, Pod, Readable, Snapshot, Txn, Writable};

/// A step of a path into a value.
#[derive(Debug, Clone)]
pub enum Step {
    Key(String),
    Index(i64),
    /// A step of a JSON pointer.
    Token(String),
}

/// The end of a path into a value.
#[derive(Debug, Clone)]
pub enum Edit {
    Get,
    Contains,
    Len,
    Set(Value),
    SetIfAbsent(Value),
    Remove,
    Add(Number),
    Push(Value),
    Extend(Vec<Value>),
    Insert(i64, Value),
    Pop,
    Merge(Value),
    Splice(Bound<i64>, Bound<i64>, Vec<Value>),
    Update(Value),
}

/// A call that a map and its transactions have alike.
#[derive(Debug, Clone)]
pub enum Call {
    Get(Key),
    RawJson(Key),
    ContainsKey(Key),
    Set(Key, Value),
    SetRawJson(Key, Value),
    Insert(Key, Value),
    SetIfAbsent(Key, Value),
    Remove(Key),
    /// With nothing, the closure fails.
    Update(Key, Option<Value>),
    UpdateOrInsert(Key, Value),
    /// The expected value is the present one, or another.
    CompareExchange(Key, bool, Option<Value>),
    At(Key, Vec<Step>, Edit),
    Extend(Vec<(Key, Value)>),
    Clear,
    Entries,
}

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    Commit,
    RollBack,
    /// As an early error does it: the guard is dropped, which rolls back.
    Drop,
}

#[derive(Debug, Clone)]
pub enum Operation {
    Call(Call),
    ExtendIfAbsent(Vec<(Key, Value)>),
    Transaction(Vec<Call>, End),
    Guard(Vec<Call>, End),
    /// Compares the last snapshot with the model of its time, and takes another.
    Snapshot,
    /// Begins to iterate live, or takes so many steps.
    IterLive(u8),
    /// Compares everything there is to iterate.
    Iterate,
    /// Closes everything and opens again; with bits for control, index and order deleted in between.
    Reopen(u8),
    ReadOnly,
    Compact,
    Verify,
}

type Outcome = Result<Value, String>;

/// The kind of an error without its details.
fn kind_name(kind: &ErrorKind) -> String {
    let text = format!("{kind:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn outcome(result: Result<Value, Error>) -> Outcome {
    result.map_err(|error| kind_name(&error.kind()))
}

fn fail<T>(kind: &str) -> Result<T, String> {
    Err(kind.to_owned())
}

// ---------------------------------------------------------------------------------------------------------------------
// The model
// ---------------------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
struct Entry {
    /// The place in order, never given out twice.
    ordinal: u64,
    key: Key,
    value: Value,
}

#[derive(Debug, Clone, Default)]
struct Model {
    entries: Vec<Entry>,
    next_ordinal: u64,
}

impl Model {
    fn get(&self, key: &Key) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
    }

    fn get_mut(&mut self, key: &Key) -> Option<&mut Value> {
        self.entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
    }

    fn set(&mut self, key: &Key, value: Value) -> Option<Value> {
        if let Some(present) = self.get_mut(key) {
            return Some(std::mem::replace(present, value));
        }
        self.entries.push(Entry { ordinal: self.next_ordinal, key: key.clone(), value });
        self.next_ordinal += 1;
        None
    }

    fn remove(&mut self, key: &Key) -> Option<Value> {
        let place = self.entries.iter().position(|entry| entry.key == *key)?;
        Some(self.entries.remove(place).value)
    }

    fn listing(&self) -> Value {
        self.entries.iter().map(|entry| json!([entry.key.to_json(), entry.value])).collect()
    }

    fn call(&mut self, call: &Call) -> Outcome {
        Ok(match call {
            Call::Get(key) => some(self.get(key).cloned()),
            Call::RawJson(key) => some(self.get(key).map(|value| Value::from(value.to_string()))),
            Call::ContainsKey(key) => Value::from(self.get(key).is_some()),
            Call::Set(key, value) | Call::SetRawJson(key, value) => {
                self.set(key, value.clone());
                Value::Null
            }
            Call::Insert(key, value) => some(self.set(key, value.clone())),
            Call::SetIfAbsent(key, value) => {
                let absent = self.get(key).is_none();
                if absent {
                    self.set(key, value.clone());
                }
                Value::from(absent)
            }
            Call::Remove(key) => some(self.remove(key)),
            Call::Update(key, value) => {
                let Some(present) = self.get_mut(key) else { return fail("KeyNotFound") };
                let Some(value) = value else { return fail("Other") };
                std::mem::replace(present, value.clone())
            }
            Call::UpdateOrInsert(key, value) => {
                let before = self.get(key).cloned().unwrap_or_else(|| Value::from("default"));
                self.set(key, value.clone());
                before
            }
            Call::CompareExchange(key, right, new) => {
                if *right {
                    match new {
                        Some(new) => drop(self.set(key, new.clone())),
                        None => drop(self.remove(key)),
                    }
                }
                Value::from(*right)
            }
            Call::At(key, steps, edit) => return self.edit(key, steps, edit),
            Call::Extend(entries) => {
                for (key, value) in entries {
                    self.set(key, value.clone());
                }
                Value::Null
            }
            Call::Clear => {
                self.entries.clear();
                Value::Null
            }
            Call::Entries => self.listing(),
        })
    }

    fn edit(&mut self, key: &Key, steps: &[Step], edit: &Edit) -> Outcome {
        let reads = matches!(edit, Edit::Get | Edit::Contains | Edit::Len);
        let Some(root) = self.get_mut(key) else {
            return match edit {
                Edit::Get | Edit::Remove => Ok(Value::Null),
                Edit::Contains => Ok(Value::from(false)),
                _ => fail("KeyNotFound"),
            };
        };
        if steps.is_empty() && matches!(edit, Edit::Remove) {
            return Ok(some(self.remove(key)));
        }
        let Some((place, last)) = locate(root, steps, reads)? else {
            return match edit {
                Edit::Get => Ok(Value::Null),
                Edit::Contains => Ok(Value::from(false)),
                _ => fail("KeyNotFound"),
            };
        };
        match last {
            None => edit_present(place, edit),
            Some(last) => edit_part(place, last, edit),
        }
    }
}

fn some(value: Option<Value>) -> Value {
    // A stored null and nothing are told apart by the box.
    value.map_or(Value::Null, |value| json!([value]))
}

/// The value in which the last step is to be taken, and that step; nothing where a part on the way is absent to a reader.
#[allow(clippy::type_complexity)]
fn locate<'v, 's>(root: &'v mut Value, steps: &'s [Step], reads: bool) -> Result<Option<(&'v mut Value, Option<&'s Step>)>, String> {
    let Some((last, way)) = steps.split_last() else { return Ok(Some((root, None))) };
    let mut value = root;
    for step in way {
        match part(value, step)? {
            Part::At(_) => {}
            Part::End | Part::Outside if reads => return Ok(None),
            Part::End | Part::Outside => return fail("KeyNotFound"),
        }
        value = match (value, step) {
            (Value::Object(object), Step::Key(key) | Step::Token(key)) => object.get_mut(key).ok_or("absent")?,
            (Value::Array(array), step) => {
                let length = array.len();
                &mut array[index_of(step, length).flatten().ok_or("absent")?]
            }
            _ => return fail("TypeMismatch"),
        };
    }
    Ok(Some((value, Some(last))))
}

enum Part {
    At(usize),
    /// Absent, and could be added.
    End,
    Outside,
}

/// What an index or a token means in an array: nothing where it is no index, then nothing where it lies outside.
fn index_of(step: &Step, length: usize) -> Option<Option<usize>> {
    let index = match step {
        Step::Index(index) => *index,
        Step::Token(token)
            if token == "0" || !token.is_empty() && !token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            token.parse().unwrap_or(i64::MAX)
        }
        _ => return None,
    };
    let from_start = if index < 0 { i128::from(index) + length as i128 } else { i128::from(index) };
    Some(usize::try_from(from_start).ok().filter(|index| *index < length))
}

fn part(value: &Value, step: &Step) -> Result<Part, String> {
    match (value, step) {
        (Value::Object(object), Step::Key(key) | Step::Token(key)) => {
            Ok(object.keys().position(|name| name == key).map_or(Part::End, Part::At))
        }
        (Value::Array(_), Step::Token(token)) if token == "-" => Ok(Part::End),
        (Value::Array(array), step) => {
            index_of(step, array.len()).ok_or("TypeMismatch".to_owned()).map(|index| index.map_or(Part::Outside, Part::At))
        }
        _ => fail("TypeMismatch"),
    }
}

/// An edit of the part of `parent` that `last` names.
fn edit_part(parent: &mut Value, last: &Step, edit: &Edit) -> Outcome {
    let found = part(parent, last)?;
    if let (Part::At(index), Edit::Remove) = (&found, edit) {
        let taken = match parent {
            Value::Array(array) => Some(array.remove(*index)),
            Value::Object(object) => object.keys().nth(*index).cloned().and_then(|key| object.shift_remove(&key)),
            _ => None,
        };
        return Ok(some(taken));
    }
    match found {
        Part::At(index) => {
            let present = match parent {
                Value::Array(array) => array.get_mut(index),
                Value::Object(object) => object.values_mut().nth(index),
                _ => None,
            };
            edit_present(present.ok_or("absent")?, edit)
        }
        Part::End | Part::Outside if matches!(edit, Edit::Get) => Ok(Value::Null),
        Part::End | Part::Outside if matches!(edit, Edit::Contains) => Ok(Value::from(false)),
        Part::Outside => fail("KeyNotFound"),
        Part::End => {
            let (made, answer) = match edit {
                Edit::Remove => return Ok(Value::Null),
                Edit::Set(value) => (value.clone(), Value::Null),
                Edit::SetIfAbsent(value) => (value.clone(), Value::from(true)),
                Edit::Add(number) => {
                    let sum = sum(&Number::from(0), number)?;
                    (sum.clone(), sum)
                }
                Edit::Push(value) => (json!([value]), Value::Null),
                Edit::Extend(values) => (json!(values), Value::Null),
                _ => return fail("KeyNotFound"),
            };
            match (parent, last) {
                (Value::Object(object), Step::Key(key) | Step::Token(key)) => drop(object.insert(key.clone(), made)),
                (Value::Array(array), _) => array.push(made),
                _ => return fail("TypeMismatch"),
            }
            Ok(answer)
        }
    }
}

fn edit_present(value: &mut Value, edit: &Edit) -> Outcome {
    let bound = |index: i64, length: usize| {
        let from_start = if index < 0 { i128::from(index) + length as i128 } else { i128::from(index) };
        usize::try_from(from_start).ok().filter(|index| *index <= length).ok_or("KeyNotFound".to_owned())
    };
    Ok(match (edit, value) {
        (Edit::Get, value) => some(Some(value.clone())),
        (Edit::Contains, _) => Value::from(true),
        (Edit::Len, Value::Array(array)) => Value::from(array.len()),
        (Edit::Len, Value::Object(object)) => Value::from(object.len()),
        (Edit::Len, Value::String(text)) => Value::from(text.len()),
        (Edit::Set(new), value) => {
            *value = new.clone();
            Value::Null
        }
        (Edit::SetIfAbsent(_), _) => Value::from(false),
        (Edit::Add(number), Value::Number(old)) => {
            let Value::Number(sum) = sum(old, number)? else { return fail("no number") };
            *old = sum.clone();
            Value::Number(sum)
        }
        (Edit::Push(new), Value::Array(array)) => {
            array.push(new.clone());
            Value::Null
        }
        (Edit::Extend(new), Value::Array(array)) => {
            array.extend(new.iter().cloned());
            Value::Null
        }
        (Edit::Insert(index, new), Value::Array(array)) => {
            array.insert(bound(*index, array.len())?, new.clone());
            Value::Null
        }
        (Edit::Pop, Value::Array(array)) => some(array.pop()),
        (Edit::Merge(Value::Object(new)), Value::Object(object)) => {
            object.extend(new.clone());
            Value::Null
        }
        (Edit::Splice(start, end, new), Value::Array(array)) => {
            let length = array.len();
            let after = |index: i64| if index == -1 { Ok(length) } else { bound(index.saturating_add(1), length) };
            let start = match start {
                Bound::Unbounded => 0,
                Bound::Included(index) => bound(*index, length)?,
                Bound::Excluded(index) => after(*index)?,
            };
            let end = match end {
                Bound::Unbounded => length,
                Bound::Included(index) => after(*index)?,
                Bound::Excluded(index) => bound(*index, length)?,
            };
            array.splice(start..end.max(start), new.iter().cloned()).collect()
        }
        (Edit::Update(new), value) => std::mem::replace(value, new.clone()),
        _ => return fail("TypeMismatch"),
    })
}

fn sum(old: &Number, more: &Number) -> Outcome {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    if let (Some(old), Some(more)) = (whole(old), whole(more)) {
        let sum = old + more;
        return i64::try_from(sum).map(Value::from).or_else(|_| u64::try_from(sum).map(Value::from)).map_err(|_| "InvalidValue".to_owned());
    }
    let sum = old.as_f64().unwrap_or_default() + more.as_f64().unwrap_or_default();
    Number::from_f64(sum).map(Value::Number).ok_or_else(|| "InvalidValue".to_owned())
}

// ---------------------------------------------------------------------------------------------------------------------
// The store
// ---------------------------------------------------------------------------------------------------------------------

fn at<'a, In: Readable>(mut at: At<'a, In>, steps: &[Step]) -> At<'a, In> {
    for step in steps {
        at = match step {
            Step::Key(key) => at.key(key),
            Step::Index(index) => at.index(*index),
            Step::Token(token) => at.pointer(&format!("/{}", token.replace('~', "~0").replace('/', "~1"))),
        };
    }
    at
}

fn edit_at(at: &At<'_, impl Writable>, edit: &Edit) -> Outcome {
    let unit = |()| Value::Null;
    outcome(match edit {
        Edit::Get => at.get().map(some),
        Edit::Contains => at.contains().map(Value::from),
        Edit::Len => at.len().map(Value::from),
        Edit::Set(value) => at.set(value).map(unit),
        Edit::SetIfAbsent(value) => at.set_if_absent(value).map(Value::from),
        Edit::Remove => at.remove().map(some),
        Edit::Add(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => at.add(number),
            (_, Some(number)) => at.add(number),
            _ => at.add(number.as_f64().unwrap_or_default()),
        },
        Edit::Push(value) => at.push(value).map(unit),
        Edit::Extend(values) => at.extend(values).map(unit),
        Edit::Insert(index, value) => at.insert(*index, value).map(unit),
        Edit::Pop => at.pop().map(some),
        Edit::Merge(object) => at.merge(object).map(unit),
        Edit::Splice(start, end, values) => at.splice((*start, *end), values).map(Value::from),
        Edit::Update(new) => at.update(|value| std::mem::replace(value, new.clone())),
    })
}

fn pair((key, value): (Key, Value)) -> Value {
    json!([key.to_json(), value])
}

/// The calls that maps and transactions have under the same names.
macro_rules! perform {
    ($name:ident, $type:ty, $entries:expr) => {
        fn $name(handle: &$type, call: &Call, model: &Model) -> Outcome {
            let unit = |()| Value::Null;
            outcome(match call {
                Call::Get(key) => handle.get(key).map(some),
                Call::RawJson(key) => handle.raw_json(key).map(|text| some(text.map(Value::from))),
                Call::ContainsKey(key) => handle.contains_key(key).map(Value::from),
                Call::Set(key, value) => handle.set(key, value).map(unit),
                Call::SetRawJson(key, value) => handle.set_raw_json(key, &value.to_string()).map(unit),
                Call::Insert(key, value) => handle.insert(key, value).map(some),
                Call::SetIfAbsent(key, value) => handle.set_if_absent(key, value).map(Value::from),
                Call::Remove(key) => handle.remove(key).map(some),
                Call::Update(key, Some(new)) => handle.update(key, |value| std::mem::replace(value, new.clone())),
                Call::Update(key, None) => handle.try_update(key, |value| {
                    *value = Value::Null;
                    Err(Error::other("refused"))
                }),
                Call::UpdateOrInsert(key, new) => handle.update_or_insert(key, Value::from("default"), |value| std::mem::replace(value, new.clone())),
                Call::CompareExchange(key, right, new) => {
                    let other = json!({"some other value": 1});
                    let expected = if *right { model.get(key) } else { Some(&other) };
                    handle.compare_exchange(key, expected, new.as_ref()).map(Value::from)
                }
                Call::At(key, steps, edit) => return edit_at(&at(handle.at(key), steps), edit),
                Call::Extend(entries) => handle.extend(entries.iter().map(|(key, value)| (key, value))).map(unit),
                Call::Clear => handle.clear().map(unit),
                #[allow(clippy::redundant_closure_call)]
                Call::Entries => ($entries)(handle),
            })
        }
    };
}

perform!(perform, Pod, |pod: &Pod| pod.iter().map(|entry| entry.map(pair)).collect());
perform!(perform_in, Txn, |txn: &Txn| txn.entries().map(|entries| entries.into_iter().map(pair).collect()));

struct Run {
    path: PathBuf,
    pod: Option<Pod>,
    model: Model,
    snapshot: Option<(Snapshot, Model)>,
    /// With the next ordinal, and the keys that it has yielded.
    live: Option<(IterLive, u64, Vec<Key>)>,
}

impl Run {
    fn pod(&self) -> &Pod {
        self.pod.as_ref().expect("open between operations")
    }

    fn open(&mut self) {
        self.pod = Some(Options::new().file_mode(0o600).open(&self.path).expect("a sound store opens"));
    }

    fn check_snapshot(&mut self) {
        if let Some((snapshot, model)) = self.snapshot.take() {
            for entry in &model.entries {
                assert_eq!(snapshot.get(&entry.key).expect("a snapshot reads"), Some(entry.value.clone()));
            }
            for entry in self.model.entries.iter().filter(|entry| model.get(&entry.key).is_none()) {
                assert!(!snapshot.contains_key(&entry.key).expect("a snapshot reads"));
            }
            assert_eq!(snapshot.len(), model.entries.len());
            let in_place: Value = snapshot
                .entries()
                .map(|entry| {
                    let (key, part) = entry.expect("a snapshot reads");
                    json!([key.to_key().expect("keys are sound").to_json(), part.to_value().expect("values are sound")])
                })
                .collect();
            assert_eq!(in_place, model.listing());
            let owned: Value = snapshot.into_iter().map(|entry| pair(entry.expect("a snapshot reads"))).collect();
            assert_eq!(owned, model.listing());
        }
    }

    fn check_content(&self) {
        let pod = self.pod();
        let listed: Result<Vec<Value>, Error> = pod.iter().map(|entry| entry.map(pair)).collect();
        assert_eq!(Value::from(listed.expect("a sound store iterates")), self.model.listing());
        let keys: Vec<Key> = pod.keys().map(|key| key.expect("keys are sound")).collect();
        let values: Vec<Value> = pod.values().map(|value| value.expect("values are sound")).collect();
        assert!(keys.iter().eq(self.model.entries.iter().map(|entry| &entry.key)));
        assert!(values.iter().eq(self.model.entries.iter().map(|entry| &entry.value)));
        let typed: Vec<(Key, Value)> = pod.iter_as().map(|entry| entry.expect("values are sound")).collect();
        assert_eq!(typed.into_iter().map(pair).collect::<Value>(), self.model.listing());
        for entry in &self.model.entries {
            let view = pod.view(&entry.key).expect("a view reads").expect("present");
            assert_eq!(view.to_value().expect("values are sound"), entry.value);
        }
    }

    fn calls(&mut self, calls: &[Call], end: End, mut perform: impl FnMut(&Call, &Model) -> Outcome) {
        let before = self.model.clone();
        for call in calls {
            let found = perform(call, &self.model);
            // Ordinals that a transaction gave to keys that it took away again are given to others.
            assert_eq!(found, self.model.call(call), "{call:?} in a transaction");
        }
        if end != End::Commit {
            self.model = before;
            return;
        }
        // A transaction that removed a key and set it again moved it behind all others, in the order of the last settings.
        let is_old = |entry: &Entry| entry.ordinal < before.next_ordinal;
        let mut next = before.next_ordinal;
        for entry in self.model.entries.iter_mut().filter(|entry| !is_old(entry)) {
            entry.ordinal = next;
            next += 1;
        }
        self.model.next_ordinal = next;
    }

    fn operate(&mut self, operation: &Operation) {
        match operation {
            Operation::Call(call) => {
                let found = perform(self.pod(), call, &self.model);
                // A clear or an extension is a transaction of its own.
                let single = [call.clone()];
                self.calls(&single, End::Commit, |_, _| found.clone());
            }
            Operation::ExtendIfAbsent(entries) => {
                let count = self.pod().extend_if_absent(entries.iter().map(|(key, value)| (key, value))).expect("a sound store writes");
                let expected = entries
                    .iter()
                    .filter(|(key, value)| self.model.get(key).is_none() && self.model.set(key, value.clone()).is_none())
                    .count();
                assert_eq!(count, expected);
            }
            Operation::Transaction(calls, end) => {
                let pod = self.pod().clone();
                let outcome = pod.transaction(|txn| {
                    self.calls(calls, *end, |call, model| perform_in(txn, call, model));
                    if *end == End::Commit { Ok(()) } else { Err(Error::other("rolled back")) }
                });
                assert_eq!(outcome.is_ok(), *end == End::Commit);
            }
            Operation::Guard(calls, end) => {
                let pod = self.pod().clone();
                let guard = pod.lock().expect("nobody holds the lock");
                self.calls(calls, *end, |call, model| {
                    let found = perform(&pod, call, model);
                    let after = pod.len();
                    let listed = pod.iter().count();
                    assert_eq!(after, listed, "the length after {call:?} under a guard");
                    found
                });
                match end {
                    End::Commit => guard.commit().expect("a sound store commits"),
                    End::RollBack => guard.rollback(),
                    End::Drop => drop(guard),
                }
            }
            Operation::Snapshot => {
                self.check_snapshot();
                self.snapshot = Some((self.pod().snapshot().expect("a snapshot can be taken"), self.model.clone()));
            }
            Operation::IterLive(steps) => {
                let begin = || (self.pod.as_ref().expect("open between operations").iter_live(), 0, Vec::new());
                let (iter, cursor, seen) = self.live.get_or_insert_with(begin);
                for _ in 0..*steps {
                    let found = iter.next().map(|entry| pair(entry.expect("a sound store iterates")));
                    let expected = self.model.entries.iter().find(|entry| entry.ordinal >= *cursor && !seen.contains(&entry.key));
                    assert_eq!(found, expected.map(|entry| json!([entry.key.to_json(), entry.value])));
                    seen.extend(expected.map(|entry| entry.key.clone()));
                    // At the end it waits for what is added behind.
                    *cursor = expected.map_or(self.model.next_ordinal, |entry| entry.ordinal + 1);
                }
            }
            Operation::Iterate => self.check_content(),
            Operation::Reopen(deleted) => {
                self.check_snapshot();
                self.live = None;
                let pod = self.pod.take().expect("open between operations");
                pod.close().expect("a sound store closes");
                for (bit, name) in ["control", "index", "order", "segments"].into_iter().enumerate() {
                    if deleted >> bit & 1 != 0 {
                        let _ = std::fs::remove_file(self.path.join(".live").join(name));
                    }
                }
                self.open();
                self.check_content();
            }
            Operation::ReadOnly => {
                let reader = Options::new().read_only(true).open(&self.path).expect("a sound store opens");
                assert_eq!(reader.len(), self.model.entries.len());
                assert!(reader.set("key", 1).is_err_and(|error| error.kind() == ErrorKind::ReadOnly));
            }
            Operation::Compact => self.pod().compact().expect("a sound store is compacted"),
            Operation::Verify => {
                let report = self.pod().verify().expect("a sound store can be verified");
                assert!(report.is_clean(), "{report}");
            }
        }
        assert_eq!(self.pod().len(), self.model.entries.len(), "the length after {operation:?}");
        assert_eq!(self.pod().is_empty(), self.model.entries.is_empty());
    }
}

/// Runs the operations on a new store at `path`; panics where the store and the model differ.
pub fn run(path: &Path, operations: &[Operation]) {
    let mut run = Run { path: path.to_owned(), pod: None, model: Model::default(), snapshot: None, live: None };
    run.open();
    run.do_all(operations);
    run.operate(&Operation::Verify);
    run.operate(&Operation::Reopen(1));
    run.operate(&Operation::Verify);
}

impl Run {
    fn do_all(&mut self, operations: &[Operation]) {
        for operation in operations {
            self.operate(operation);
        }
        self.check_content();
    }
}

/// A store that many inputs use, one after the other, each beginning with an empty map: to make and to close one costs a hundred times as
/// much as what an input does. What went wrong may have begun with an earlier input, so all of them are kept in a file.
pub struct Kept {
    _directory: tempfile::TempDir,
    run: Run,
    inputs: std::fs::File,
    left: u32,
}

impl Kept {
    const INPUTS: u32 = 400;

    pub fn new() -> Kept {
        let directory = super::directory();
        let inputs = directory.path().join("inputs");
        let inputs = std::fs::File::create(inputs).expect("the directory is writable");
        let path = directory.path().join("a.pod");
        let mut run = Run { path, pod: None, model: Model::default(), snapshot: None, live: None };
        run.open();
        Kept { _directory: directory, run, inputs, left: Kept::INPUTS }
    }

    /// Whether it has had enough inputs.
    pub fn is_old(&self) -> bool {
        self.left == 0
    }

    pub fn run(&mut self, data: &[u8]) {
        use std::io::Write as _;
        self.left -= 1;
        writeln!(self.inputs, "{}", data.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).expect("the directory is writable");
        let run = &mut self.run;
        (run.snapshot, run.live) = (None, None);
        run.pod().clear().expect("a sound store is cleared");
        run.model.entries.clear();
        run.do_all(&parse(data));
        // Some end with a check of all that is there, and fewer with a rebuild of all that is not the log.
        if self.left.is_multiple_of(8) {
            run.operate(&Operation::Verify);
        }
        if self.left.is_multiple_of(32) {
            run.operate(&Operation::Reopen(1));
            run.operate(&Operation::Verify);
        }
    }
}

impl Default for Kept {
    fn default() -> Kept {
        Kept::new()
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Operations from bytes
// ---------------------------------------------------------------------------------------------------------------------

pub fn key(index: u8) -> Key {
    match index % 8 {
        0 => Key::from("a"),
        1 => Key::from(1),
        2 => Key::from("1"),
        3 => Key::from(vec![Key::from(1)]),
        4 => Key::from("a longer key, with a\ttab and \"quotes\""),
        5 => Key::from(("a", -1)),
        6 => Key::from(()),
        _ => Key::from(i64::MIN),
    }
}

/// Names of parts that values and paths draw from, so that they meet.
pub fn part_name(index: u8) -> &'static str {
    ["a", "b", "", "0", "-", "~/", "exactly8", "a longer name", "é"][usize::from(index) % 9]
}

pub fn leaf(index: u8) -> Value {
    let leaves = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(0.5),
        json!(1.0),
        json!(-1.7e308),
        json!(""),
        json!("short"),
        json!("of eight"),
        json!("text that does not fit a node\u{0}\n\"\\"),
        json!([]),
        json!({}),
    ];
    leaves[usize::from(index) % leaves.len()].clone()
}

fn value(bytes: &mut Bytes<'_>, depth: u32) -> Value {
    let byte = bytes.byte();
    match byte {
        0..=31 if depth > 0 => (0..byte % 5).map(|_| value(bytes, depth - 1)).collect(),
        32..=63 if depth > 0 => {
            (0..byte % 5).map(|_| (part_name(bytes.byte()).to_owned(), value(bytes, depth - 1))).collect::<Map<_, _>>().into()
        }
        _ => leaf(byte),
    }
}

fn values(bytes: &mut Bytes<'_>) -> Vec<Value> {
    (0..bytes.byte() % 4).map(|_| value(bytes, 2)).collect()
}

fn entries(bytes: &mut Bytes<'_>) -> Vec<(Key, Value)> {
    (0..bytes.byte() % 6).map(|_| (key(bytes.byte()), value(bytes, 1))).collect()
}

fn index(bytes: &mut Bytes<'_>) -> i64 {
    match bytes.byte() {
        255 => i64::MAX,
        254 => i64::MIN,
        byte => i64::from(byte % 9) - 4,
    }
}

fn bound(bytes: &mut Bytes<'_>) -> Bound<i64> {
    match bytes.byte() % 3 {
        0 => Bound::Unbounded,
        1 => Bound::Included(index(bytes)),
        _ => Bound::Excluded(index(bytes)),
    }
}

fn step(bytes: &mut Bytes<'_>) -> Step {
    match bytes.byte() % 3 {
        0 => Step::Key(part_name(bytes.byte()).to_owned()),
        1 => Step::Index(index(bytes)),
        _ => Step::Token(part_name(bytes.byte()).to_owned()),
    }
}

fn edit(bytes: &mut Bytes<'_>) -> Edit {
    match bytes.byte() % 14 {
        0 => Edit::Get,
        1 => Edit::Contains,
        2 => Edit::Len,
        3 => Edit::Set(value(bytes, 3)),
        4 => Edit::SetIfAbsent(value(bytes, 3)),
        5 => Edit::Remove,
        6 => Edit::Add(match leaf(3 + bytes.byte() % 8) {
            Value::Number(number) => number,
            _ => Number::from(1),
        }),
        7 => Edit::Push(value(bytes, 3)),
        8 => Edit::Extend(values(bytes)),
        9 => Edit::Insert(index(bytes), value(bytes, 2)),
        10 => Edit::Pop,
        11 => Edit::Merge(value(bytes, 2)),
        12 => Edit::Splice(bound(bytes), bound(bytes), values(bytes)),
        _ => Edit::Update(value(bytes, 3)),
    }
}

fn call(bytes: &mut Bytes<'_>) -> Call {
    let kind = bytes.byte();
    let key = key(bytes.byte());
    match kind % 24 {
        0 => Call::Get(key),
        1 => Call::RawJson(key),
        2 => Call::ContainsKey(key),
        3..=5 => Call::Set(key, value(bytes, 4)),
        6 => Call::SetRawJson(key, value(bytes, 4)),
        7 => Call::Insert(key, value(bytes, 4)),
        8 => Call::SetIfAbsent(key, value(bytes, 4)),
        9..=10 => Call::Remove(key),
        11 => Call::Update(key, (!bytes.byte().is_multiple_of(3)).then(|| value(bytes, 3))),
        12 => Call::UpdateOrInsert(key, value(bytes, 3)),
        13 => Call::CompareExchange(key, !bytes.byte().is_multiple_of(3), (!bytes.byte().is_multiple_of(3)).then(|| value(bytes, 3))),
        14..=20 => Call::At(key, (0..bytes.byte() % 4).map(|_| step(bytes)).collect(), edit(bytes)),
        21 => Call::Extend(entries(bytes)),
        22 => Call::Clear,
        _ => Call::Entries,
    }
}

fn end(bytes: &mut Bytes<'_>) -> End {
    [End::Commit, End::RollBack, End::Drop, End::Commit][usize::from(bytes.byte() % 4)]
}

fn operation(bytes: &mut Bytes<'_>) -> Operation {
    let calls = |bytes: &mut Bytes<'_>| (0..bytes.byte() % 6).map(|_| call(bytes)).collect::<Vec<_>>();
    match bytes.byte() % 32 {
        0..=16 => Operation::Call(call(bytes)),
        17..=18 => Operation::ExtendIfAbsent(entries(bytes)),
        19..=21 => Operation::Transaction(calls(bytes), end(bytes)),
        22..=24 => Operation::Guard(calls(bytes), end(bytes)),
        25 => Operation::Snapshot,
        26..=27 => Operation::IterLive(bytes.byte() % 8),
        28 => Operation::Iterate,
        29 => Operation::Reopen(bytes.byte() % 8),
        30 => [Operation::ReadOnly, Operation::Compact][usize::from(bytes.byte() % 2)].clone(),
        _ => Operation::Verify,
    }
}

/// The fuzz target: bytes are operations.
pub fn from_bytes(directory: &Path, data: &[u8]) {
    run(&directory.join("a.pod"), &parse(data));
}

fn parse(data: &[u8]) -> Vec<Operation> {
    let mut bytes = Bytes::new(data);
    let mut operations = Vec::new();
    while !bytes.is_empty() && operations.len() < 100 {
        operations.push(operation(&mut bytes));
    }
    operations
}
