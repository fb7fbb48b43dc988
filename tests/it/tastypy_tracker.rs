//! Our tracker beside the real tastypy's: random sequences of calls, each made to both, must come to the same results, the same
//! tasks and the same counters, and each directory that it leaves is adopted with them.
//!
//! Where tastypy does otherwise than its manual says, `CALLS` does what the manual says, and says so there.

use crate::chance::{Random, asked, seed};
use crate::support::{directory, text};
use crate::tastypy::Tastypy;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tastypod::{ErrorKind, Key, Options, Result, SyncMode, Todo, Tracker};

/// Reads sequences of calls from a file, makes them, and prints for each call what it came to and what is counted then, and for each
/// sequence all tasks as text.
const CALLS: &str = r#"
import json, os, sys
import tastypy

def now(value):
    # It goes on changing.
    return json.loads(json.dumps(value))

def recount(t):
    # What a mapping or an assignment brings of flags is not counted there.
    t._num_done = sum(1 for v in t._values.values() if v["_done"])
    t._num_tried = sum(1 for v in t._values.values() if v["_tries"] > 0)
    t._num_aborted = sum(1 for v in t._values.values() if v["_aborted"])

def loop(t, iterator, actions):
    seen = []
    for turn, item in enumerate(iterator):
        seen.append(item)
        for action in actions.get(str(turn), []):
            call(t, *action)
    return seen

def call(t, name, *args):
    try:
        return CALLS[name](t, *args) if name in CALLS else getattr(t, name)(*args)
    except tastypy.DuplicateKeyError:
        return "DuplicateKey"
    except KeyError:
        return "KeyNotFound"
    except ZeroDivisionError:
        # Of an empty tracker: a fraction of nothing.
        return {"f": 0.0, "d": "%.*f %%" % (args[0] if args else 0, 0.0), "n": "%.*f %%" % (args[0] if args else 0, 100.0)}[
            "f" if name.startswith("fraction") else "n" if "_not_" in name else "d"]

def add_many(t, keys):
    # All or nothing, where tastypy adds those before the duplicate.
    if len(set(map(repr, keys))) < len(keys) or any(key in t for key in keys):
        raise tastypy.DuplicateKeyError()
    t.add_many(keys)

def add_many_if_absent(t, keys):
    before = len(t)
    t.add_many_if_absent(keys)
    return len(t) - before

def add_if_absent(t, key):
    before = len(t)
    t.add_if_absent(key)
    return len(t) > before

def decrement_tries(t, key):
    # Stops at 0.
    if t.tries(key) > 0:
        t.decrement_tries(key)

def update(t, pairs):
    t.update(pairs)
    recount(t)

def assign(t, key, value):
    t[key] = value
    recount(t)

CALLS = {
    "add_many": add_many, "add_many_if_absent": add_many_if_absent, "add_if_absent": add_if_absent, "decrement_tries": decrement_tries,
    "update": update, "assign": assign, "max_tries": lambda t, n: setattr(t, "max_tries", n),
    "todo_keys": lambda t, aborted, actions: loop(t, t.todo_keys(allow_aborted=aborted), actions),
    "todo_items": lambda t, aborted: [[k, now(v)] for k, v in t.todo_items(allow_aborted=aborted)],
    # Yields pairs.
    "todo_values": lambda t, aborted: [now(v) for _, v in t.todo_values(allow_aborted=aborted)],
    "try_keys": lambda t, aborted, actions: loop(t, t.try_keys(allow_aborted=aborted), actions),
    # Return one entry.
    "try_items": lambda t, aborted: [[k, now(t._values[k])] for k in t.try_keys(allow_aborted=aborted)],
    "try_values": lambda t, aborted: [now(t._values[k]) for k in t.try_keys(allow_aborted=aborted)],
    "aborted_keys": lambda t: list(t.aborted_keys()),
    # Raises.
    "aborted_items": lambda t: [[k, now(t._values[k])] for k in t.aborted_keys()],
    "aborted_values": lambda t: [now(v) for v in t.aborted_values()],
    # Raises.
    "percent_not_done": lambda t, decimals: t.percent(1 - t.fraction_done(), decimals),
    "percent_not_tried": lambda t, decimals: t.percent_not_tried(decimals=decimals),
}

