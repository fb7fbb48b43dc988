//! A kill at every crash point of every kind of operation.
//!
//! Goal: a write that returned survives any process's death at any instant; a write that did not return is there whole
//! or not at all; nobody waits, and no command repairs anything.
//!
//! Crash model: SIGKILL between any two changes of shared memory or system calls that change something. The library
//! counts these points itself (`tastypod::crash`), so there is no list of points here: for n = 1, 2, 3… a process is
//! forked that does the operation and dies at the n-th point, until one passes them all. Runs of hundreds of like points
//! (a table being zeroed) are sampled: the first and last ones always, those between with a stride, from a start that
//! changes with each run, so that repeated runs come to each of them. TASTYPOD_EVERY_POINT=1 leaves none out.
//!
//! Checked after each kill, once with a survivor that has the store open the whole time (the transaction is finished
//! from shared memory) and once without (the store is rebuilt from the log, or trusted if it was closed in order):
//! the survivor writes at once; a newcomer opens; both see, in order, exactly what the returned calls made, or what the
//! one call in flight would have made besides, and the same of the two; `verify` is clean in both; in the end all are
//! killed, and the log alone tells the same.

use crate::forked::{Forked, Line, fork, quick_directory, was_killed};
use crate::support::{Child, Role, say};
use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tastypod::crash::{self, Action};
use tastypod::{Error, Options, Pod};

pub const CHILDREN: &[Role] = &[("kill_matrix", matrix_role), ("kill_repair", repair_role)];

/// A survivor's write takes longer than this only if it waited for the dead.
const PROMPT: Duration = Duration::from_secs(3);
/// The lock timeout of everybody: who meets it has met a stale lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// One kind of operation.
struct Scenario {
    name: &'static str,
    /// Leaves the store as the operation finds it. Runs in a process of its own, which ends as by a kill.
    prepare: fn(&Path),
    /// Does it, in a process of its own, calling `Armed::arm` where the points begin and `Armed::returned` after each
    /// call that changed something.
    act: fn(&Armed<'_>),
    /// Whether it is also done with somebody attached, and also with nobody.
    with_survivor: bool,
    without_survivor: bool,
    /// How many points at each end are never left out, and how many of the others are tried.
    ends: u64,
    sample: u64,
}

/// What an acting process needs.
struct Armed<'a> {
    path: &'a Path,
    point: u64,
    line: &'a Line,
    telling: Telling,
    armed: Cell<bool>,
}

/// What is said after each returned call.
#[derive(Clone, Copy)]
enum Telling {
    Returned,
    Contents,
    Points,
}

impl<'a> Armed<'a> {
    fn new(path: &'a Path, point: u64, line: &'a Line, telling: Telling) -> Armed<'a> {
        Armed { path, point, line, telling, armed: Cell::new(false) }
    }

    fn arm(&self) {
        self.armed.set(true);
        crash::arm(self.point, Action::Kill);
    }

    /// Says how many points were passed, in the process that counts them.
    fn ended(&self) {
        if self.armed.get() && matches!(self.telling, Telling::Points) {
            self.line.say(crash::passed());
        }
    }

    fn returned(&self) {
        match self.telling {
            Telling::Returned => self.line.say("returned"),
            Telling::Contents => self.line.say(digest(&contents(&open(self.path)))),
            Telling::Points => {}
        }
    }
}

fn open(path: &Path) -> Pod {
    Options::new().lock_timeout(LOCK_TIMEOUT).open(path).unwrap()
}

/// Keys and values in order, without what survivors and newcomers write.
fn contents(pod: &Pod) -> Vec<(String, String)> {
    let mut contents = Vec::new();
    for entry in pod.snapshot().unwrap().entries() {
        let (key, value) = entry.unwrap();
        let key = key.to_key().unwrap().to_string();
        if !key.contains("witness") {
            let value = match value.as_str() {
                // The long ones repeat one letter: to compare is much faster than to print.
                Some(text) if text.len() > 1000 => {
                    assert!(text == text[..1].repeat(text.len()), "the value of {key} is whole");
                    format!("{} times {}", text.len(), &text[..1])
                }
                _ => value.to_value().unwrap().to_string(),
            };
            contents.push((key, value));
        }
    }
    contents
}

