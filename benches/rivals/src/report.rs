//! The figures as tables for a terminal.

use crate::engine;
use crate::histogram::Histogram;
use crate::results::{Results, Spread};
use crate::workload::sustained::LEAST_PART;
use crate::workload::timed::Operation;
use crate::workload::{self, Kind, LEAST_SHARE};

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

pub fn print(results: &Results) {
    println!("{}", conditions(results));
    if results.workloads().next().is_some() {
        rates(results);
        ratios(results);
        shares(results);
    }
    tails(results);
    sustained(results);
    if results.judges_ours() {
        verdicts(results);
    }
}

pub fn conditions(results: &Results) -> String {
    let Results { machine, key_count, rounds, seconds, .. } = results;
    format!("{machine}; {key_count} keys, {rounds} interleaved rounds, {seconds} s a sample")
}

pub fn list() {
    let engines = engine::ALL.iter().map(|engine| {
        let by_default = if engine.default { "" } else { "only when named" };
        vec![engine.name.to_owned(), engine.label.to_owned(), by_default.to_owned()]
    });
    table("Engines", engines.collect());
    let workloads = workload::ALL.iter().map(|workload| vec![workload.name.to_owned(), workload.title.to_owned()]);
    table("Workloads", workloads.collect());
}

fn rates(results: &Results) {
    let mut rows = vec![header("", &results.engines)];
    for workload in results.workloads() {
        let rate = |engine: &&str| results.rate(workload.name, engine).map_or(String::new(), |rate| si(rate.median));
        rows.push(row(workload.title, results.engines.iter().map(rate)));
    }
    table("Operations (items, for extend and iterate) a second, all processes together, medians", rows);
}

fn ratios(results: &Results) {
    let (first, rivals) = results.engines.split_first().expect("a run has an engine");
    if rivals.is_empty() {
        return;
    }
    let mut rows = vec![header("", rivals)];
    for workload in results.workloads() {
        let ratio = |rival: &&str| results.ratio(workload.name, rival).map_or(String::new(), with_range);
        rows.push(row(workload.title, rivals.iter().map(ratio)));
    }
    table(&format!("How many times the rate of each rival {first} reaches: median of the rounds, least to greatest"), rows);
}

fn shares(results: &Results) {
    let mut rows = vec![header("", &results.engines)];
    for workload in results.workloads().filter(|workload| workload.shared_increments()) {
        let share = |engine: &&str| match (results.least_share(workload.name, engine), results.mean_share(workload.name, engine)) {
            (Some(least), Some(mean)) => format!("{:.0} % of {}", least.min * 100.0, si(mean.median)),
            _ => String::new(),
        };
        rows.push(row(workload.title, results.engines.iter().map(share)));
    }
    if rows.len() > 1 {
        table("The least process of the worst round, against the mean process's operations (nothing was lost: checked)", rows);
    }
}

fn tails(results: &Results) {
    for workload in results.tail_workloads() {
        let mut rows = vec![row("", QUANTILES.iter().map(|quantile| quantile.0.to_owned()).chain(words(&["max", "count", "keys loaded"])))];
        let mut octaves = Vec::new();
        for (engine, tail) in &results.tails[workload.name] {
            let loaded = [tail.loaded.to_string()];
            rows.push(row(engine, latencies(&tail.measured).chain(loaded)));
            rows.push(row(&format!("{engine}: control"), latencies(&tail.control)));
            octaves.push((engine.to_string(), tail.measured.octaves()));
            octaves.push((format!("{engine}: control"), tail.control.octaves()));
        }
        table(&format!("Latencies of {}, and of a process that writes only memory of its own", workload.title), rows);
        histogram(&octaves);
    }
}

fn sustained(results: &Results) {
    let megabytes = |bytes: u64| figures(bytes as f64 / 1e6);
    for workload in results.sustained_workloads() {
        let cells = ["first 10 s", "least 10 s", "part", "disk bytes an operation", "MB loaded", "MB after", "MB rested"];
        let mut rows = vec![row("", words(&cells))];
        let all = &results.sustained[workload.name];
        for (engine, sustained) in all {
            let part = figures(sustained.least() / sustained.first());
            let written = figures(sustained.disk_bytes as f64 / sustained.operations.max(1) as f64);
            let rates = [si(sustained.first()), si(sustained.least()), part, written];
            rows.push(row(engine, rates.into_iter().chain(sustained.sizes.map(megabytes))));
        }
        table(&format!("Sustained: {}", workload.title), rows);
    }
}

