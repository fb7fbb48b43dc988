//! Claims against rivals: tasks of which 99 % are done are claimed and finished by real processes, in turns with SQLite and with
//! threads of one process on a map that keeps a cursor. Also how soon a sleeper is woken, and what calls cost as stores grow.
//!
//!     cargo run --release --features sqlite --bin tasks -- --help
#![allow(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tastypod::{Next, Options, Tracker};

/// One in so many tasks is open.
const OPEN_EVERY: usize = 100;

#[derive(Serialize, Deserialize)]
struct Doc {
    #[serde(rename = "_tries")]
    tries: u64,
    #[serde(rename = "_done")]
    done: bool,
    #[serde(rename = "_aborted")]
    aborted: bool,
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

fn key(index: usize) -> String {
    format!("https://example.org/a/path/of/some/length/{index:08}")
}

fn doc(index: usize) -> Doc {
    Doc {
        tries: u64::from(index % OPEN_EVERY != 0),
        done: index % OPEN_EVERY != 0,
        aborted: false,
        url: "https://example.org/".to_owned(),
        result: None,
    }
}

fn now() -> f64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// A store of tasks.
trait Pool {
    fn load(&self, count: usize) -> Result<()>;
    /// Opens the tasks again that were open in the beginning.
    fn reopen(&self, count: usize) -> Result<()>;
    /// Claims and finishes tasks until there is none; how many.
    fn drain(&self, result: Option<&str>) -> Result<u64>;
}

struct Ours(Tracker);

#[derive(Serialize)]
struct Fields<'a> {
    result: &'a str,
}

impl Pool for Ours {
    fn load(&self, count: usize) -> Result<()> {
        Ok(self.0.extend((0..count).map(|index| (key(index), doc(index))))?)
    }

    fn reopen(&self, count: usize) -> Result<()> {
        Ok(self.0.extend((0..count).step_by(OPEN_EVERY).map(|index| (key(index), doc(index))))?)
    }

    fn drain(&self, result: Option<&str>) -> Result<u64> {
        let mut count = 0;
        while let Some(claim) = self.0.claim()? {
            match result {
                None => claim.done()?,
                Some(result) => claim.done_with(Fields { result })?,
            }
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(feature = "sqlite")]
struct Sqlite(rusqlite::Connection);

#[cfg(feature = "sqlite")]
impl Sqlite {
    fn open(directory: &Path) -> Result<Sqlite> {
        let connection = rusqlite::Connection::open(directory.join("tasks.sqlite"))?;
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "mmap_size", 4_i64 << 30)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, key TEXT UNIQUE, tries INT, done INT, claimed INT, url TEXT, result TEXT);
             CREATE INDEX IF NOT EXISTS open ON tasks (id) WHERE done = 0 AND claimed = 0;",
        )?;
        Ok(Sqlite(connection))
    }
}

#[cfg(feature = "sqlite")]
impl Pool for Sqlite {
    fn load(&self, count: usize) -> Result<()> {
        let transaction = self.0.unchecked_transaction()?;
        for index in 0..count {
            let doc = doc(index);
            self.0.prepare_cached("INSERT INTO tasks VALUES (?1, ?2, ?3, ?4, 0, ?5, NULL)")?.execute(rusqlite::params![
                index as i64,
                key(index),
                doc.tries as i64,
                doc.done,
                doc.url
            ])?;
        }
        Ok(transaction.commit()?)
    }

    fn reopen(&self, count: usize) -> Result<()> {
        let _ = count;
        self.0.execute("UPDATE tasks SET done = 0, claimed = 0, tries = 0, result = NULL WHERE id % ?1 = 0", [OPEN_EVERY as i64])?;
        Ok(())
    }