fn digest(contents: &[(String, String)]) -> String {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    format!("{}:{:016x}", contents.len(), hasher.finish())
}

fn require_clean(pod: &Pod, who: &str) {
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{who}: {report}");
}

/// Writes at once and reads back.
fn write_at_once(pod: &Pod, key: &str, value: u64) {
    let start = Instant::now();
    pod.set(key, value).unwrap();
    let took = start.elapsed();
    assert!(took < PROMPT, "the write of {key} took {took:?}");
    assert_eq!(pod.get_as::<u64>(key).unwrap(), Some(value));
}

/// A process that has the store open while another dies.
fn survivor(path: &Path) -> Forked {
    let survivor = fork(|line| {
        let pod = open(path);
        // Leaves the note that somebody may be sleeping, so that the next writer wakes.
        pod.wait(pod.version(), Duration::from_micros(1)).unwrap();
        line.say("ready");
        let mut turn = 0;
        while line.hear().is_some() {
            turn += 1;
            write_at_once(&pod, "witness that survived", turn);
            require_clean(&pod, "the survivor");
            line.say(digest(&contents(&pod)));
        }
    });
    assert_eq!(survivor.hear().as_deref(), Some("ready"), "the survivor opens");
    survivor
}

#[track_caller]
fn look(survivor: &Forked, context: &str) -> String {
    survivor.tell("look");
    survivor.hear().unwrap_or_else(|| panic!("{context}: the survivor failed"))
}

/// A process that opens after the kill, looks, writes, and leaves in order or as by a kill.
#[track_caller]
fn newcomer(path: &Path, leaves: bool, context: &str) -> String {
    let newcomer = fork(|line| {
        let pod = open(path);
        line.say(digest(&contents(&pod)));
        require_clean(&pod, "the newcomer");
        write_at_once(&pod, "witness that came", 1);
        pod.remove("witness that came").unwrap();
        require_clean(&pod, "the newcomer after a write");
        if leaves {
            drop(pod);
        }
    });
    newcomer.succeed(&format!("{context}: the newcomer"))
}

/// Which points are tried, of `total` expected ones.
struct Sampling {
    total: u64,
    ends: u64,
    stride: u64,
    start: u64,
}

impl Sampling {
    fn new(total: u64, ends: u64, sample: u64) -> Sampling {
        let every = std::env::var_os("TASTYPOD_EVERY_POINT").is_some();
        let between = total.saturating_sub(2 * ends);
        let stride = if every { 1 } else { between.div_ceil(sample).max(1) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::from(time.subsec_nanos()) / 1000);
        Sampling { total, ends, stride, start: now % stride }
    }

    fn includes(&self, point: u64) -> bool {
        point <= self.ends || point + self.ends > self.total || point % self.stride == self.start
    }
}

struct Run<'a> {
    scenario: &'a Scenario,
    directory: PathBuf,
    /// The contents that the store has before the operation and after each returned call.
    states: Vec<String>,
    points: u64,
}

fn prepared(scenario: &Scenario, path: &Path) {
    let prepare = scenario.prepare;
    fork(|_| prepare(path)).succeed(scenario.name);
}

