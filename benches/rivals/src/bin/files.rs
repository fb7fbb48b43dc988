//! The JSON files: what saving, opening, joining and automatic saving cost, beside what else reads and writes such files.
//!
//!     cargo run --release --bin files -- --help

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indexmap::IndexMap;
use tastypod::{Options, Pod, SyncMode};

use data::{Doc, Random, documents, key};

#[allow(dead_code)]
#[path = "../data.rs"]
mod data;
#[allow(dead_code)]
#[path = "../machine.rs"]
mod machine;

const CHUNK: u64 = 100_000;

/// Waits until the disk has nothing more to write: what was written before is not what is measured.
fn settle() {
    let _ = Command::new("sync").status();
}

fn milliseconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// This program as another process, in a role.
struct Helper {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Helper {
    fn start(arguments: &[&str]) -> Result<Helper> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (process.stdin.take().context("piped")?, process.stdout.take().context("piped")?);
        Ok(Helper { process, input, output: BufReader::new(output) })
    }

    fn tell(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.input, "{text}")?)
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A store of so many keys that saves only when it is told to.
fn fill(path: &Path, count: u64, file_size: u64) -> Result<Pod> {
    let pod = Options::new().file_size(file_size).sync_mode(SyncMode::Manual).open(path)?;
    let documents = documents();
    for start in (0..count).step_by(CHUNK as usize) {
        pod.extend((start..count.min(start + CHUNK)).map(|index| (key(index), &documents[index as usize % documents.len()])))?;
    }
    Ok(pod)
}

fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    let mut shards = Vec::new();
    for number in 0.. {
        let shard = path.join(format!("{number}.json"));
        if !shard.exists() {
            break;
        }
        shards.push(shard);
    }
    Ok(shards)
}

/// All shards as one file.
fn concatenate(path: &Path, to: &Path) -> Result<u64> {
    let mut out = std::fs::File::create(to)?;
    let mut bytes = 0;
    for shard in shards(path)? {
        bytes += std::io::copy(&mut std::fs::File::open(shard)?, &mut out)?;
    }
    out.sync_all()?;
    Ok(bytes)
}

fn megabytes_a_second(bytes: u64, milliseconds: f64) -> f64 {
    bytes as f64 / 1e6 / (milliseconds / 1e3)
}

const PYTHON: &str = r#"
import json, os, sys, time
source, target = sys.argv[1:]
start = time.perf_counter()
entries = {}
with open(source, encoding="utf-8") as file:
    for line in file:
        key, value = line.split("\t")
        entries[json.loads(key)] = json.loads(value)
print((time.perf_counter() - start) * 1e3)
start = time.perf_counter()
with open(target, "w", encoding="utf-8") as file:
    for key, value in entries.items():
        file.write(json.dumps(key) + "\t" + json.dumps(value) + "\n")
    file.flush()
    os.fsync(file.fileno())
print((time.perf_counter() - start) * 1e3)
"#;

