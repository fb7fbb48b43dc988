//! Goal: every operation takes effect at one instant between its call and its return, for all processes, through kills
//! and stops (promises P1 and P3).
//!
//! Crash model: processes are killed at chosen crash points inside an operation, killed from outside at any moment, or
//! stopped for a while. The machine stays up.
//!
//! What is checked: short histories of several processes on few keys are recorded, each operation with the times of its
//! call and its return on the clock that all processes share, and searched for an order that explains all answers
//! (Wing and Gong's search with Lowe's memory of the states that were tried). An operation whose process was killed
//! may have taken effect at any time after its call, or never. At the end of each history another process reads
//! everything, so what a killed process left is part of the history.
//!
//! `TASTYPOD_HISTORIES` asks for more histories than a test run needs, `TASTYPOD_SEED` for others.

use crate::chance::{Random, asked, seed};
use crate::support::{Child, Role, directory, hear, say, text, was_killed};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tastypod::{Durability, Error, ErrorKind, Options, Pod, Result};

pub const CHILDREN: &[Role] = &[("history", perform), ("history_cleaner", clean_up)];

const KEYS: u8 = 3;
/// A key of no history.
const BALLAST: (i64, i64) = (-1, 0);
const PROCESSES: u64 = 4;
const OPERATIONS_EACH: u64 = 10;
const HISTORIES: u64 = 200;
const HISTORIES_PER_STORE: u64 = 20;

/// What a process asks for. Every written value is unlike all others of its history.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Operation {
    Get(u8),
    Set(u8, i64),
    Insert(u8, i64),
    SetIfAbsent(u8, i64),
    Remove(u8),
    CompareExchange(u8, Option<i64>, Option<i64>),
    /// `at(key).add(n)`; an absent key stays absent.
    Add(u8, i64),
    /// A transaction that moves an amount from one key to another, which it makes where it is absent.
    Transfer(u8, u8, i64),
    /// A guard under which two keys exchange their values, or their absence.
    Swap(u8, u8),
    /// A transaction that writes and removes, and is rolled back.
    RollBack(u8, u8, i64),
    /// The keys present and their values, in order, of one snapshot.
    Snapshot,
    /// How many keys are present.
    Length,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    Nothing,
    Value(Option<i64>),
    Two(Option<i64>, Option<i64>),
    Was(bool),
    Entries(Vec<(u8, i64)>),
    Count(u64),
}

/// The sequential specification: the keys present with their values, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct State(Vec<(u8, i64)>);

impl State {
    fn get(&self, key: u8) -> Option<i64> {
        self.0.iter().find(|entry| entry.0 == key).map(|entry| entry.1)
    }

    /// Sets a key in its place, or last; nothing removes it.
    fn put(&mut self, key: u8, value: Option<i64>) {
        match (self.0.iter().position(|entry| entry.0 == key), value) {
            (Some(place), Some(value)) => self.0[place].1 = value,
            (Some(place), None) => drop(self.0.remove(place)),
            (None, Some(value)) => self.0.push((key, value)),
            (None, None) => {}
        }
    }