impl Run<'_> {
    /// The operation without a kill, which says what the contents are to be, and how many points there are.
    fn reference(scenario: &Scenario, directory: &Path) -> (Vec<String>, u64) {
        let path = directory.join("before");
        prepared(scenario, &path);
        let before = fork(|line| line.say(digest(&contents(&open(&path))))).succeed(scenario.name);
        let path = directory.join("after");
        prepared(scenario, &path);
        let act = scenario.act;
        let told = fork(|line| act(&Armed::new(&path, 0, line, Telling::Contents)));
        let (said, status) = told.end();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(status.pid().unwrap(), 0), "{}", scenario.name);
        let mut states = vec![before];
        states.extend(said);
        let path = directory.join("counted");
        prepared(scenario, &path);
        let counted = fork(|line| {
            let armed = Armed::new(&path, 0, line, Telling::Points);
            act(&armed);
            armed.ended();
        });
        let points = counted.succeed(scenario.name).parse().expect("a number");
        (states, points)
    }

    /// Kills at one point. False if the operation was through before it.
    fn kill_at(&self, point: u64, with_survivor: bool) -> bool {
        let context = format!(
            "{} {} a survivor, killed at point {point} of {}",
            self.scenario.name,
            if with_survivor { "with" } else { "without" },
            self.points
        );
        let path = self.directory.join(format!("{point}-{with_survivor}"));
        prepared(self.scenario, &path);
        let survivor = with_survivor.then(|| survivor(&path));
        let act = self.scenario.act;
        let (said, status) = fork(|line| act(&Armed::new(&path, point, line, Telling::Returned))).end();
        let killed = was_killed(status);
        assert!(killed || matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{context}: it ended with {status:?}");
        let returned = said.len();
        let allowed = &self.states[returned..self.states.len().min(returned + 1 + usize::from(killed))];
        let mut seen = Vec::new();
        if let Some(survivor) = &survivor {
            seen.push(look(survivor, &context));
        }
        seen.push(newcomer(&path, point % 2 == 0, &context));
        if let Some(survivor) = survivor {
            seen.push(look(&survivor, &context));
            // From here on nobody lives who had it open.
            survivor.signal(nix::sys::signal::Signal::SIGKILL);
            survivor.end();
        }
        seen.push(newcomer(&path, true, &context));
        assert!(
            seen.iter().all(|one| *one == seen[0] && allowed.contains(one)),
            "{context}: {returned} calls returned; seen {seen:?}, allowed {allowed:?} of {:?}",
            self.states
        );
        std::fs::remove_dir_all(&path).unwrap();
        killed
    }
}

fn matrix_role(names: &[String]) {
    for name in names {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap_or_else(|| panic!("no scenario {name}"));
        let start = Instant::now();
        let directory = quick_directory();
        let (states, points) = Run::reference(scenario, directory.path());
        let run = Run { scenario, directory: directory.path().to_owned(), states, points };
        let sampling = Sampling::new(points, scenario.ends, scenario.sample);
        let mut summary = format!("{name}: {points} points in {} calls, stride {}", run.states.len() - 1, sampling.stride);
        for with_survivor in [true, false] {
            if if with_survivor { !scenario.with_survivor } else { !scenario.without_survivor } {
                continue;
            }
            let mut kills = 0;
            let mut last = 0;
            for point in (1..).filter(|point| sampling.includes(*point)) {
                last = point;
                if !run.kill_at(point, with_survivor) {
                    break;
                }
                kills += 1;
                assert!(point < 2 * points + 100, "{name}: the points do not end");
            }
            summary += &format!("; {kills} kills {} a survivor, through at {last}", if with_survivor { "with" } else { "without" });
            assert!(kills > 0, "{name}: nothing was killed");
        }
        say(format_args!("{summary}; {:.1?}", start.elapsed()));
    }
}

fn base(path: &Path) {
    drop(filled(path));
}

fn filled(path: &Path) -> Pod {
    let pod = open(path);
    pod.extend((0..8).map(|n| (format!("k{n}"), n))).unwrap();
    pod.set("counter", 40).unwrap();
    pod.remove("k1").unwrap();
    pod
}

/// Nobody says that all is in order.
fn left_by_a_kill(path: &Path) {
    std::mem::forget(filled(path));
}

fn nothing(_: &Path) {}

/// Opens before the points begin.
fn opened(armed: &Armed<'_>) -> Pod {
    let pod = open(armed.path);
    armed.arm();
    pod
}

macro_rules! on_open {
    ($(|$pod:ident| $call:expr);+ $(;)?) => {
        |armed| {
            let pod = opened(armed);
            $( { let $pod = &pod; $call.unwrap(); } armed.returned(); )+
        }
    };
}

