//! What one call costs one process, and what a miss of the cache costs here, in nanoseconds.
//!
//!     cargo run --release --bin calls -- [KEYS [CALL,.. [SECONDS]]]
//!
//! With ROUNDS=n in the environment each call is made n times 4096 times, so that two runs under
//! `valgrind --tool=callgrind` differ by a known number of calls.

use std::hint::black_box;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tastypod::{Options, Pod};

/// Calls between two looks at the clock; their keys are chosen and copied together before.
const BATCH: usize = 4096;
const CALLS: &str = "memory,contains,view,get_as,get,set,hot,add,iterate";

#[derive(Serialize, Deserialize)]
struct Document {
    _tries: u64,
    _done: bool,
    _aborted: bool,
    url: String,
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn main() -> tastypod::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.first().map_or(100_000, |count| count.parse().expect("a number of keys"));
    let calls = arguments.get(1).map_or(CALLS, String::as_str);
    let seconds = arguments.get(2).map_or(1.0, |seconds| seconds.parse().expect("a number of seconds"));
    // On a real file system.
    let directory = tempfile::tempdir_in("target").expect("a directory for the store");
    let pod = Options::new().sync_at(usize::MAX).open(directory.path().join("calls.pod"))?;
    let keys: Vec<String> = (0..count).map(|index| format!("https://example.org/{index:030}")).collect();
    let document = Document { _tries: 0, _done: false, _aborted: false, url: keys[0].clone() };
    let start = Instant::now();
    pod.extend(keys.iter().map(|key| (key, &document)))?;
    println!("{:12} {:7.1} ns a key", "extend", start.elapsed().as_nanos() as f64 / count as f64);
    let random = &mut Random(88_172_645_463_325_252);
    for call in calls.split(',') {
        if call == "memory" {
            memory(random);
        } else {
            measure(call, &pod, &keys, &document, seconds, random)?;
        }
    }
    Ok(())
}

fn measure(call: &str, pod: &Pod, keys: &[String], document: &Document, seconds: f64, random: &mut Random) -> tastypod::Result<()> {
    let rounds: Option<usize> = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let mut samples = Vec::new();
    let begin = Instant::now();
    while rounds.map_or(begin.elapsed().as_secs_f64() < seconds, |rounds| samples.len() < rounds) {
        let near: Vec<String> = (0..BATCH).map(|_| keys[random.below(keys.len())].clone()).collect();
        let start = Instant::now();
        let mut made = BATCH;
        match call {
            "contains" => near.iter().try_for_each(|key| pod.contains_key(key).map(drop_seen))?,
            "view" => near.iter().try_for_each(|key| -> tastypod::Result<()> {
                let view = pod.view(key)?;
                drop_seen(view.as_ref().and_then(|view| view.get("_tries")).and_then(|tries| tries.as_i64()));
                Ok(())
            })?,
            "get_as" => near.iter().try_for_each(|key| pod.get_as::<Document>(key).map(drop_seen))?,
            "get" => near.iter().try_for_each(|key| pod.get(key).map(drop_seen))?,
            "set" => near.iter().try_for_each(|key| pod.set(key, document))?,
            "hot" => near.iter().try_for_each(|_| pod.at(&keys[0]).key("_tries").add(1).map(drop_seen))?,
            "add" => near.iter().try_for_each(|key| pod.at(key).key("_tries").add(1).map(drop_seen))?,
            "iterate" => {
                made = keys.len();
                for entry in pod.snapshot()?.entries() {
                    drop_seen(entry?.1.get("_tries").and_then(|tries| tries.as_i64()));
                }
            }
            other => panic!("no call is named {other}; there are {CALLS}"),
        }
        samples.push(start.elapsed().as_nanos() as f64 / made as f64);
    }
    samples.sort_by(f64::total_cmp);
    println!("{call:12} {:7.1} ns, the least {:.1}", samples[samples.len() / 2], samples[0]);
    Ok(())
}

/// Keeps the compiler from leaving out what was read.
fn drop_seen<T>(value: T) {
    black_box(value);
}

/// Loads that depend on each other, one a cache line, in random order through ever more memory.
fn memory(random: &mut Random) {
    const LINE: usize = 64 / size_of::<usize>();
    for megabytes in [1, 2, 4, 8, 32, 128] {
        let lines = (megabytes << 20) / 64;
        let mut order: Vec<usize> = (0..lines).collect();
        for index in (1..lines).rev() {
            order.swap(index, random.below(index + 1));
        }
        let mut chain = vec![0; lines * LINE];
        for pair in 0..lines {
            chain[order[pair] * LINE] = order[(pair + 1) % lines] * LINE;
        }
        let (start, mut at) = (Instant::now(), 0);
        let loads = lines.max(1 << 21);
        for _ in 0..loads {
            at = chain[at];
        }
        black_box(at);
        println!("{:12} {:7.1} ns a load from {megabytes} MB", "memory", start.elapsed().as_nanos() as f64 / loads as f64);
    }
}
