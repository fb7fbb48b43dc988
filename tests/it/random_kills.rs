//! Processes that write, transfer, remove, compact and take and drop snapshots while the log is cleaned all the time, and are
//! killed at random moments. A third of them waits for the disk with every write.
//!
//! Goal: what the enumeration of `kill_matrix` cannot reach: deaths in the middle of a crowd, one after the other, of
//! several processes at once, while others repair and open.
//!
//! Crash model: SIGKILL at a random moment, to one process or to all. `TASTYPOD_KILL_ROUNDS` asks for more, `TASTYPOD_SEED` for
//! others.
//!
//! Checked: each worker announces a write, does it, and acknowledges it, so that for each key the last acknowledged
//! write or an announced one after it must be found; the sum over all accounts is the same in every snapshot of every
//! process; a snapshot holds each key once, the accounts in their order, as many entries as it says, and is the same
//! when read again; no worker ever fails or hangs; in the end `verify` is clean, and again after index and control were
//! taken away so that the log alone tells.

use crate::chance::{Random, asked, seed};
use crate::support::{Child, HANG, Role, directory, say, text, was_killed};
use nix::sys::signal::{Signal, kill};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tastypod::{Durability, Error, Options, Pod, Snapshot};

pub const CHILDREN: &[Role] = &[("random_worker", worker)];

const WORKERS: usize = 4;
/// In a round, before all are killed.
const KILLS: usize = 15;
const ACCOUNTS: usize = 20;
const BALANCE: i64 = 1000;
/// Keys of one worker.
const KEYS: u64 = 12;
/// Who waits longer waits for the dead.
const LOCK_TIMEOUT: Duration = HANG;

fn open(path: &Path) -> Pod {
    Options::new().lock_timeout(LOCK_TIMEOUT).open(path).unwrap()
}

fn account(number: usize) -> String {
    format!("account {number}")
}

/// Arguments: path, number of the worker, first number of its writes, seed.
fn worker(arguments: &[String]) {
    let [path, number, first, seed] = arguments else { panic!("four arguments") };
    let mut random = Random(seed.parse().unwrap());
    // One in three waits for the disk with every write.
    let durability = if random.below(3) == 0 { Durability::Disk } else { Durability::Process };
    let pod = Options::new().lock_timeout(LOCK_TIMEOUT).durability(durability).open(path).unwrap();
    let mut held: Option<(Snapshot, Entries)> = None;
    say("ready");
    for serial in first.parse::<u64>().unwrap().. {
        let key = format!("worker {number} key {}", random.below(KEYS));
        match random.below(24) {
            0..=7 => {
                say(format_args!("set {serial} {key}"));
                pod.set(&*key, serial).unwrap();
                say(format_args!("done {serial}"));
            }
            8..=9 => {
                say(format_args!("remove {serial} {key}"));
                pod.remove(&*key).unwrap();
                say(format_args!("done {serial}"));
            }
            10..=11 => {
                // Away and back at once: the key goes last, and is never seen absent.
                say(format_args!("set {serial} {key}"));
                pod.transaction(|txn| {
                    txn.remove(&*key)?;
                    txn.set(&*key, serial)
                })
                .unwrap();
                say(format_args!("done {serial}"));
            }
            12..=17 => {
                let (from, to) = (random.index(ACCOUNTS), random.index(ACCOUNTS));
                let amount = random.below(50) as i64;
                pod.transaction(|txn| {
                    txn.at(account(from)).add(-amount)?;
                    txn.at(account(to)).add(amount)?;
                    Ok::<(), Error>(())
                })
                .unwrap();
            }
            18..=19 => look(&pod),
            // Goes through a segment in some dozen turns, of which little stays.
            20..=21 => pod.set(format!("worker {number} ballast {}", random.below(3)), "b".repeat(random.below(100_000) as usize)).unwrap(),
            22 => match held.take() {
                Some((snapshot, entries)) => assert_eq!(read(&snapshot), entries, "version {} does not stay the same", snapshot.version()),
                None => {
                    let snapshot = pod.snapshot().unwrap();
                    let entries = read(&snapshot);
                    held = Some((snapshot, entries));
                }
            },
            _ => pod.compact().unwrap(),
        }
    }
}

type Entries = Vec<(String, i64)>;

/// All entries; of the ballast only the keys.
fn read(snapshot: &Snapshot) -> Entries {
    let entries =
        snapshot.entries().map(|entry| entry.map(|(key, value)| (key.to_key().unwrap().to_string(), value.as_i64().unwrap_or(0))));
    entries.collect::<Result<_, Error>>().unwrap()
}

/// Takes a snapshot and checks it.
fn look(pod: &Pod) {
    let snapshot = pod.snapshot().unwrap();
    let entries = read(&snapshot);
    assert_eq!(entries.len(), snapshot.len(), "version {}", snapshot.version());
    let keys: HashSet<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys.len(), entries.len(), "a key stands twice in version {}", snapshot.version());
    let accounts: Vec<&(String, i64)> = entries.iter().filter(|(key, _)| key.contains("account")).collect();
    assert_eq!(accounts.len(), ACCOUNTS);
    assert!(accounts.iter().enumerate().all(|(number, (key, _))| key.contains(&account(number))), "the accounts stand in order");
    let sum: i64 = accounts.iter().map(|(_, balance)| balance).sum();
    assert_eq!(sum, BALANCE * ACCOUNTS as i64, "version {}", snapshot.version());
    assert_eq!(read(&snapshot), entries, "version {} does not stay the same", snapshot.version());
}