fn open_close(armed: &Armed<'_>) {
    armed.arm();
    let pod = open(armed.path);
    drop(pod);
}

fn create_and_set(armed: &Armed<'_>) {
    armed.arm();
    let pod = Options::new().file_size(100).max_tries(3).lock_timeout(LOCK_TIMEOUT).open(armed.path).unwrap();
    pod.set("first", 1).unwrap();
    armed.returned();
    drop(pod);
}

fn join_and_set(armed: &Armed<'_>) {
    armed.arm();
    let pod = open(armed.path);
    pod.set("joined", 1).unwrap();
    armed.returned();
    drop(pod);
}

fn close(armed: &Armed<'_>) {
    let pod = open(armed.path);
    pod.set("k2", "before the close").unwrap();
    armed.returned();
    armed.arm();
    drop(pod);
}

/// The copy that joins by using an inherited handle is the one that dies; then its parent does.
fn join_by_fork(armed: &Armed<'_>) {
    let pod = open(armed.path);
    let child = fork(|_| {
        armed.arm();
        pod.set("forked", 1).unwrap();
        armed.returned();
        armed.ended();
    });
    let (_, status) = child.end();
    if was_killed(status) {
        // The parent goes on while the child's remains lie there, and then dies too.
        pod.remove("absent").unwrap();
        nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}

fn transaction(armed: &Armed<'_>) {
    let pod = opened(armed);
    pod.transaction(|txn| {
        txn.set("k2", "changed")?;
        txn.set("new one", 1)?;
        txn.remove("k3")?;
        txn.remove("k4")?;
        txn.set("k4", "again")?;
        txn.set("new two", [1, 2, 3])?;
        txn.at("counter").add(2)?;
        Ok::<(), Error>(())
    })
    .unwrap();
    armed.returned();
    let guard = pod.lock().unwrap();
    pod.set("k5", "guarded").unwrap();
    pod.set("new three", 1).unwrap();
    guard.commit().unwrap();
    armed.returned();
}

fn snapshots(armed: &Armed<'_>) {
    let pod = opened(armed);
    let before = pod.snapshot().unwrap();
    pod.set("k2", "after").unwrap();
    armed.returned();
    let after = pod.snapshot().unwrap();
    pod.remove("k3").unwrap();
    armed.returned();
    assert_eq!(before.get_as::<i64>("k2").unwrap(), Some(2));
    assert_eq!(after.get_as::<String>("k2").unwrap().as_deref(), Some("after"));
    assert!(after.contains_key("k3").unwrap());
    drop(before);
    drop(after);
}

/// The log's first segment is nearly full.
fn nearly_full_segment(path: &Path) {
    base(path);
    open(path).set("ballast", "b".repeat(3_900_000)).unwrap();
}

fn across_segments(armed: &Armed<'_>) {
    let pod = opened(armed);
    pod.extend((0..4).map(|n| (format!("part {n}"), "p".repeat(100_000)))).unwrap();
    armed.returned();
    pod.set("long", "l".repeat(4_300_000)).unwrap();
    armed.returned();
    pod.set("k2", "short").unwrap();
    armed.returned();
}

/// Segments of which nothing is needed any more, among them those of a long value.
fn with_dead_segments(path: &Path) {
    base(path);
    let pod = open(path);
    pod.set("long", "l".repeat(4_300_000)).unwrap();
    pod.set("long", "short").unwrap();
    for letter in ["a", "b", "c", "d"].iter().cycle().take(16) {
        pod.set("hot", letter.repeat(1_000_000)).unwrap();
    }
}

fn segments_again(armed: &Armed<'_>) {
    let pod = opened(armed);
    let all = |pod: &Pod| pod.stats().map(|stats| stats.segments + stats.segments_free).unwrap();
    let before = all(&pod);
    let segment_bytes = pod.stats().map(|stats| stats.log_bytes / stats.segments).unwrap();
    for letter in ["e", "f", "g", "h", "i"] {
        pod.set("hot", letter.repeat(1_000_000)).unwrap();
        armed.returned();
    }
    pod.set("long", "m".repeat(4_300_000)).unwrap();
    armed.returned();
    pod.transaction(|txn| {
        txn.set("long", "short again")?;
        txn.set("hot", "short too")
    })
    .unwrap();
    armed.returned();
    // A run of segments is taken behind the others unless enough free ones lie side by side.
    let run = 4_300_000 / segment_bytes + 2;
    assert!(all(&pod) <= before + run, "segments are used again: {} instead of {before}", all(&pod));
}

/// Segments in which a little is live, one of which is being cleaned.
fn with_a_segment_in_cleaning(path: &Path) {
    base(path);
    let pod = open(path);
    let stats = pod.stats().unwrap();
    let segment_bytes = stats.log_bytes / stats.segments;
    for n in 0..200 {
        pod.set("ballast", ["b", "c", "d"][n % 3].repeat(segment_bytes as usize / 8)).unwrap();
        // A few that stay in every segment, some of them removed.
        pod.set(format!("stays {n}"), n).unwrap();
        if n % 4 == 0 {
            pod.remove(format!("stays {n}")).unwrap();
        }
        if pod.stats().unwrap().is_cleaning {
            return;
        }
    }
    panic!("the log is never cleaned: {:?}", pod.stats().unwrap());
}

fn cleaning(armed: &Armed<'_>) {
    let pod = opened(armed);
    assert!(pod.stats().unwrap().is_cleaning);
    for turn in 0..30 {
        pod.set("counter", turn).unwrap();
        armed.returned();
        pod.set("stays 9", "e".repeat(1001 + turn)).unwrap();
        armed.returned();
        if !pod.stats().unwrap().is_cleaning {
            pod.remove("k2").unwrap();
            armed.returned();
            return;
        }
    }
    panic!("the cleaning does not end");
}

/// So many keys that the table will soon be too full, some of them removed.
fn nearly_due(path: &Path) {
    let pod = open(path);
    pod.extend((0..1534).map(|n| (n, n))).unwrap();
    pod.transaction(|txn| (0..40).try_for_each(|n| txn.remove(n).map(|_| ()))).unwrap();
}

/// Begins the next table: keys that are new, changed and removed while its first slots are filled.
fn growth_begins(armed: &Armed<'_>) {
    let pod = opened(armed);
    for n in 0..4 {
        pod.set(format!("begin {n}"), n).unwrap();
        armed.returned();
        pod.set(100 + n, "changed").unwrap();
        armed.returned();
        pod.remove(200 + n).unwrap();
        armed.returned();
    }
}

/// Grows until a few commits before the next table becomes the current one.
fn nearly_grown(path: &Path) {
    nearly_due(path);
    let pod = open(path);
    let slots = pod.stats().unwrap().slots;
    let mut commits = 0;
    // How many commits it takes is found out on a store beside it: all stores grow alike but for their hashes.
    let trial = path.with_extension("trial");
    nearly_due(&trial);
    let tried = open(&trial);
    while tried.stats().unwrap().slots == slots {
        grow_by_one(&tried, commits);
        commits += 1;
    }
    drop(tried);
    std::fs::remove_dir_all(&trial).unwrap();
    for commit in 0..commits - 3 {
        grow_by_one(&pod, commit);
    }
}

/// One commit of a growing store: new keys, changed ones in copied slots and in slots that were not copied yet.
fn grow_by_one(pod: &Pod, commit: i64) {
    match commit % 4 {
        0 | 1 => pod.set(format!("grown {commit}"), commit).unwrap(),
        2 => pod.set(300 + commit, "changed").unwrap(),
        _ => drop(pod.remove(300 + commit).unwrap()),
    }
}

fn growth_ends(armed: &Armed<'_>) {
    let pod = opened(armed);
    let slots = pod.stats().unwrap().slots;
    for commit in 0..6 {
        pod.set(format!("end {commit}"), commit).unwrap();
        armed.returned();
        pod.set(700 + commit, "changed").unwrap();
        armed.returned();
    }
    assert!(pod.stats().unwrap().slots > slots, "the growth ended among these commits");
}

fn growth_whole(armed: &Armed<'_>) {
    let pod = opened(armed);
    let slots = pod.stats().unwrap().slots;
    for commit in 0..1000 {
        grow_by_one(&pod, commit);
        armed.returned();
        if pod.stats().unwrap().slots > slots {
            return;
        }
    }
    panic!("the growth does not end");
}

const fn scenario(name: &'static str, prepare: fn(&Path), act: fn(&Armed<'_>)) -> Scenario {
    Scenario { name, prepare, act, with_survivor: true, without_survivor: true, ends: 60, sample: 60 }
}