print(json.dumps([
    {
        "results": [[call(t, *step), len(t), t.num_done(), t.num_tried(), t.num_aborted()] for step in steps],
        "tasks": [[key, now(value)] for key, value in t.items()],
    }
    for t, steps in ((tastypy.Tracker(os.path.join(sys.argv[2], str(number)), max_tries=tries, file_size=size), steps)
        for number, (tries, size, steps) in enumerate(json.load(open(sys.argv[1]))))
]))
"#;

fn key(random: &mut Random) -> Value {
    match random.below(4) {
        0 => json!(random.below(6) as i64 - 2),
        1 => json!(*random.one(&["", "1", "-1", "é\u{1f980}", "tab\tline\n", "back\\slash", "\\u0041", "\"quoted\""])),
        _ => json!(format!("https://example.org/{}", random.below(8))),
    }
}

fn task(random: &mut Random) -> Value {
    json!({"_tries": random.below(4), "_done": random.is(), "_aborted": random.is(), "x": random.below(9)})
}

/// What a pass over some tasks does on its way.
fn actions(random: &mut Random) -> Value {
    let mut actions = serde_json::Map::new();
    for _ in 0..random.below(4) {
        let name = *random.one(&["add_if_absent", "mark_done", "mark_not_done", "abort", "increment_tries", "reset_tries"]);
        actions.insert(random.below(6).to_string(), json!([[name, key(random)]]));
    }
    Value::Object(actions)
}

fn step(random: &mut Random) -> Value {
    const ON_A_TASK: [&str; 15] = [
        "add",
        "add_if_absent",
        "mark_done",
        "mark_not_done",
        "increment_tries",
        "decrement_tries",
        "reset_tries",
        "abort",
        "unabort",
        "done",
        "tries",
        "aborted",
        "should_do_add",
        "should_try_add",
        "add",
    ];
    const COUNTS: [&str; 6] =
        ["percent_done", "percent_not_done", "percent_tried", "percent_not_tried", "percent_aborted", "percent_not_aborted"];
    match random.below(26) {
        0..=11 => json!([random.one(&ON_A_TASK), key(random)]),
        12 | 13 => json!([random.one(&["should_do", "should_try"]), key(random), random.is()]),
        14 | 15 => {
            let keys: Vec<Value> = (0..random.below(5)).map(|_| key(random)).collect();
            json!([random.one(&["add_many", "add_many_if_absent"]), keys])
        }
        16 | 17 => {
            let pair = |random: &mut Random| {
                let fields = if random.is() { json!({"y": [1.5, null], "x": random.below(3)}) } else { task(random) };
                json!([key(random), fields])
            };
            json!(["update", (0..random.below(4)).map(|_| pair(random)).collect::<Vec<_>>()])
        }
        18 => json!(["assign", key(random), task(random)]),
        19 => json!([random.one(&["todo_keys", "try_keys"]), random.is(), actions(random)]),
        20 => json!([random.one(&["todo_items", "todo_values", "try_items", "try_values"]), random.is()]),
        21 => json!([random.one(&["aborted_keys", "aborted_items", "aborted_values"])]),
        22 => json!([random.one(&["fraction_done", "fraction_tried", "fraction_aborted"])]),
        23 => json!([random.one(&COUNTS), random.below(4)]),
        24 => json!(["max_tries", random.below(4)]),
        _ => json!([random.one(&["sync", "revert"])]),
    }
}

/// A key that came as JSON.
fn given(key: &Value) -> Key {
    serde_json::from_value(key.clone()).unwrap()
}

/// The task with all its digits. Two are equal whatever the order of their members, which Python 2 shuffles.
fn task_of(tracker: &Tracker, key: &Key) -> Value {
    serde_json::from_str(&tracker.raw_json(key).unwrap().expect("it was yielded")).unwrap()
}

fn pass(tracker: &Tracker, keys: impl Iterator<Item = Result<Key>>, actions: &Value) -> Result<Value> {
    let mut seen = Vec::new();
    for (turn, key) in keys.enumerate() {
        seen.push(json!(key?));
        for action in actions[turn.to_string()].as_array().into_iter().flatten() {
            ours(tracker, action);
        }
    }
    Ok(seen.into())
}

