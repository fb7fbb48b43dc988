//! A power cut at any moment.
//!
//! Goal: what was acknowledged under `Durability::Disk` is there afterwards, and the rest is a prefix of the commit order.
//!
//! Crash model: from a flush on, each page of the log that is written may be on the disk as it was at any moment since, or not
//! at all, or torn: each of its sectors by itself. Of everything else in `.live` only the control page is left, which is of another boot. A process records how the log's pages
//! change, write by write, and when they were flushed (`tastypod::crash::observe`); images are made of that at random.
//!
//! Checked of each image: it opens; its contents are those after one of the calls, not older than the last durable one that had returned; `verify` is
//! clean; it can be written and is the same when it is opened again. Of some images the opening and what follows is recorded again, for
//! a power cut in the recovery.

use crate::chance::{Random, asked};
use crate::forked::{as_after_a_power_cut, fork, quick_directory};
use crate::support::{Child, Role, say};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tastypod::{Durability, Error, Options, Pod, crash};

pub const CHILDREN: &[Role] = &[("power_loss", power_loss_role)];

const PAGE: usize = 4096;
const SECTOR: usize = 512;

type Page = Arc<[u8; PAGE]>;

/// What happened to the log.
enum Event {
    Changed(Vec<(usize, Page)>),
    Flushed,
}

/// The log's pages as they are now, and how they became so.
struct Recorder {
    log: PathBuf,
    pages: Vec<Page>,
    events: Vec<Event>,
    /// Memory for the log's bytes.
    now: Vec<u8>,
}

fn page_of(bytes: &[u8]) -> Page {
    Arc::new(std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0)))
}

fn pages_of(path: &Path) -> Vec<Page> {
    fs::read(path).unwrap_or_default().chunks(PAGE).map(page_of).collect()
}

impl Recorder {
    fn look(&mut self) {
        let file = fs::File::open(&self.log);
        self.now.resize(file.as_ref().map_or(0, |file| file.metadata().map_or(0, |metadata| metadata.len() as usize)), 0);
        if let Ok(file) = file {
            file.read_exact_at(&mut self.now, 0).unwrap();
        }
        let is_new = |(at, bytes): &(usize, &[u8])| self.pages.get(*at).is_none_or(|before| before[..bytes.len()] != **bytes);
        let changed: Vec<(usize, Page)> =
            self.now.chunks(PAGE).enumerate().filter(is_new).map(|(at, bytes)| (at, page_of(bytes))).collect();
        for (at, page) in &changed {
            if self.pages.len() <= *at {
                self.pages.resize(at + 1, Arc::new([0; PAGE]));
            }
            self.pages[*at] = Arc::clone(page);
        }
        if !changed.is_empty() {
            self.events.push(Event::Changed(changed));
        }
    }

    fn see(&mut self, point: &'static str) {
        if matches!(point, "log written" | "log half written" | "file written") {
            self.look();
        }
        if point == "file synced" && crash::subject().ends_with(".live/log") {
            self.look();
            self.events.push(Event::Flushed);
        }
    }
}

/// What a session made, call by call.
struct Recording {
    /// The log on the disk before it.
    before: Vec<Page>,
    events: Vec<Event>,
    /// After each call: how many events there were by then, the contents, and whether they must survive from then on.
    states: Vec<(usize, String, bool)>,
}

fn digest(pod: &Pod) -> String {
    let mut hasher = DefaultHasher::new();
    let mut count = 0;
    for entry in pod {
        let (key, value) = entry.unwrap();
        (key.to_string(), value.to_string()).hash(&mut hasher);
        count += 1;
    }
    format!("{count}:{:016x}", hasher.finish())
}

fn open(path: &Path, durability: Durability) -> Pod {
    Options::new().durability(durability).open(path).unwrap()
}

/// One call on the store; the handle says whether it is durable.
fn call(pod: &Pod, random: &mut Random, segment_bytes: usize) {
    let key = format!("k{}", random.index(12));
    match random.index(10) {
        0 => drop(pod.remove(key).unwrap()),
        1 => pod
            .transaction(|txn| {
                for n in 0..2 + random.index(4) {
                    txn.set(format!("k{}", random.index(12)), n)?;
                }
                txn.remove(key).map(|_| ())
            })
            .unwrap(),
        2 => pod.set(key, "l".repeat(segment_bytes / 8 + random.index(segment_bytes / 4))).unwrap(),
        3 if random.index(6) == 0 => pod.set("long", "r".repeat(segment_bytes + random.index(segment_bytes))).unwrap(),
        3 => drop(pod.remove("long").unwrap()),
        _ => pod.set(key, random.next()).unwrap(),
    }
}