const SCENARIOS: &[Scenario] = &[
    Scenario { with_survivor: false, ..scenario("create", nothing, create_and_set) },
    Scenario { with_survivor: false, ..scenario("open a closed store", base, open_close) },
    Scenario { with_survivor: false, ..scenario("open a closed store and set", base, join_and_set) },
    Scenario { with_survivor: false, ..scenario("open what a kill left", left_by_a_kill, join_and_set) },
    Scenario { without_survivor: false, ..scenario("join", base, join_and_set) },
    Scenario { without_survivor: false, ..scenario("join by fork", base, join_by_fork) },
    scenario("close", base, close),
    scenario("set a new key", base, on_open!(|pod| pod.set("new", [1, 2, 3]))),
    scenario("set an old key", base, on_open!(|pod| pod.set("k2", "changed"); |pod| pod.set("k2", "changed again"))),
    scenario("remove", base, on_open!(|pod| pod.remove("k2"))),
    scenario("remove and set again", base, on_open!(|pod| pod.remove("k2"); |pod| pod.set("k2", "again"); |pod| pod.set("k1", "again"))),
    scenario("add", base, on_open!(|pod| pod.at("counter").add(1); |pod| pod.at("counter").add(1))),
    scenario("clear", base, on_open!(|pod| pod.clear(); |pod| pod.set("k1", 1))),
    scenario("transaction", base, transaction),
    scenario("extend", base, on_open!(|pod| pod.extend((0..12).map(|n| (n, n))); |pod| pod.extend((6..18).map(|n| (n, -n))))),
    scenario("snapshot", base, snapshots),
    Scenario { ends: 10, sample: 12, ..scenario("segments", nearly_full_segment, across_segments) },
    Scenario { ends: 10, sample: 30, ..scenario("segments again", with_dead_segments, segments_again) },
    Scenario { ends: 10, sample: 30, ..scenario("cleaning", with_a_segment_in_cleaning, cleaning) },
    Scenario { ends: 20, sample: 24, ..scenario("growth begins", nearly_due, growth_begins) },
    Scenario { ends: 20, sample: 24, ..scenario("growth ends", nearly_grown, growth_ends) },
    Scenario { ends: 20, sample: 24, ..scenario("growth", nearly_due, growth_whole) },
];