fn in_pairs(entries: impl Iterator<Item = Result<(Key, Value)>>) -> Result<Value> {
    entries.map(|entry| entry.map(|(key, value)| json!([key, value]))).collect()
}

fn alone(values: impl Iterator<Item = Result<Value>>) -> Result<Value> {
    values.collect()
}

/// Makes a call; what it came to.
fn ours(t: &Tracker, step: &Value) -> Value {
    let key = || given(&step[1]);
    let keys = || step[1].as_array().unwrap().iter().map(given);
    let todo = |is_wanted: &Value| -> Todo { if is_wanted == true { t.todo().include_aborted() } else { t.todo() } };
    let decimals = step[1].as_u64().unwrap_or(0) as usize;
    let nothing = |outcome: Result<()>| outcome.map(|()| Value::Null);
    let outcome = match step[0].as_str().unwrap() {
        "add" => nothing(t.add(key())),
        "add_if_absent" => t.add_if_absent(key()).map(Value::from),
        "add_many" => nothing(t.add_many(keys())),
        "add_many_if_absent" => t.add_many_if_absent(keys()).map(Value::from),
        "update" => nothing(t.merge(step[1].as_array().unwrap().iter().map(|pair| (given(&pair[0]), &pair[1])))),
        "assign" => nothing(t.set(key(), &step[2])),
        "mark_done" => nothing(t.mark_done(key())),
        "mark_not_done" => nothing(t.mark_not_done(key())),
        "increment_tries" => nothing(t.increment_tries(key())),
        "decrement_tries" => nothing(t.decrement_tries(key())),
        "reset_tries" => nothing(t.reset_tries(key())),
        "abort" => nothing(t.abort(key())),
        "unabort" => nothing(t.unabort(key())),
        "done" => t.done(key()).map(Value::from),
        "tries" => t.tries(key()).map(Value::from),
        "aborted" => t.aborted(key()).map(Value::from),
        "should_do" => if step[2] == true { t.todo().include_aborted().should_do(key()) } else { t.should_do(key()) }.map(Value::from),
        "should_try" => if step[2] == true { t.todo().include_aborted().should_try(key()) } else { t.should_try(key()) }.map(Value::from),
        "should_do_add" => t.should_do_add(key()).map(Value::from),
        "should_try_add" => t.should_try_add(key()).map(Value::from),
        "todo_keys" => pass(t, todo(&step[1]).keys(), &step[2]),
        "try_keys" => pass(t, todo(&step[1]).try_keys(), &step[2]),
        "todo_items" => in_pairs(todo(&step[1]).items()),
        "todo_values" => alone(todo(&step[1]).values()),
        "try_items" => in_pairs(todo(&step[1]).try_items()),
        "try_values" => alone(todo(&step[1]).try_values()),
        "aborted_keys" => pass(t, t.aborted_keys(), &Value::Null),
        "aborted_items" => in_pairs(t.aborted_items()),
        "aborted_values" => alone(t.aborted_values()),
        "fraction_done" => Ok(t.fraction_done().into()),
        "fraction_tried" => Ok(t.fraction_tried().into()),
        "fraction_aborted" => Ok(t.fraction_aborted().into()),
        "percent_done" => Ok(t.percent_done(decimals).into()),
        "percent_not_done" => Ok(t.percent_not_done(decimals).into()),
        "percent_tried" => Ok(t.percent_tried(decimals).into()),
        "percent_not_tried" => Ok(t.percent_not_tried(decimals).into()),
        "percent_aborted" => Ok(t.percent_aborted(decimals).into()),
        "percent_not_aborted" => Ok(t.percent_not_aborted(decimals).into()),
        "max_tries" => nothing(t.set_max_tries(step[1].as_u64().unwrap())),
        "sync" => nothing(t.sync()),
        "revert" => nothing(t.revert()),
        other => panic!("no call {other}"),
    };
    outcome.unwrap_or_else(|error| match error.kind() {
        ErrorKind::DuplicateKey => json!("DuplicateKey"),
        ErrorKind::KeyNotFound => json!("KeyNotFound"),
        _ => panic!("{step}: {error}"),
    })
}

fn tasks(tracker: &Tracker) -> Value {
    tracker.keys().map(|key| key.unwrap()).map(|key| json!([key, task_of(tracker, &key)])).collect()
}