/// Opens what lies at `path` and works on it, recording.
fn record(path: &Path, calls: usize, random: &mut Random) -> Recording {
    let log = path.join(".live/log");
    let before = pages_of(&log);
    let recorder = Arc::new(Mutex::new(Recorder { log, pages: before.clone(), events: Vec::new(), now: Vec::new() }));
    let observed = Arc::clone(&recorder);
    crash::observe(move |point| observed.lock().unwrap().see(point));
    let durable = open(path, Durability::Disk);
    let plain = open(path, Durability::Process);
    let stats = durable.stats().unwrap();
    let segment_bytes = (stats.log_bytes / stats.segments) as usize;
    let events = || {
        let mut recorder = recorder.lock().unwrap();
        recorder.look();
        recorder.events.len()
    };
    let mut states = vec![(events(), digest(&durable), true)];
    // Phases of durable calls, of others, and of both.
    let mut share = 0;
    for turn in 0..calls {
        if turn % 16 == 0 {
            share = [0, 1, 4, 9][random.index(4)];
        }
        let is_durable = random.index(10) >= share;
        let before = durable.version();
        call(if is_durable { &durable } else { &plain }, random, segment_bytes);
        // A call that wrote nothing has nothing to bring to the disk.
        states.push((events(), digest(&durable), is_durable && durable.version() > before));
    }
    crash::look_away();
    let events = std::mem::take(&mut recorder.lock().unwrap().events);
    // As by a kill. Nothing of it is used again.
    std::mem::forget((durable, plain));
    Recording { before, events, states }
}

impl Recording {
    /// What a power cut after `moment` events may leave on the disk.
    fn image(&self, moment: usize, random: &mut Random) -> Vec<Page> {
        let flushed = self.events[..moment].iter().rposition(|event| matches!(event, Event::Flushed)).map_or(0, |at| at + 1);
        let mut disk = self.before.clone();
        let blank: Page = Arc::new([0; PAGE]);
        let mut put = |at: usize, page: &Page| {
            if disk.len() <= at {
                disk.resize(at + 1, Arc::clone(&blank));
            }
            disk[at] = Arc::clone(page);
        };
        let changes = |event: &Event| match event {
            Event::Changed(pages) => pages.clone(),
            Event::Flushed => Vec::new(),
        };
        for (at, page) in self.events[..flushed].iter().flat_map(changes) {
            put(at, &page);
        }
        let mut versions: BTreeMap<usize, Vec<Page>> = BTreeMap::new();
        for (at, page) in self.events[flushed..moment].iter().flat_map(changes) {
            versions.entry(at).or_default().push(page);
        }
        let bias = random.index(5);
        for (at, mut pages) in versions {
            pages.insert(0, disk.get(at).map_or_else(|| Arc::clone(&blank), Arc::clone));
            let newest = pages.len() - 1;
            let choice = match bias {
                0 => random.index(pages.len()),
                1 => newest * random.index(2),
                // Nearly all or nearly nothing.
                2 => {
                    if random.index(8) == 0 {
                        random.index(pages.len())
                    } else {
                        newest
                    }
                }
                3 => {
                    if random.index(8) == 0 {
                        random.index(pages.len())
                    } else {
                        0
                    }
                }
                _ => newest,
            };
            let mut page = *pages[choice];
            if bias != 4 && random.index(4) == 0 || bias == 4 && random.index(30) == 0 {
                for sector in 0..PAGE / SECTOR {
                    let other = &pages[random.index(pages.len())];
                    page[sector * SECTOR..(sector + 1) * SECTOR].copy_from_slice(&other[sector * SECTOR..(sector + 1) * SECTOR]);
                }
            }
            if disk.len() <= at {
                disk.resize(at + 1, Arc::clone(&blank));
            }
            disk[at] = Arc::new(page);
        }
        disk
    }

    /// The contents that such a cut may leave.
    fn allowed(&self, moment: usize) -> &[(usize, String, bool)] {
        let oldest = self.states.iter().rposition(|(events, _, must_survive)| *events <= moment && *must_survive).unwrap_or(0);
        // The call that was going on may be there, whole, and what it waited for.
        let newest = self.states.iter().position(|(events, ..)| *events > moment).unwrap_or(self.states.len() - 1);
        &self.states[oldest..=newest]
    }
}

fn write(path: &Path, pages: &[Page]) {
    let live = path.join(".live");
    fs::create_dir_all(&live).unwrap();
    let log = fs::File::create(live.join("log")).unwrap();
    log.set_len((pages.len() * PAGE) as u64).unwrap();
    // Pages that were never written are holes: most are.
    let is_written = |page: &Page| page[..] != [0; PAGE];
    let mut at = 0;
    for run in pages.chunk_by(|page, next| is_written(page) == is_written(next)) {
        if is_written(&run[0]) {
            let mut bytes = Vec::with_capacity(run.len() * PAGE);
            run.iter().for_each(|page| bytes.extend_from_slice(&page[..]));
            log.write_all_at(&bytes, (at * PAGE) as u64).unwrap();
        }
        at += run.len();
    }
    as_after_a_power_cut(&live);
}