/// A value that a key may have; nothing where it may be absent.
type Possible = Vec<Option<u64>>;

/// A worker, and a thread that reads what it says. Dropping it kills the worker.
struct Running {
    number: usize,
    process: nix::unistd::Pid,
    /// How many lines it has said.
    said: Arc<AtomicU64>,
    listener: Option<JoinHandle<(Vec<String>, Child)>>,
}

impl Running {
    fn kill(&self) {
        kill(self.process, Signal::SIGKILL).expect("its process is not waited for before it is killed");
    }

    /// Waits until it has said so many lines.
    fn wait_for(&self, lines: u64) {
        let begun = Instant::now();
        while self.said.load(Ordering::Relaxed) < lines {
            assert!(begun.elapsed() < HANG, "worker {} says nothing more", self.number);
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// What the killed worker had said, and how it ended.
    fn end(mut self) -> (Vec<String>, std::process::ExitStatus) {
        let (lines, mut child) = self.listener.take().expect("taken only here").join().unwrap();
        (lines, child.wait())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.listener.is_some() {
            self.kill();
        }
    }
}

/// What is known of all writes.
#[derive(Default)]
struct Known {
    keys: BTreeMap<String, Possible>,
    next: Vec<u64>,
    acknowledged: u64,
    kills: u64,
}

fn start(path: &Path, number: usize, known: &Known, random: &mut Random) -> Running {
    let mut child = Child::start(
        "random_worker",
        &[text(path), &number.to_string(), &known.next[number].to_string(), &random.below(u64::MAX).to_string()],
    );
    let process = nix::unistd::Pid::from_raw(child.pid());
    let said = Arc::new(AtomicU64::new(0));
    let count = said.clone();
    let listener = std::thread::spawn(move || {
        let lines = std::iter::from_fn(|| child.line()).inspect(|_| _ = count.fetch_add(1, Ordering::Relaxed)).collect();
        (lines, child)
    });
    Running { number, process, said, listener: Some(listener) }
}

impl Known {
    /// Kills a worker and takes down what it has said.
    fn end(&mut self, running: Running) {
        running.kill();
        let worker = running.number;
        let (lines, status) = running.end();
        assert!(was_killed(status), "worker {worker} ended by itself with {status}, after {:?}", lines.last());
        self.kills += 1;
        let mut announced: Option<(u64, String, Option<u64>)> = None;
        for line in &lines {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            match words[..] {
                ["set", serial, key] => announced = Some((serial.parse().unwrap(), key.to_owned(), Some(serial.parse().unwrap()))),
                ["remove", serial, key] => announced = Some((serial.parse().unwrap(), key.to_owned(), None)),
                ["done", serial] => {
                    let (number, key, value) = announced.take().expect("announced before");
                    assert_eq!(serial, number.to_string());
                    self.keys.insert(key, vec![value]);
                    self.acknowledged += 1;
                    self.next[worker] = number + 1;
                }
                ["ready"] => {}
                // Cut off in the middle by the kill: nothing was begun yet.
                _ => assert_eq!(Some(line), lines.last(), "an unknown line"),
            }
        }
        if let Some((serial, key, value)) = announced {
            self.keys.entry(key).or_insert_with(|| vec![None]).push(value);
            self.next[worker] = serial + 1;
        }
    }

    fn check(&self, pod: &Pod) {
        for (key, possible) in &self.keys {
            let found = pod.get_as::<u64>(key.as_str()).unwrap();
            assert!(possible.contains(&found), "{key} is {found:?}, which was neither acknowledged nor in flight: {possible:?}");
        }
        look(pod);
        let report = pod.verify().unwrap();
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn random_kills_lose_no_acknowledged_write_and_no_money() {
    let rounds = asked("TASTYPOD_KILL_ROUNDS", 6);
    let mut random = Random(seed());
    let directory = directory();
    let path = directory.path().join("a.pod");
    open(&path).extend((0..ACCOUNTS).map(|number| (account(number), BALANCE))).unwrap();
    let mut known = Known { next: vec![1; WORKERS], ..Known::default() };
    for round in 0..rounds {
        // In every other round this process survives them all; in the others nobody does in the end.
        let survivor = (round % 2 == 0).then(|| open(&path));
        let mut running: Vec<Running> = (0..WORKERS).map(|number| start(&path, number, &known, &mut random)).collect();
        for _ in 0..KILLS {
            let victim = running.swap_remove(random.index(WORKERS));
            let number = victim.number;
            // One in four is killed while it still opens the store.
            if random.below(4) > 0 {
                victim.wait_for(random.below(40));
            }
            std::thread::sleep(Duration::from_micros(random.below(5_000)));
            known.end(victim);
            running.push(start(&path, number, &known, &mut random));
            if let Some(pod) = &survivor {
                look(pod);
                pod.set("survivor", round).unwrap();
            }
        }
        running[random.index(WORKERS)].wait_for(10);
        // All at once.
        for worker in &running {
            worker.kill();
        }
        running.into_iter().for_each(|worker| known.end(worker));
        known.check(&survivor.unwrap_or_else(|| open(&path)));
    }
    for name in ["index", "order", "control"] {
        std::fs::remove_file(path.join(".live").join(name)).unwrap();
        known.check(&open(&path));
    }
    println!("{rounds} rounds, {} kills, {} acknowledged writes", known.kills, known.acknowledged);
    assert!(known.kills > 0 && known.acknowledged > 0);
}