fn run(role: &str, names: &[&str]) {
    let mut child = Child::start(role, names);
    let lines = child.lines();
    for line in &lines {
        println!("{line}");
    }
    assert!(child.wait().success(), "the reason was printed above");
    assert_eq!(lines.len(), names.len());
}

#[test]
fn a_kill_at_any_point_of_making_a_store_leaves_a_store_or_none() {
    run("kill_matrix", &["create"]);
}

#[test]
fn a_kill_at_any_point_of_opening_leaves_the_store_as_it_was() {
    run("kill_matrix", &["open a closed store", "open a closed store and set", "open what a kill left"]);
}

#[test]
fn a_kill_at_any_point_of_joining_or_leaving_does_not_disturb_the_others() {
    run("kill_matrix", &["join", "join by fork", "close", "snapshot"]);
}

#[test]
fn a_kill_at_any_point_of_a_write_leaves_it_whole_or_not_at_all() {
    run("kill_matrix", &["set a new key", "set an old key", "remove", "remove and set again", "add"]);
}

#[test]
fn a_kill_at_any_point_of_a_transaction_leaves_all_of_it_or_nothing() {
    run("kill_matrix", &["transaction", "extend", "clear"]);
}

#[test]
fn a_kill_at_any_point_of_entering_another_segment_loses_nothing() {
    run("kill_matrix", &["segments"]);
}