/// Opens an image in a process of its own; returns its contents.
fn look(path: &Path, context: &str) -> String {
    fork(|line| {
        let seen = {
            let pod = open(path, Durability::Disk);
            let seen = digest(&pod);
            let report = pod.verify().unwrap();
            assert!(report.is_clean(), "{context}: {report}");
            pod.set("witness", 1).unwrap();
            pod.remove("witness").unwrap();
            std::mem::forget(pod);
            seen
        };
        line.say(seen);
    })
    .succeed(context)
}

fn images(
    recording: &Recording,
    count: usize,
    directory: &Path,
    random: &mut Random,
    seed: u64,
    depth: usize,
) -> HashMap<&'static str, usize> {
    let mut tally: HashMap<&'static str, usize> = HashMap::new();
    let first = recording.states[0].0;
    for number in 0..count {
        let moment =
            if depth == 0 { first + random.index(recording.events.len() + 1 - first) } else { random.index(recording.events.len() + 1) };
        let context = format!("seed {seed}, image {number} at depth {depth}, after event {moment} of {}", recording.events.len());
        let image = recording.image(moment, random);
        let path = directory.join(format!("image {depth}"));
        write(&path, &image);
        if let Some(kept) = std::env::var_os("TASTYPOD_KEEP_IMAGE") {
            fs::copy(path.join(".live/log"), kept).unwrap();
        }
        let allowed = recording.allowed(moment);
        let seen = look(&path, &context);
        let after = recording.states.iter().rposition(|(_, state, _)| *state == seen);
        assert!(allowed.iter().any(|(_, state, _)| *state == seen), "{context}: seen {seen}, that of call {after:?}, allowed {allowed:?}");
        if number % 4 == 0 {
            // Of what was killed, and what was closed: the same.
            assert_eq!(look(&path, &context), seen, "{context}, opened again");
        }
        *tally.entry("images").or_default() += 1;
        *tally.entry(if allowed.last().is_some_and(|(_, state, _)| *state == seen) { "all" } else { "less" }).or_default() += 1;
        fs::remove_dir_all(&path).unwrap();
        if depth == 0 && number % 40 == 0 {
            // The recovery of it, and what comes after, is cut off too.
            write(&path, &image);
            let mut deeper = record(&path, 12, random);
            assert_eq!(deeper.states[0].1, seen, "{context}");
            // Before the recovery ended nothing else is allowed either.
            deeper.states[0].0 = 0;
            fs::remove_dir_all(&path).unwrap();
            *tally.entry("images").or_default() += images(&deeper, 20, directory, random, seed, 1)["images"];
        }
    }
    tally
}

fn power_loss_role(arguments: &[String]) {
    let [seeds, calls, count] = [0, 1, 2].map(|at| arguments[at].parse::<usize>().unwrap());
    let first = asked("TASTYPOD_SEED", 1);
    let start = Instant::now();
    for seed in first..first + seeds as u64 {
        let directory = quick_directory();
        let mut random = Random(seed);
        let recording = record(&directory.path().join("recorded"), calls, &mut random);
        let flushes = recording.events.iter().filter(|event| matches!(event, Event::Flushed)).count();
        let recorded = start.elapsed();
        let tally = images(&recording, count, directory.path(), &mut random, seed, 0);
        let (events, took) = (recording.events.len(), start.elapsed());
        say(format_args!("seed {seed}: {events} events, {flushes} flushes, recorded until {recorded:.1?}; {tally:?} until {took:.1?}"));
    }
}

/// Segments of 4 MiB make large images: thousands are made where they are small (`.ci/deep power`).
#[test]
fn a_power_cut_leaves_what_was_acknowledged_and_a_prefix_of_the_rest() {
    let [seeds, calls, images] = if cfg!(tastypod_small_segments) { ["5", "120", "300"] } else { ["1", "40", "130"] };
    let mut child = Child::start("power_loss", &[seeds, calls, images]);
    let lines = child.lines();
    lines.iter().for_each(|line| println!("{line}"));
    assert!(child.wait().success(), "the reason was printed above");
    assert_eq!(lines.len().to_string(), seeds);
}

#[test]
fn a_durable_handle_says_what_is_on_the_disk() -> Result<(), Error> {
    let directory = crate::support::directory();
    let path = directory.path().join("a.pod");
    let plain = open(&path, Durability::Process);
    plain.set("k", 1)?;
    assert_eq!(plain.stats()?.durable, None);
    let durable = open(&path, Durability::Disk);
    assert_eq!(durable.stats()?.durable, Some(durable.stats()?.transactions));
    durable.set("k", 2)?;
    let stats = durable.stats()?;
    assert_eq!(stats.durable, Some(stats.transactions));
    plain.set("k", 3)?;
    let after = durable.stats()?;
    assert_eq!((after.durable, after.transactions), (stats.durable, stats.transactions + 1));
    durable.transaction(|_| Ok(()))?;
    assert_eq!(durable.stats()?.flushes, after.flushes, "nothing was written");
    Ok(())
}