    fn apply(&mut self, operation: Operation) -> Answer {
        match operation {
            Operation::Get(key) => Answer::Value(self.get(key)),
            Operation::Set(key, value) => {
                self.put(key, Some(value));
                Answer::Nothing
            }
            Operation::Insert(key, value) => {
                let before = self.get(key);
                self.put(key, Some(value));
                Answer::Value(before)
            }
            Operation::SetIfAbsent(key, value) => {
                let absent = self.get(key).is_none();
                if absent {
                    self.put(key, Some(value));
                }
                Answer::Was(absent)
            }
            Operation::Remove(key) => {
                let before = self.get(key);
                self.put(key, None);
                Answer::Value(before)
            }
            Operation::CompareExchange(key, expected, new) => {
                let is_equal = self.get(key) == expected;
                if is_equal {
                    self.put(key, new);
                }
                Answer::Was(is_equal)
            }
            Operation::Add(key, amount) => {
                let sum = self.get(key).map(|value| value + amount);
                if sum.is_some() {
                    self.put(key, sum);
                }
                Answer::Value(sum)
            }
            Operation::Transfer(from, to, amount) => {
                let before = (self.get(from), self.get(to));
                if let (Some(one), other) = before {
                    self.put(from, Some(one - amount));
                    self.put(to, Some(other.unwrap_or(0) + amount));
                }
                Answer::Two(before.0, before.1)
            }
            Operation::Swap(one, other) => {
                let before = (self.get(one), self.get(other));
                self.put(one, before.1);
                self.put(other, before.0);
                Answer::Two(before.0, before.1)
            }
            Operation::RollBack(..) => Answer::Nothing,
            Operation::Snapshot => Answer::Entries(self.0.clone()),
            Operation::Length => Answer::Count(self.0.len() as u64),
        }
    }
}

/// One operation of a history. Without an answer its process was killed before it returned.
#[derive(Debug, Clone)]
struct Event {
    process: u64,
    operation: Operation,
    called: u64,
    returned: Option<(u64, Answer)>,
}

impl Event {
    fn end(&self) -> u64 {
        self.returned.as_ref().map_or(u64::MAX, |(time, _)| *time)
    }
}

/// Searches for an order of the operations, consistent with their times, in which each gives the answer that it gave.
struct Search<'a> {
    events: &'a [Event],
    /// Sets of operations, as bits, with the state they led to, from which the rest was tried in vain.
    tried: HashSet<(u128, State)>,
}

/// Whether a history of at most 128 operations is linearizable.
fn is_linearizable(events: &[Event]) -> bool {
    assert!(events.len() <= 128, "the search counts operations in bits");
    Search { events, tried: HashSet::new() }.finishes(0, &State::default())
}