    fn drain(&self, result: Option<&str>) -> Result<u64> {
        use rusqlite::OptionalExtension;
        let mut claim = self.0.prepare(
            "UPDATE tasks SET claimed = 1, tries = tries + 1
             WHERE id = (SELECT id FROM tasks WHERE done = 0 AND claimed = 0 ORDER BY id LIMIT 1) RETURNING id, key, tries, url",
        )?;
        let mut done = self.0.prepare("UPDATE tasks SET done = 1, claimed = 0, result = ?2 WHERE id = ?1")?;
        let mut count = 0;
        loop {
            let row = |row: &rusqlite::Row<'_>| {
                std::hint::black_box((row.get::<_, String>(1)?, row.get::<_, String>(3)?));
                row.get::<_, i64>(0)
            };
            let Some(id) = claim.query_row([], row).optional()? else { return Ok(count) };
            done.execute(rusqlite::params![id, result])?;
            count += 1;
        }
    }
}

#[derive(Default)]
struct Map {
    tasks: Mutex<(IndexMap<String, String>, usize, Vec<bool>)>,
}

impl Pool for Map {
    fn load(&self, count: usize) -> Result<()> {
        let mut tasks = self.tasks.lock().unwrap();
        for index in 0..count {
            tasks.0.insert(key(index), serde_json::to_string(&doc(index))?);
        }
        Ok(())
    }

    fn reopen(&self, count: usize) -> Result<()> {
        let mut tasks = self.tasks.lock().unwrap();
        tasks.1 = 0;
        tasks.2 = (0..count).map(|index| index % OPEN_EVERY == 0).collect();
        for index in (0..count).step_by(OPEN_EVERY) {
            tasks.0.insert(key(index), serde_json::to_string(&doc(index))?);
        }
        Ok(())
    }

    fn drain(&self, result: Option<&str>) -> Result<u64> {
        let mut count = 0;
        loop {
            let (key, mut doc) = {
                let mut tasks = self.tasks.lock().unwrap();
                let (map, cursor, open) = &mut *tasks;
                while *cursor < open.len() && !open[*cursor] {
                    *cursor += 1;
                }
                if *cursor == open.len() {
                    return Ok(count);
                }
                open[*cursor] = false;
                let (key, text) = map.get_index_mut(*cursor).context("a task")?;
                let mut doc: Doc = serde_json::from_str(text)?;
                doc.tries += 1;
                *text = serde_json::to_string(&doc)?;
                (key.clone(), doc)
            };
            doc.done = true;
            doc.result = result.map(str::to_owned);
            let text = serde_json::to_string(&doc)?;
            *self.tasks.lock().unwrap().0.get_mut(&key).context("a task")? = text;
            count += 1;
        }
    }
}

/// Without saving by itself: SQLite is asked for no flush either.
fn open_ours(path: &Path) -> Result<Tracker> {
    Ok(Options::new().sync_at(usize::MAX).open_tracker(path)?)
}

fn open(engine: &str, directory: &Path) -> Result<Box<dyn Pool>> {
    match engine {
        "ours" => Ok(Box::new(Ours(open_ours(&directory.join("tasks.tracker"))?))),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(Sqlite::open(directory)?)),
        _ => bail!("{engine} is not built in"),
    }
}