fn python(file: &Path, target: &Path) -> Result<Option<(f64, f64)>> {
    let Ok(output) = Command::new("python3").args(["-c", PYTHON]).args([file, target]).output() else { return Ok(None) };
    let text = String::from_utf8(output.stdout)?;
    let mut times = text.lines().map(str::parse::<f64>);
    match (times.next(), times.next()) {
        (Some(read), Some(write)) => Ok(Some((read?, write?))),
        _ => bail!("python3: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Times `.dump` into a file and `sqlite3` over that file.
fn sqlite(directory: &Path, file: &Path) -> Result<Option<(f64, f64)>> {
    let database = directory.join("rival.sqlite");
    let shell = |database: &Path, input: Stdio, output: Stdio, arguments: &[&str]| -> Result<Option<()>> {
        match Command::new("sqlite3").arg(database).args(arguments).stdin(input).stdout(output).status() {
            Ok(status) if status.success() => Ok(Some(())),
            Ok(status) => bail!("sqlite3: {status}"),
            Err(_) => Ok(None),
        }
    };
    let script = directory.join("fill.sql");
    let text = format!(
        "CREATE TABLE pod (key TEXT PRIMARY KEY, value TEXT);\n.mode ascii\n.separator \"\\t\" \"\\n\"\n.import {} pod\n",
        file.display()
    );
    std::fs::write(&script, text)?;
    let input = || -> Result<Stdio> { Ok(std::fs::File::open(&script)?.into()) };
    if shell(&database, input()?, Stdio::null(), &[])?.is_none() {
        return Ok(None);
    }
    let dump = directory.join("dump.sql");
    let dumped = milliseconds(|| {
        let out = std::fs::File::create(&dump)?;
        shell(&database, Stdio::null(), out.try_clone()?.into(), &[".dump"])?;
        Ok(out.sync_all()?)
    })?;
    let restored =
        milliseconds(|| shell(&directory.join("restored.sqlite"), std::fs::File::open(&dump)?.into(), Stdio::null(), &[]).map(drop))?;
    for name in ["rival.sqlite", "restored.sqlite", "dump.sql", "fill.sql"] {
        let _ = std::fs::remove_file(directory.join(name));
    }
    Ok(Some((dumped, restored)))
}

/// Reads all lines as `serde_json::Value`s and hands each entry on.
fn parse(file: &Path, mut take: impl FnMut(String, serde_json::Value)) -> Result<()> {
    let mut text = String::new();
    std::fs::File::open(file)?.read_to_string(&mut text)?;
    for line in text.lines() {
        let (key, value) = line.split_once('\t').context("a tab")?;
        take(serde_json::from_str(key)?, serde_json::from_str(value)?);
    }
    Ok(())
}

/// The same in a new process, whose memory is as new as that of one that opens a store: milliseconds.
fn parsed(file: &Path, what: &str) -> Result<f64> {
    let mut helper = Helper::start(&["parse", file.to_str().context("a path of text")?, what])?;
    let time = helper.hear()?.parse()?;
    helper.process.wait()?;
    Ok(time)
}

fn parse_once(file: &Path, what: &str) -> Result<()> {
    let mut entries = IndexMap::new();
    let time = milliseconds(|| match what {
        "map" => parse(file, |key, value| drop(entries.insert(key, value))),
        _ => parse(file, |key, value| drop(std::hint::black_box((key, value)))),
    })?;
    println!("{time}");
    Ok(())
}

fn save_and_open(directory: &Path, count: u64, rounds: usize) -> Result<()> {
    let (place, copy, file, target) =
        (directory.join("save.pod"), directory.join("copy.pod"), directory.join("one.json"), directory.join("written.json"));
    let (mut saves, mut gzipped, mut opens, mut floors, mut parses, mut maps, mut writes) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for round in 0..rounds {
        let pod = fill(&place, count, 4096)?;
        settle();
        saves.push(milliseconds(|| Ok(pod.sync()?))?);
        if round == 0 {
            // The same entries, all written anew.
            settle();
            gzipped.push(milliseconds(|| Ok(pod.convert(tastypod::Conversion::new().gzipped(true))?))?);
            pod.convert(tastypod::Conversion::new().gzipped(false))?;
        }
        bytes = concatenate(&place, &file)?;
        drop(pod);
        if round == 0 {
            std::fs::create_dir(&copy)?;
            for shard in shards(&place)?.iter().chain([&place.join("pod.json")]) {
                std::fs::copy(shard, copy.join(shard.file_name().context("a name")?))?;
            }
            // First of all: what other parts leave of memory is not what is measured.
            for _ in 0..2 * rounds {
                settle();
                opens.push(joined(copy.to_str().context("a path of text")?, &key(count / 2))?.1 / 1e3);
                std::fs::remove_dir_all(copy.join(".live"))?;
                parses.push(parsed(&file, "drop")?);
                maps.push(parsed(&file, "map")?);
            }
        }
        std::fs::remove_dir_all(&place)?;
        let text = std::fs::read(&file)?;
        settle();
        floors.push(milliseconds(|| {
            let mut out = std::fs::File::create(&target)?;
            out.write_all(&text)?;
            Ok(out.sync_all()?)
        })?);
        drop(text);
        let mut entries = IndexMap::new();
        parse(&file, |key, value| drop(entries.insert(key, value)))?;
        settle();
        writes.push(milliseconds(|| {
            let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(&target)?);
            for (key, value) in &entries {
                serde_json::to_writer(&mut out, key)?;
                out.write_all(b"\t")?;
                serde_json::to_writer(&mut out, value)?;
                out.write_all(b"\n")?;
            }
            Ok(out.into_inner()?.sync_all()?)
        })?);
    }
    println!("{count} entries, {:.0} MB of JSON; medians of {rounds} rounds, each file flushed to the disk", bytes as f64 / 1e6);
    let row = |what: &str, time: f64| println!("  {what:58} {time:8.0} ms  {:6.0} MB/s", megabytes_a_second(bytes, time));
    println!(" written:");
    row("tastypod, sync() of all entries", median(&mut saves));
    row("tastypod, the same compressed (once)", median(&mut gzipped));
    row("the same bytes, write and fsync", median(&mut floors));
    row("serde_json, from an IndexMap of Values", median(&mut writes));
    settle();
    let python = python(&file, &target)?;
    let sqlite = sqlite(directory, &file)?;
    python.map_or_else(|| println!("  python3 is not installed"), |(_, write)| row("Python's json (once)", write));
    sqlite.map_or_else(|| println!("  sqlite3 is not installed"), |(dump, _)| row("sqlite3 .dump (once)", dump));
    println!(" read:");
    let (open, parsed, mapped) = (median(&mut opens), median(&mut parses), median(&mut maps));
    row("tastypod, open from the JSON files alone, and one get", open);
    row("serde_json to Value, dropped at once", parsed);
    row("serde_json to Value, into an IndexMap", mapped);
    if let Some((read, _)) = python {
        row("Python's json, into a dict (once)", read);
    }
    if let Some((_, restore)) = sqlite {
        row("sqlite3, from the .dump (once)", restore);
    }
    println!("  serde_json / tastypod: {:.2} dropped, {:.2} into a map", parsed / open, mapped / open);
    Ok(())
}

/// Opens a store, gets one key, says how many microseconds that took.
fn join_once(path: &Path, wanted: &str) -> Result<()> {
    let start = Instant::now();
    let pod = Pod::open(path)?;
    let opened = start.elapsed();
    anyhow::ensure!(pod.get_as::<Doc>(wanted)?.is_some());
    println!("{} {}", opened.as_secs_f64() * 1e6, start.elapsed().as_secs_f64() * 1e6);
    // Leaving is not what is measured.
    Ok(())
}

/// The same in a new process.
fn joined(path: &str, wanted: &str) -> Result<(f64, f64)> {
    let mut helper = Helper::start(&["join", path, wanted])?;
    let line = helper.hear()?;
    helper.process.wait()?;
    let (open, get) = line.split_once(' ').with_context(|| format!("two times: {line}"))?;
    Ok((open.parse()?, get.parse()?))
}

fn join(directory: &Path, largest: u64, rounds: usize) -> Result<()> {
    println!("joining, in a new process: microseconds until it is open / until the first get returned");
    // The last with as many files as the first.
    for (count, file_size) in
        [(1_000_000, 4096), (10_000_000, 4096), (10_000_000, 40_960)].into_iter().filter(|(count, _)| *count <= largest)
    {
        let place = directory.join(format!("join-{count}.pod"));
        let pod = fill(&place, count, file_size)?;
        pod.sync()?;
        let path = place.to_str().context("a path of text")?;
        let time = || -> Result<(f64, f64)> {
            let (mut opened, mut got) = (Vec::new(), Vec::new());
            for index in 0..rounds * 10 {
                let (open, get) = joined(path, &key(index as u64 * 77_777 % count))?;
                opened.push(open);
                got.push(get);
            }
            Ok((median(&mut opened), median(&mut got)))
        };
        let live = time()?;
        drop(pod);
        let clean = time()?;
        let files = shards(&place)?.len();
        println!("  {count} keys: live {:.0} / {:.0}, left in good order {:.0} / {:.0} ({files} files)", live.0, live.1, clean.0, clean.1);
        std::fs::remove_dir_all(&place)?;
    }
    Ok(())
}

/// Saves without pause while it is told to, and says how often.
fn saver(path: &Path) -> Result<()> {
    let pod = Options::new().sync_mode(SyncMode::Manual).open(path)?;
    let mut lines = std::io::stdin().lines();
    println!("ready");
    while let Some(line) = lines.next().transpose()? {
        let until = Instant::now() + Duration::from_secs_f64(line.parse()?);
        let mut saves = 0;
        while Instant::now() < until {
            pod.sync()?;
            saves += 1;
        }
        println!("{saves}");
    }
    Ok(())
}

/// Latencies of sets of random keys for a time.
fn sets(pod: &Pod, count: u64, random: &mut Random, seconds: f64, latencies: &mut Vec<u32>) -> Result<f64> {
    let documents = documents();
    let keys: Vec<String> = (0..1 << 16).map(|_| key(random.below(count as usize) as u64)).collect();
    let start = Instant::now();
    let (mut last, mut sets) = (start, 0_u64);
    for turn in 0.. {
        pod.set(&keys[turn % keys.len()], &documents[turn % documents.len()])?;
        let now = Instant::now();
        latencies.push((now - last).as_nanos().min(u128::from(u32::MAX)) as u32);
        last = now;
        sets += 1;
        if (now - start).as_secs_f64() >= seconds {
            break;
        }
    }
    Ok(sets as f64 / start.elapsed().as_secs_f64())
}

fn beside(directory: &Path, count: u64, rounds: usize, seconds: f64) -> Result<()> {
    let place = directory.join("beside.pod");
    let pod = fill(&place, count, 4096)?;
    pod.sync()?;
    let mut helper = Helper::start(&["save", place.to_str().context("a path of text")?])?;
    helper.hear()?;
    let mut random = Random::new(1);
    let (mut alone, mut with, mut ratios, mut saves) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut latencies = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        let mut scratch = [Vec::new(), Vec::new()];
        let without = sets(&pod, count, &mut random, seconds, &mut scratch[0])?;
        helper.tell(&(seconds + 0.05).to_string())?;
        std::thread::sleep(Duration::from_millis(50));
        let beside = sets(&pod, count, &mut random, seconds, &mut scratch[1])?;
        let saved: u32 = helper.hear()?.parse()?;
        // The first round warms.
        if round > 0 {
            alone.push(without);
            with.push(beside);
            ratios.push(beside / without);
            saves += saved;
            latencies.iter_mut().zip(scratch).for_each(|(all, new)| all.extend(new));
        }
    }
    println!("set of random keys out of {count}, {rounds} rounds of {seconds} s in turn, beside a process that saves without pause");
    let tail = |latencies: &mut Vec<u32>| {
        latencies.sort_unstable();
        let at = |part: f64| f64::from(latencies[((latencies.len() - 1) as f64 * part) as usize]) / 1e3;
        let above = latencies.iter().filter(|latency| **latency > 1_000_000).count();
        format!(
            "p50 {:.2}, p99 {:.2}, p99.9 {:.1}, p99.99 {:.0}, max {:.0} µs; {above} of {} above 1 ms",
            at(0.5),
            at(0.99),
            at(0.999),
            at(0.9999),
            at(1.0),
            latencies.len()
        )
    };
    let [without, beside] = &mut latencies;
    println!("  without: {:.0} k/s; {}", median(&mut alone) / 1e3, tail(without));
    println!("  beside:  {:.0} k/s; {}", median(&mut with) / 1e3, tail(beside));
    println!("  {saves} checkpoints; with / without: {:.2}", median(&mut ratios));
    drop(helper);
    drop(pod);
    Ok(std::fs::remove_dir_all(&place)?)
}

fn automatic(directory: &Path, count: u64, rounds: usize) -> Result<()> {
    const SETS: usize = 100_000;
    let place = directory.join("automatic.pod");
    drop(fill(&place, count, 4096)?);
    let documents = documents();
    let (mut held_times, mut free_times) = (Vec::new(), Vec::new());
    let mut random = Random::new(2);
    for _ in 0..rounds {
        for is_held in [true, false] {
            let pod = Pod::open(&place)?;
            let keys: Vec<String> = (0..SETS).map(|_| key(random.below(count as usize) as u64)).collect();
            let hold = is_held.then(|| pod.hold()).transpose()?;
            let time =
                milliseconds(|| keys.iter().enumerate().try_for_each(|(turn, key)| Ok(pod.set(key, &documents[turn % documents.len()])?)))?;
            if is_held { &mut held_times } else { &mut free_times }.push(time);
            drop(hold);
            drop(pod);
        }
    }
    let (held, free) = (median(&mut held_times), median(&mut free_times));
    println!(
        "{SETS} sets of random keys out of {count}: {held:.0} ms under hold(), {free:.0} ms with sync_at at its default; {:.2} times",
        free / held
    );
    Ok(std::fs::remove_dir_all(&place)?)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["join", path, key] => return join_once(Path::new(path), key),
        ["parse", file, what] => return parse_once(Path::new(file), what),
        ["save", path] => return saver(Path::new(path)),
        _ => {}
    }
    let mut parser = lexopt::Parser::from_env();
    let (mut count, mut rounds, mut largest, mut seconds, mut parent) = (1_000_000, 3, 1_000_000, 1.0, PathBuf::from("."));
    let mut only = "open,join,beside,auto".to_owned();
    while let Some(argument) = parser.next()? {
        use lexopt::prelude::{Long, ValueExt};
        match argument {
            Long("keys") => count = parser.value()?.parse()?,
            Long("rounds") => rounds = parser.value()?.parse()?,
            Long("largest") => largest = parser.value()?.parse()?,
            Long("seconds") => seconds = parser.value()?.parse()?,
            Long("dir") => parent = parser.value()?.into(),
            Long("only") => only = parser.value()?.string()?,
            _ => {
                println!("files [--keys 1000000] [--rounds 3] [--largest 1000000] [--seconds 1] [--only open,join,beside,auto] [--dir .]");
                return Ok(());
            }
        }
    }
    let directory = tempfile::Builder::new().prefix(".rivals-").tempdir_in(parent)?;
    println!("{}", machine::describe(directory.path())?);
    for part in only.split(',') {
        match part {
            "open" => save_and_open(directory.path(), count, rounds)?,
            "join" => join(directory.path(), largest, rounds)?,
            "beside" => beside(directory.path(), count, rounds, seconds)?,
            "auto" => automatic(directory.path(), count, rounds)?,
            other => bail!("no part is named {other}"),
        }
    }
    Ok(())
}