impl Search<'_> {
    fn finishes(&mut self, done: u128, state: &State) -> bool {
        let rest = || self.events.iter().enumerate().filter(|(index, _)| done >> index & 1 == 0);
        // Nothing may come before an operation that returned before it was called.
        let first_end = rest().map(|(_, event)| event.end()).min().unwrap_or(u64::MAX);
        if first_end == u64::MAX {
            // What is left are operations that need not have taken effect.
            return true;
        }
        let candidates: Vec<usize> = rest().filter(|(_, event)| event.called <= first_end).map(|(index, _)| index).collect();
        for index in candidates {
            let mut after = state.clone();
            let answer = after.apply(self.events[index].operation);
            if self.events[index].returned.as_ref().is_some_and(|(_, given)| *given != answer) {
                continue;
            }
            let done = done | 1 << index;
            if self.tried.insert((done, after.clone())) && self.finishes(done, &after) {
                return true;
            }
        }
        false
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The processes
// ---------------------------------------------------------------------------------------------------------------------

fn any_key(random: &mut Random) -> u8 {
    random.below(u64::from(KEYS)) as u8
}

/// Two different keys.
fn any_keys(random: &mut Random) -> (u8, u8) {
    let one = any_key(random);
    (one, (one + 1 + random.below(u64::from(KEYS) - 1) as u8) % KEYS)
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock runs");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// The key of a history in the store that it shares with others.
fn name(history: u64, key: u8) -> (i64, i64) {
    (history as i64, i64::from(key))
}

fn number(value: Option<Value>) -> Option<i64> {
    value.map(|value| value.as_i64().expect("only integers were stored"))
}

/// Lets others in while a lock is held or an answer is known, sometimes.
fn dawdle(random: &mut Random) {
    match random.below(8) {
        0 => std::thread::sleep(Duration::from_micros(30)),
        1..=3 => std::thread::yield_now(),
        _ => {}
    }
}

fn ask(pod: &Pod, history: u64, base: u64, operation: Operation, random: &mut Random) -> Result<Answer> {
    let name = |key| name(history, key);
    Ok(match operation {
        // The ways to read are one to the user.
        Operation::Get(key) => match random.below(3) {
            0 => Answer::Value(pod.get_as(name(key))?),
            1 => Answer::Value(pod.view(name(key))?.and_then(|view| view.as_i64())),
            _ => Answer::Value(number(pod.get(name(key))?)),
        },
        Operation::Set(key, value) => {
            pod.set(name(key), value)?;
            Answer::Nothing
        }
        Operation::Insert(key, value) => Answer::Value(number(pod.insert(name(key), value)?)),
        Operation::SetIfAbsent(key, value) => Answer::Was(pod.set_if_absent(name(key), value)?),
        Operation::Remove(key) => Answer::Value(number(pod.remove(name(key))?)),
        Operation::CompareExchange(key, expected, new) => {
            Answer::Was(pod.compare_exchange(name(key), expected.map(Value::from).as_ref(), new.map(Value::from).as_ref())?)
        }
        Operation::Add(key, amount) => match pod.at(name(key)).add(amount) {
            Ok(sum) => Answer::Value(number(Some(sum))),
            Err(error) if error.kind() == ErrorKind::KeyNotFound => Answer::Value(None),
            Err(error) => return Err(error),
        },
        Operation::Transfer(from, to, amount) => pod.transaction(|txn| {
            let before = (number(txn.get(name(from))?), number(txn.get(name(to))?));
            dawdle(random);
            if let (Some(one), other) = before {
                txn.set(name(from), one - amount)?;
                dawdle(random);
                txn.set(name(to), other.unwrap_or(0) + amount)?;
            }
            Ok(Answer::Two(before.0, before.1))
        })?,
        Operation::Swap(one, other) => {
            let guard = pod.lock()?;
            let before = (number(pod.get(name(one))?), number(pod.get(name(other))?));
            dawdle(random);
            for (key, value) in [(one, before.1), (other, before.0)] {
                match value {
                    Some(value) => pod.set(name(key), value)?,
                    None => drop(pod.remove(name(key))?),
                }
                dawdle(random);
            }
            guard.commit()?;
            Answer::Two(before.0, before.1)
        }
        Operation::RollBack(written, removed, value) => {
            let outcome = pod.transaction(|txn| {
                txn.set(name(written), value)?;
                txn.remove(name(removed))?;
                dawdle(random);
                Err::<(), _>(Error::other("rolled back"))
            });
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Other);
            Answer::Nothing
        }
        Operation::Snapshot => {
            let mut entries = Vec::new();
            for entry in &pod.snapshot()?.into_iter().collect::<Result<Vec<_>>>()? {
                let key = entry.0.as_tuple().expect("all keys are pairs");
                if key[0].as_i64() == Some(history as i64) {
                    entries.push((key[1].as_i64().expect("a number") as u8, entry.1.as_i64().expect("a number")));
                }
            }
            Answer::Entries(entries)
        }
        Operation::Length => Answer::Count(pod.len() as u64 - base),
    })
}

fn choose(random: &mut Random, process: u64, turn: u64, seen: &[i64]) -> Operation {
    let value = (1 + process * OPERATIONS_EACH + turn) as i64 * 1000;
    let (one, other) = any_keys(random);
    let maybe = |random: &mut Random| seen.get(random.below(seen.len() as u64 + 1) as usize).copied();
    match random.below(20) {
        0..=3 => Operation::Get(one),
        4..=5 => Operation::Set(one, value),
        6 => Operation::Insert(one, value),
        7 => Operation::SetIfAbsent(one, value),
        8..=9 => Operation::Remove(one),
        10..=11 => Operation::CompareExchange(one, maybe(random), Some(value).filter(|_| random.below(4) > 0)),
        12..=13 => Operation::Add(one, 1 + random.below(9) as i64),
        14..=15 => Operation::Transfer(one, other, 1 + random.below(9) as i64),
        16 => Operation::Swap(one, other),
        17 => Operation::RollBack(one, other, value),
        18 => Operation::Snapshot,
        _ => Operation::Length,
    }
}

/// A line of a process's record: the times and the answer are there when the operation returned.
#[derive(Serialize, Deserialize)]
struct Line {
    operation: Operation,
    called: u64,
    returned: Option<(u64, Answer)>,
}

/// The role of a process: operations of one history after the other, each recorded before its call and after its return.
fn perform(arguments: &[String]) {
    let process: u64 = arguments[1].parse().expect("a number");
    let durability = if arguments[2] == "disk" { Durability::Disk } else { Durability::Process };
    let pod = Options::new().durability(durability).open(&arguments[0]).expect("the store opens");
    say("ready");
    loop {
        let order: Vec<u64> = hear().split(' ').filter_map(|word| word.parse().ok()).collect();
        let [history, base, seed, crash_at, start] = order[..] else { return };
        let mut record = File::create(record_path(Path::new(&arguments[0]), history, process)).expect("the record can be written");
        let mut random = Random(seed);
        let mut seen = Vec::new();
        std::thread::sleep(Duration::from_nanos(start.saturating_sub(now())));
        tastypod::crash::arm(crash_at, tastypod::crash::Action::Kill);
        for turn in 0..OPERATIONS_EACH {
            let operation = choose(&mut random, process, turn, &seen);
            write_line(&mut record, &Line { operation, called: now(), returned: None });
            let called = now();
            let answer = ask(&pod, history, base, operation, &mut random).expect("no operation fails");
            let returned = now();
            if let Answer::Value(Some(value)) | Answer::Two(Some(value), _) = answer {
                seen.push(value);
            }
            write_line(&mut record, &Line { operation, called, returned: Some((returned, answer)) });
            dawdle(&mut random);
        }
        tastypod::crash::arm(0, tastypod::crash::Action::Kill);
        say("done");
    }
}

/// The role of a process that keeps the log short: fills segments, takes and drops snapshots, compacts, until it is killed.
fn clean_up(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).expect("the store opens");
    say("ready");
    for turn in 0u64.. {
        pod.set(BALLAST, "b".repeat((turn % 7 * 20_000) as usize)).expect("no operation fails");
        let snapshot = pod.snapshot().expect("no operation fails");
        assert!(snapshot.contains_key(BALLAST).expect("no operation fails"));
        if turn % 2 == 0 {
            drop(snapshot);
            pod.compact().expect("no operation fails");
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn record_path(store: &Path, history: u64, process: u64) -> PathBuf {
    store.with_file_name(format!("history-{history}-{process}"))
}

fn write_line(record: &mut File, line: &Line) {
    let mut text = serde_json::to_string(line).expect("a line is JSON");
    text.push('\n');
    // One call of the system: a kill leaves the whole line or nothing.
    record.write_all(text.as_bytes()).expect("the record can be written");
}

fn read_record(path: &Path, process: u64) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut events: Vec<Event> = Vec::new();
    for line in text.lines() {
        let Line { operation, called, returned } = serde_json::from_str(line).expect("lines are whole");
        if returned.is_some() {
            events.pop();
        }
        events.push(Event { process, operation, called, returned });
    }
    let _ = std::fs::remove_file(path);
    events
}

// ---------------------------------------------------------------------------------------------------------------------
// The tests
// ---------------------------------------------------------------------------------------------------------------------

/// One of them waits for the disk with every write.
fn start_process(path: &Path, process: u64) -> Child {
    let durability = if process % 4 == 1 { "disk" } else { "process" };
    let mut child = Child::start("history", &[text(path), &process.to_string(), durability]);
    assert_eq!(child.line().as_deref(), Some("ready"));
    child
}

fn start_cleaner(path: &Path) -> Child {
    let mut child = Child::start("history_cleaner", &[text(path)]);
    assert_eq!(child.line().as_deref(), Some("ready"));
    child
}

/// Runs one history and returns it, with how many of its processes were killed.
fn run_history(
    path: &Path,
    children: &mut [Child],
    resident: Option<&Pod>,
    history: u64,
    base: u64,
    random: &mut Random,
) -> (Vec<Event>, u64) {
    // A third of the histories each: killed at a crash point, killed or stopped from outside, left alone.
    let victim = random.below(PROCESSES);
    let fate = random.below(6);
    let start = now() + 200_000;
    for (process, child) in children.iter_mut().enumerate() {
        let crash_at = if fate < 2 && process as u64 == victim { 1 + random.below(250) } else { 0 };
        let seed = random.below(u64::MAX);
        child.tell(&format!("{history} {base} {seed} {crash_at} {start}"));
    }
    if fate == 2 || fate == 3 {
        let pid = Pid::from_raw(children[victim as usize].pid());
        std::thread::sleep(Duration::from_nanos(start.saturating_sub(now()) + random.below(800_000)));
        if fate == 2 {
            kill(pid, Signal::SIGKILL).expect("it was not waited for yet");
        } else {
            kill(pid, Signal::SIGSTOP).expect("it was not waited for yet");
            std::thread::sleep(Duration::from_micros(random.below(1500)));
            kill(pid, Signal::SIGCONT).expect("it was not waited for yet");
        }
    }
    let mut kills = 0;
    let mut events = Vec::new();
    for (process, child) in children.iter_mut().enumerate() {
        let said = child.line();
        // A process that was killed from outside may have been done, and then answers no further history.
        if said.is_none() || fate == 2 && process as u64 == victim {
            assert!(was_killed(child.wait()), "history {history}: process {process} failed by itself");
            kills += 1;
            *child = start_process(path, process as u64);
        }
        events.extend(read_record(&record_path(path, history, process as u64), process as u64));
    }
    let opened;
    let pod = match resident {
        Some(pod) => pod,
        None => {
            opened = Pod::open(path).expect("the store opens");
            &opened
        }
    };
    // The second look comes after somebody took the lock, and so finished what a killed process had begun to commit.
    let looks = [Operation::Snapshot, Operation::RollBack(0, 1, -1), Operation::Snapshot, Operation::Length];
    for operation in looks.into_iter().chain((0..KEYS).map(Operation::Get)) {
        let called = now();
        let answer = ask(pod, history, base, operation, random).expect("no operation fails");
        events.push(Event { process: PROCESSES, operation, called, returned: Some((now(), answer)) });
    }
    (events, kills)
}

#[test]
fn histories_of_processes_that_are_killed_and_stopped_are_linearizable() {
    let histories = asked("TASTYPOD_HISTORIES", HISTORIES);
    let seed = seed();
    let mut random = Random(seed);
    let (mut kills, mut pending, mut overlapping, mut operations, mut cleaners) = (0, 0, 0, 0, 0);
    for store in 0..histories.div_ceil(HISTORIES_PER_STORE) {
        let dir = directory();
        let path = dir.path().join("a.pod");
        // In every other store only the processes of the history are there, so that all may be killed.
        let resident = (store % 2 == 0).then(|| Pod::open(&path).expect("the store opens"));
        let mut children: Vec<Child> = (0..PROCESSES).map(|process| start_process(&path, process)).collect();
        // In two of three stores another process cleans all the time, and is killed now and then.
        Pod::open(&path).and_then(|pod| pod.set(BALLAST, "")).expect("the store opens");
        let mut cleaner = (store % 3 != 1).then(|| start_cleaner(&path));
        let first = store * HISTORIES_PER_STORE;
        for history in first..histories.min(first + HISTORIES_PER_STORE) {
            if cleaner.is_some() && random.below(8) == 0 {
                // Dropped: killed.
                cleaner = None;
                cleaners += 1;
                cleaner.get_or_insert_with(|| start_cleaner(&path));
            }
            let base = keys_at_rest(&path);
            let (mut events, killed) = run_history(&path, &mut children, resident.as_ref(), history, base, &mut random);
            kills += killed;
            pending += events.iter().filter(|event| event.returned.is_none()).count();
            events.sort_by_key(|event| event.called);
            overlapping += events.windows(2).filter(|pair| pair[1].called < pair[0].end()).count();
            operations += events.len();
            assert!(is_linearizable(&events), "history {history} of seed {seed} has no order:\n{}", show(&events));
        }
        drop((children, cleaner));
        let report = Pod::open(&path).and_then(|pod| pod.verify()).expect("the store opens");
        assert!(report.is_clean(), "seed {seed}: {report}");
    }
    println!(
        "{histories} histories of seed {seed}: {operations} operations, {overlapping} overlap the one before, {kills} kills, {pending} pending, {cleaners} cleaners killed"
    );
    // A run in which the processes never met, or were never interrupted, would test nothing.
    assert!(overlapping > 0, "none of {operations} operations overlaps another");
    assert!(histories < HISTORIES || kills > 0 && pending > 0, "{kills} kills, {pending} pending operations");
}

/// How many keys there are. Whoever takes the lock first finishes what a process of an earlier history was killed in.
fn keys_at_rest(path: &Path) -> u64 {
    let pod = Pod::open(path).expect("the store opens");
    pod.lock().expect("nobody holds the lock for long").rollback();
    pod.len() as u64
}

fn show(events: &[Event]) -> String {
    let first = events.first().map_or(0, |event| event.called);
    let line = |event: &Event| {
        let end = event.returned.as_ref().map_or_else(|| "killed".to_owned(), |(time, answer)| format!("{:>9} {answer:?}", time - first));
        format!("{:>9} process {} {:?} … {end}\n", event.called - first, event.process, event.operation)
    };
    events.iter().map(line).collect()
}

/// An operation of a made-up history: called and returned at these times, with this answer.
fn returned(called: u64, end: u64, operation: Operation, answer: Answer) -> Event {
    Event { process: 0, operation, called, returned: Some((end, answer)) }
}

fn never_returned(called: u64, operation: Operation) -> Event {
    Event { process: 0, operation, called, returned: None }
}

fn get(called: u64, end: u64, value: impl Into<Option<i64>>) -> Event {
    returned(called, end, Operation::Get(0), Answer::Value(value.into()))
}

fn set(called: u64, end: u64, value: i64) -> Event {
    returned(called, end, Operation::Set(0, value), Answer::Nothing)
}

#[test]
fn the_checker_accepts_what_an_order_explains() {
    assert!(is_linearizable(&[]));
    assert!(is_linearizable(&[set(1, 2, 10), get(3, 4, 10)]));
    // Of overlapping operations either may be first.
    for value in [None, Some(10), Some(20)] {
        assert!(is_linearizable(&[set(1, 9, 10), set(1, 9, 20), get(2, 8, value)]));
    }
    // A write is seen before it returns, and from then on.
    assert!(is_linearizable(&[set(1, 9, 10), get(2, 3, None), get(4, 5, 10)]));
    // A killed write takes effect late, early, or never.
    let killed = || never_returned(1, Operation::Set(0, 10));
    assert!(is_linearizable(&[killed(), get(2, 3, None), get(4, 5, 10)]));
    assert!(is_linearizable(&[killed(), get(2, 3, 10)]));
    assert!(is_linearizable(&[killed(), get(2, 3, None)]));
    // An order that only backtracking finds: the removal has to come first, the two writes last.
    let removal = returned(1, 9, Operation::Remove(0), Answer::Value(None));
    assert!(is_linearizable(&[set(1, 9, 10), set(1, 9, 20), removal, get(10, 11, 10)]));
}

#[test]
fn the_checker_rejects_stale_reads() {
    assert!(!is_linearizable(&[set(1, 2, 10), set(3, 4, 20), get(5, 6, 10)]));
    assert!(!is_linearizable(&[set(1, 2, 10), get(3, 4, None)]));
    // Seen by one, then no longer by another: also of a write that was killed, or is still under way.
    assert!(!is_linearizable(&[set(1, 9, 10), get(2, 3, 10), get(4, 5, None)]));
    assert!(!is_linearizable(&[never_returned(1, Operation::Set(0, 10)), get(2, 3, 10), get(4, 5, None)]));
}

#[test]
fn the_checker_rejects_lost_updates_and_values_from_nowhere() {
    let add = |called, end, sum| returned(called, end, Operation::Add(0, 1), Answer::Value(Some(sum)));
    assert!(is_linearizable(&[set(1, 2, 10), add(3, 9, 11), add(3, 9, 12), get(10, 11, 12)]));
    assert!(!is_linearizable(&[set(1, 2, 10), add(3, 9, 11), add(3, 9, 11)]));
    assert!(!is_linearizable(&[set(1, 2, 10), add(3, 9, 11), add(3, 9, 12), get(10, 11, 11)]));
    let exchange = |was| returned(3, 9, Operation::CompareExchange(0, Some(10), Some(20)), Answer::Was(was));
    assert!(!is_linearizable(&[set(1, 2, 10), exchange(true), exchange(true)]));
    assert!(!is_linearizable(&[set(1, 2, 10), exchange(false), exchange(false)]));
    assert!(!is_linearizable(&[get(1, 2, 10)]));
    assert!(!is_linearizable(&[get(1, 2, 10), never_returned(3, Operation::Set(0, 10))]));
}

#[test]
fn the_checker_rejects_dirty_and_torn_reads() {
    let rolled_back = returned(1, 9, Operation::RollBack(0, 1, 10), Answer::Nothing);
    assert!(!is_linearizable(&[rolled_back, get(2, 3, 10)]));
    let transfer = returned(3, 9, Operation::Transfer(0, 1, 4), Answer::Two(Some(10), None));
    let snapshot = |entries: &[(u8, i64)]| returned(4, 8, Operation::Snapshot, Answer::Entries(entries.to_vec()));
    assert!(is_linearizable(&[set(1, 2, 10), transfer.clone(), snapshot(&[(0, 10)])]));
    assert!(is_linearizable(&[set(1, 2, 10), transfer.clone(), snapshot(&[(0, 6), (1, 4)])]));
    for torn in [&[(0, 6)][..], &[(0, 10), (1, 4)], &[(1, 4), (0, 6)], &[]] {
        assert!(!is_linearizable(&[set(1, 2, 10), transfer.clone(), snapshot(torn)]), "{torn:?}");
    }
    // Single reads can be torn too: first the later half, then the earlier one as it was.
    let late = returned(4, 5, Operation::Get(1), Answer::Value(Some(4)));
    assert!(!is_linearizable(&[set(1, 2, 10), transfer, late, get(6, 7, 10)]));
}

#[test]
fn the_specification_of_the_checker_is_the_one_of_the_store() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let (mut random, mut state, mut seen) = (Random(7), State::default(), Vec::new());
    for turn in 0..2000 {
        let operation = choose(&mut random, 0, turn, &seen);
        let answer = ask(&pod, 1, 0, operation, &mut random).unwrap();
        seen.extend(state.0.iter().map(|(_, value)| *value));
        seen.drain(..seen.len().saturating_sub(5));
        assert_eq!(state.apply(operation), answer, "{operation:?} in turn {turn}");
    }
    assert_eq!(pod.get(name(1, 0)).unwrap(), state.get(0).map(|value| json!(value)));
}