/// A worker process: drains when it is told, and says how many it did, from when to when.
struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(arguments: &[&str]) -> Result<Worker> {
        let mut process = Command::new(std::env::current_exe()?).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().context("piped")?;
        let output = BufReader::new(process.stdout.take().context("piped")?);
        let mut worker = Worker { process, input, output };
        worker.hear()?;
        Ok(worker)
    }

    fn tell(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.input, "{text}")?)
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(engine: &str, directory: &Path, result_bytes: usize) -> Result<()> {
    let pool = open(engine, directory)?;
    let result = "r".repeat(result_bytes);
    let result = (result_bytes > 0).then_some(&*result);
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let start: f64 = line?.parse()?;
        while now() < start {
            std::hint::spin_loop();
        }
        let count = pool.drain(result)?;
        println!("{count} {}", now());
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Rates, in thousand tasks a second, of one engine with so many processes.
fn round(workers: &mut [Worker], expected: usize) -> Result<f64> {
    let start = now() + 0.005;
    for worker in &mut *workers {
        worker.tell(&start.to_string())?;
    }
    let (mut count, mut end) = (0, start);
    for worker in workers {
        let said = worker.hear()?;
        let (done, at) = said.split_once(' ').with_context(|| format!("a worker said {said:?}"))?;
        count += done.parse::<usize>()?;
        end = f64::max(end, at.parse()?);
    }
    anyhow::ensure!(count == expected, "{count} of {expected} tasks were done");
    Ok(count as f64 / (end - start) / 1000.0)
}

fn compare(directory: &Path, count: usize, rounds: usize, result_bytes: usize) -> Result<()> {
    let engines: &[&str] = if cfg!(feature = "sqlite") { &["ours", "sqlite"] } else { &["ours"] };
    let bytes = result_bytes.to_string();
    let expected = count.div_ceil(OPEN_EVERY);
    println!("claim + done, {count} tasks of which 99 % are done, results of {result_bytes} bytes: thousand tasks a second");
    let map = Map::default();
    map.load(count)?;
    let mut crews = Vec::new();
    for engine in engines {
        let place = directory.join(format!("{engine}-{result_bytes}"));
        std::fs::create_dir_all(&place)?;
        let pool = open(engine, &place)?;
        pool.load(count)?;
        let text = place.to_str().context("a path of text")?;
        let workers: Vec<Worker> = (0..4).map(|_| Worker::start(&["work", engine, text, &bytes])).collect::<Result<_>>()?;
        crews.push((*engine, pool, workers));
    }
    for processes in [1, 2, 4] {
        let mut rates = vec![Vec::new(); engines.len() + 1];
        for _ in 0..rounds {
            for (index, (_, pool, workers)) in crews.iter_mut().enumerate() {
                pool.reopen(count)?;
                rates[index].push(round(&mut workers[..processes], expected)?);
            }
            map.reopen(count)?;
            let start = Instant::now();
            let result = "r".repeat(result_bytes);
            let result = (result_bytes > 0).then_some(&*result);
            let done: u64 = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..processes).map(|_| scope.spawn(|| map.drain(result))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<Result<u64>>()
            })?;
            rates[engines.len()].push(done as f64 / start.elapsed().as_secs_f64() / 1000.0);
        }
        let rates: Vec<f64> = rates.iter_mut().map(|rates| median(rates)).collect();
        let names = engines.iter().chain(&["Mutex<IndexMap> of one process"]);
        let line: Vec<String> =
            names.zip(&rates).map(|(name, rate)| format!("{name} {rate:.0} (ours {:.1} times)", rates[0] / rate)).collect();
        println!("  {processes} processes: {}", line.join(", "));
    }
    Ok(())
}

/// A futex in a file that two processes map.
fn futex(path: &Path) -> Result<*const libc::c_void> {
    let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    file.set_len(4096)?;
    let map = unsafe {
        // SAFETY: a new mapping at an address of the kernel's choice; the file is as long.
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            std::os::fd::AsRawFd::as_raw_fd(&file),
            0,
        )
    };
    anyhow::ensure!(map != libc::MAP_FAILED, "mmap failed");
    Ok(map)
}

fn futex_word(map: *const libc::c_void) -> &'static std::sync::atomic::AtomicU32 {
    // SAFETY: the mapping starts at a page and is never unmapped; both processes use the word as an atomic.
    unsafe { &*map.cast() }
}

fn sleeper(kind: &str, directory: &Path) -> Result<()> {
    use std::sync::atomic::Ordering;
    let tracker = (kind == "claim").then(|| open_ours(&directory.join("wake.tracker"))).transpose()?;
    let word = futex_word(futex(&directory.join("futex"))?);
    println!("ready");
    for turn in std::io::stdin().lock().lines() {
        let turn: u32 = turn?.parse()?;
        println!("sleeps");
        match &tracker {
            Some(tracker) => {
                let Next::Task(claim) = tracker.claim_wait(Duration::from_secs(20))? else { bail!("no task came") };
                println!("{}", now());
                claim.done()?;
            }
            None => {
                while word.load(Ordering::Acquire) != turn {
                    // SAFETY: the word outlives the call, which only reads it.
                    unsafe {
                        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, turn - 1, std::ptr::null::<libc::timespec>())
                    };
                }
                println!("{}", now());
            }
        }
    }
    Ok(())
}