#[test]
fn a_kill_at_any_point_of_using_a_segment_again_loses_nothing() {
    run("kill_matrix", &["segments again"]);
}

#[test]
fn a_kill_at_any_point_of_cleaning_a_segment_loses_nothing() {
    run("kill_matrix", &["cleaning"]);
}

#[test]
fn a_kill_at_any_point_of_growing_the_table_loses_nothing() {
    run("kill_matrix", &["growth begins", "growth ends"]);
}

#[test]
fn a_kill_in_the_middle_of_growing_the_table_loses_nothing() {
    run("kill_matrix", &["growth"]);
}

/// What the writer whose remains are repaired was doing.
fn write_of_the_dead(pod: &Pod) {
    pod.transaction(|txn| {
        txn.set("k2", "changed")?;
        txn.remove("k3")?;
        txn.set("new", 1)
    })
    .unwrap();
}

/// For each point at which a writer dies: somebody repairs, and dies at each of his points; a third repairs that.
fn repair_role(_: &[String]) {
    let start = Instant::now();
    let directory = quick_directory();
    let path = directory.path().join("reference");
    fork(|_| base(&path)).succeed("prepare");
    let states = fork(|line| {
        let pod = open(&path);
        let before = digest(&contents(&pod));
        write_of_the_dead(&pod);
        line.say(format_args!("{before} {}", digest(&contents(&pod))));
    })
    .succeed("reference");
    let states: Vec<&str> = states.split(' ').collect();
    let (mut writer_points, mut repair_kills) = (0, 0);
    'writer: for writer_point in 1.. {
        // Of the pairs every third is tried, from a start that changes: all of them in some runs.
        let sampling = Sampling::new(60, 0, 20);
        for repair_point in (1..).filter(|point| sampling.includes(point + writer_point)) {
            let context = format!("a writer killed at point {writer_point}, its repairer at point {repair_point}");
            let path = directory.path().join(format!("{writer_point}-{repair_point}"));
            fork(|_| base(&path)).succeed(&context);
            let survivor = survivor(&path);
            let repairer = fork(|line| {
                let pod = open(&path);
                line.say("ready");
                line.hear();
                crash::arm(repair_point, Action::Kill);
                // Taking the lock repairs; giving it back ends what is tried here.
                drop(pod.lock().unwrap());
            });
            assert_eq!(repairer.hear().as_deref(), Some("ready"));
            let (_, status) = fork(|_| {
                let pod = open(&path);
                crash::arm(writer_point, Action::Kill);
                write_of_the_dead(&pod);
            })
            .end();
            if !was_killed(status) {
                break 'writer;
            }
            writer_points = writer_point;
            repairer.tell("repair");
            let killed = was_killed(repairer.end().1);
            let seen = [look(&survivor, &context), newcomer(&path, true, &context), look(&survivor, &context)];
            assert!(
                seen.iter().all(|one| *one == seen[0] && states.contains(&one.as_str())),
                "{context}: seen {seen:?}, allowed {states:?}"
            );
            drop(survivor);
            assert_eq!(newcomer(&path, true, &context), seen[0], "{context}, from the log");
            std::fs::remove_dir_all(&path).unwrap();
            if !killed {
                break;
            }
            repair_kills += 1;
        }
    }
    assert!(repair_kills > writer_points, "some repairs had something to do");
    say(format_args!("repair: {writer_points} points of the writer, {repair_kills} kills of its repairers; {:.1?}", start.elapsed()));
}

#[test]
fn a_kill_at_any_point_of_a_repair_leaves_a_store_that_the_next_repairs() {
    run("kill_repair", &["all"]);
}