fn latencies(histogram: &Histogram) -> impl Iterator<Item = String> {
    let quantiles = QUANTILES.map(|quantile| nanoseconds(histogram.quantile(quantile.1)));
    quantiles.into_iter().chain([nanoseconds(histogram.max()), histogram.count().to_string()])
}

fn histogram(columns: &[(String, Vec<(u64, u64)>)]) {
    let mut starts: Vec<u64> = columns.iter().flat_map(|column| &column.1).map(|octave| octave.0).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut rows = vec![row("from", columns.iter().map(|column| column.0.clone()))];
    for start in starts {
        let count = |column: &(String, Vec<(u64, u64)>)| {
            let count = column.1.iter().find(|octave| octave.0 == start).map_or(0, |octave| octave.1);
            if count == 0 { "·".to_owned() } else { count.to_string() }
        };
        rows.push(row(&nanoseconds(start), columns.iter().map(count)));
    }
    table("", rows);
}

fn verdicts(results: &Results) {
    let mut rows = Vec::new();
    let word = |reached: bool| if reached { "reached" } else { "NOT REACHED" }.to_owned();
    for workload in results.workloads() {
        for (rival, least) in workload.thresholds {
            if let Some(ratio) = results.ratio(workload.name, rival) {
                let cells = [format!("{least} × {rival}"), with_range(ratio), word(ratio.median >= *least)];
                rows.push(row(workload.title, cells));
            }
        }
        let least = match workload.kind {
            Kind::Durable(4) => 2.0,
            Kind::Durable(16) => 5.0,
            _ => 0.0,
        };
        if least > 0.0
            && let Some(times) = results.times_one(workload.name, results.engines[0])
        {
            let cells = [format!("{least} × its own with one process"), with_range(times), word(times.median >= least)];
            rows.push(row(workload.title, cells));
        }
        if workload.shared_increments()
            && let Some(least) = results.least_share(workload.name, results.engines[0])
        {
            let cells = ["a third of the mean each".to_owned(), with_range(least), word(least.min >= LEAST_SHARE)];
            rows.push(row(workload.title, cells));
        }
    }
    for workload in results.sustained_workloads() {
        let all = &results.sustained[workload.name];
        let Some(ours) = all.get(engine::OURS) else { continue };
        let part = ours.least() / ours.first();
        rows.push(row(workload.title, [format!("{LEAST_PART} of the first 10 s"), figures(part), word(part >= LEAST_PART)]));
        if let (Some(lmdb), Kind::Sustained(Operation::Set, _)) = (all.get("lmdb"), workload.kind) {
            for (what, most, size) in [("loaded", 1.5, 0), ("after", 3.0, 1), ("rested", 2.0, 2)] {
                let ratio = ours.sizes[size] as f64 / lmdb.sizes[0] as f64;
                rows.push(row(workload.title, [format!("{what}: at most {most} × lmdb's file"), figures(ratio), word(ratio <= most)]));
            }
        }
    }
    if !rows.is_empty() {
        table("What was asked for, what was found", rows);
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

fn header(first: &str, rest: &[&str]) -> Vec<String> {
    row(first, words(rest))
}

fn row(first: &str, rest: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(rest).collect()
}

/// The first column to the left, the others to the right.
fn table(title: &str, rows: Vec<Vec<String>>) {
    let column_count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..column_count).map(width).collect();
    println!();
    if !title.is_empty() {
        println!("{title}\n");
    }
    for row in &rows {
        let mut line = format!("  {:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line += &format!("   {cell:>width$}");
        }
        println!("{}", line.trim_end());
    }
}

fn with_range(spread: Spread) -> String {
    format!("{} ({}–{})", figures(spread.median), figures(spread.min), figures(spread.max))
}

/// About three significant figures.
pub fn figures(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 0.1 => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

pub fn si(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 1e9 => (value / 1e9, " G"),
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e3 => (value / 1e3, " k"),
        value => (value, ""),
    };
    figures(scaled) + unit
}

pub fn nanoseconds(value: u64) -> String {
    let (scaled, unit) = match value {
        0..1_000 => return format!("{value} ns"),
        1_000..1_000_000 => (value as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value as f64 / 1e6, "ms"),
        _ => (value as f64 / 1e9, "s"),
    };
    format!("{} {unit}", figures(scaled))
}