fn counts(tracker: &Tracker) -> [usize; 4] {
    [tracker.len(), tracker.num_done(), tracker.num_tried(), tracker.num_aborted()]
}

#[test]
fn random_calls_come_to_what_they_come_to_with_the_real_tastypy() {
    let Some(tastypy) = Tastypy::get() else { return };
    let mut random = Random(seed());
    let directory = directory();
    let sequences: Vec<(u64, u64, Vec<Value>)> = (0..asked("TASTYPOD_MODEL_RUNS", 20))
        .map(|_| (random.below(4), *random.one(&[1, 3, 1000]), (0..80).map(|_| step(&mut random)).collect()))
        .collect();
    let (calls, theirs) = (directory.path().join("calls.json"), directory.path().join("theirs"));
    fs::write(&calls, json!(sequences).to_string()).unwrap();
    let said = tastypy.run(CALLS, &[text(&calls), text(&theirs)]);
    let said = said.as_array().unwrap();
    assert_eq!(said.len(), sequences.len());
    for (number, ((max_tries, file_size, steps), said)) in sequences.iter().zip(said).enumerate() {
        let options = || Options::new().max_tries(*max_tries).file_size(*file_size).sync_mode(SyncMode::Manual);
        let tracker = options().open_tracker(directory.path().join(format!("ours-{number}"))).unwrap();
        for (turn, step) in steps.iter().enumerate() {
            let result = ours(&tracker, step);
            let [length, done, tried, aborted] = counts(&tracker);
            let ours = json!([result, length, done, tried, aborted]);
            assert_eq!(ours, said["results"][turn], "sequence {number}, call {turn} {step}, after {}", json!(&steps[..turn]));
        }
        assert_eq!(tasks(&tracker), said["tasks"], "sequence {number}: {}", json!(steps));
        let report = tracker.verify().unwrap();
        assert!(report.is_clean(), "{report}");
        // What it left behind when it ended is adopted with all of that.
        let adopted = Tracker::open(theirs.join(number.to_string())).unwrap();
        assert_eq!((tasks(&adopted), counts(&adopted)), (tasks(&tracker), counts(&tracker)), "sequence {number}");
        let report = adopted.verify().unwrap();
        assert!(report.is_clean(), "{report}");
    }
}

/// What the real library said of the tracker in the fixtures.
#[test]
fn a_tracker_of_tastypy_is_adopted_and_counts_as_it_did() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tastypy-0.0.3");
    let expected: Value = serde_json::from_slice(&fs::read(fixtures.join("crawl.tracker.expected.json")).unwrap()).unwrap();
    let directory = directory();
    let path = directory.path().join("crawl.tracker");
    fs::create_dir_all(&path).unwrap();
    for entry in fs::read_dir(fixtures.join("crawl.tracker")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    let look = |tracker: &Tracker| {
        let keys = |keys: tastypod::TaskKeys| keys.map(|key| json!(key.unwrap())).collect::<Value>();
        json!({
            "max_tries": tracker.max_tries(),
            "len": tracker.len(),
            "num_done": tracker.num_done(),
            "num_tried": tracker.num_tried(),
            "num_aborted": tracker.num_aborted(),
            "percent_done": tracker.percent_done(2),
            "percent_tried": tracker.percent_tried(1),
            "percent_aborted": tracker.percent_aborted(0),
            "todo_keys": keys(tracker.todo_keys()),
            "todo_keys_allow_aborted": keys(tracker.todo().include_aborted().keys()),
        })
    };
    // tastypy keeps no limit of tries.
    let tracker = Options::new().max_tries(expected["max_tries"].as_u64().unwrap()).open_tracker(&path).unwrap();
    assert_eq!(look(&tracker), expected);
    assert!(tracker.verify().unwrap().is_clean());
    // And can be worked on.
    let todo = expected["todo_keys"].as_array().unwrap();
    let claim = tracker.claim().unwrap().unwrap();
    assert!(todo.contains(&json!(claim.key())), "{claim:?}");
    claim.done().unwrap();
    assert_eq!(tracker.num_done() as u64, expected["num_done"].as_u64().unwrap() + 1);
    tracker.close().unwrap();
    let again = Tracker::open(&path).unwrap();
    assert_eq!((again.num_done() as u64, again.max_tries()), (expected["num_done"].as_u64().unwrap() + 1, 3));
}