fn wake(directory: &Path, rounds: usize) -> Result<()> {
    use std::sync::atomic::Ordering;
    let tracker = open_ours(&directory.join("wake.tracker"))?;
    tracker.add("held")?;
    // Somebody works, so that the sleeper waits.
    let held = tracker.claim()?.context("a task")?;
    let text = directory.to_str().context("a path of text")?;
    let word = futex_word(futex(&directory.join("futex"))?);
    let mut sleepers = [Worker::start(&["sleep", "claim", text])?, Worker::start(&["sleep", "futex", text])?];
    let mut times = [Vec::new(), Vec::new()];
    for turn in 1..=rounds as u32 {
        for (index, sleeper) in sleepers.iter_mut().enumerate() {
            sleeper.tell(&turn.to_string())?;
            sleeper.hear()?;
            std::thread::sleep(Duration::from_millis(2));
            let start = now();
            if index == 0 {
                tracker.add(turn)?;
            } else {
                word.store(turn, Ordering::Release);
                // SAFETY: FUTEX_WAKE does not touch the memory.
                unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
            }
            times[index].push((sleeper.hear()?.parse::<f64>()? - start) * 1e6);
        }
    }
    held.done()?;
    let [claim, futex] = times.each_mut().map(|times| median(times));
    println!(
        "wake-up, from before the commit to the claim in a sleeping process: {claim:.1} µs; bare futex {futex:.1} µs; {:.2} times",
        claim / futex
    );
    Ok(())
}

fn grow(directory: &Path, largest: usize) -> Result<()> {
    println!("cost as it grows, 99 % done: nanoseconds a call");
    for count in [10_000, 1_000_000, 10_000_000].into_iter().filter(|count| *count <= largest) {
        let place = directory.join(format!("grow-{count}.tracker"));
        let tracker = open_ours(&place)?;
        for start in (0..count).step_by(100_000) {
            tracker.extend((start..count.min(start + 100_000)).map(|index| (index, doc(index))))?;
        }
        let time = |calls: u32, call: &dyn Fn() -> Result<()>| -> Result<f64> {
            let mut times = Vec::new();
            for _ in 0..20 {
                let start = Instant::now();
                (0..calls).try_for_each(|_| call())?;
                times.push(start.elapsed().as_nanos() as f64 / f64::from(calls));
            }
            Ok(median(&mut times))
        };
        let claims = (count / OPEN_EVERY / 20).min(500) as u32;
        let claim = time(claims, &|| Ok(tracker.claim()?.context("a task")?.done()?))?;
        let progress = time(1000, &|| {
            std::hint::black_box(tracker.progress());
            Ok(())
        })?;
        let num_done = time(1000, &|| {
            std::hint::black_box(tracker.num_done());
            Ok(())
        })?;
        println!("  {count} tasks: claim + done {claim:.0}, progress {progress:.0}, num_done {num_done:.0}");
        drop(tracker);
        std::fs::remove_dir_all(&place)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", engine, directory, bytes] => return serve(engine, Path::new(directory), bytes.parse()?),
        ["sleep", kind, directory] => return sleeper(kind, Path::new(directory)),
        _ => {}
    }
    let mut parser = lexopt::Parser::from_env();
    let (mut count, mut rounds, mut largest, mut parent) = (1_000_000, 15, 1_000_000, PathBuf::from("."));
    while let Some(argument) = parser.next()? {
        use lexopt::prelude::{Long, ValueExt};
        match argument {
            Long("tasks") => count = parser.value()?.parse()?,
            Long("rounds") => rounds = parser.value()?.parse()?,
            Long("largest") => largest = parser.value()?.parse()?,
            Long("dir") => parent = parser.value()?.into(),
            _ => {
                println!("tasks [--tasks 1000000] [--rounds 15] [--largest 1000000] [--dir .]");
                return Ok(());
            }
        }
    }
    let directory = tempfile::Builder::new().prefix(".rivals-").tempdir_in(parent)?;
    compare(directory.path(), count, rounds, 0)?;
    compare(directory.path(), count, rounds, 1024)?;
    wake(directory.path(), rounds * 20)?;
    grow(directory.path(), largest)
}
