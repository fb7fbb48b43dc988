//! What is drawn, as it is at a moment.

use crate::outcome::Result;
use crate::store;
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};
use tastypod::{Key, Progress, Tracker};

/// How the tasks in one cell of the strip stand: what most wants to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Done,
    Todo,
    InWork,
    Failed,
}

/// A task that is under way.
#[derive(Debug, Clone)]
pub struct Lane {
    pub pid: u32,
    pub program: String,
    pub key: String,
    pub running: Duration,
}

#[derive(Debug, Clone)]
pub struct View {
    pub name: String,
    pub progress: Progress,
    /// Tasks done in a second, the oldest first.
    pub rates: Vec<f64>,
    pub lanes: Vec<Lane>,
    pub strip: Vec<Cell>,
}

/// Moments that are kept for the throughput.
const HISTORY: usize = 240;
/// The strip looks at all tasks: at most this part of the time goes into it.
const SHARE: u32 = 10;

pub struct Watcher {
    tracker: Tracker,
    name: String,
    seen: Option<(Instant, usize)>,
    rates: VecDeque<f64>,
    strip: Vec<Cell>,
    look_again: Instant,
}

impl Watcher {
    pub fn new(tracker: Tracker, name: String) -> Watcher {
        Watcher { tracker, name, seen: None, rates: VecDeque::new(), strip: Vec::new(), look_again: Instant::now() }
    }

    pub fn look(&mut self, width: usize) -> Result<View> {
        let progress = self.tracker.progress();
        let now = Instant::now();
        if let Some((before, done)) = self.seen {
            let seconds = now.duration_since(before).as_secs_f64().max(1e-3);
            self.rates.push_back(progress.done.saturating_sub(done) as f64 / seconds);
            if self.rates.len() > HISTORY {
                self.rates.pop_front();
            }
        }
        self.seen = Some((now, progress.done));
        let claims = store::claims(&self.tracker)?;
        if now >= self.look_again || self.strip.len() > width {
            let claimed: HashSet<&Key> = claims.iter().map(|claim| &claim.key).collect();
            self.strip = self.cells(width, progress.total, &claimed)?;
            self.look_again = Instant::now() + now.elapsed() * SHARE;
        }
        let mut lanes: Vec<Lane> = claims
            .into_iter()
            .map(|claim| Lane {
                pid: claim.owner.pid,
                program: claim.owner.program,
                key: claim.key.to_string(),
                running: claim.since.elapsed().unwrap_or_default(),
            })
            .collect();
        // A worker keeps its place as long as its process has as many.
        lanes.sort_by(|a, b| (a.pid, b.running).cmp(&(b.pid, a.running)));
        let rates = self.rates.iter().copied().collect();
        Ok(View { name: self.name.clone(), progress, rates, lanes, strip: self.strip.clone() })
    }

    /// How all tasks stand, in order, in so many cells.
    fn cells(&self, width: usize, total: usize, claimed: &HashSet<&Key>) -> Result<Vec<Cell>> {
        let max_tries = self.tracker.max_tries();
        let width = width.min(total).max(1);
        let mut cells = vec![Cell::Done; if total == 0 { 0 } else { width }];
        let snapshot = self.tracker.snapshot()?;
        for (index, entry) in snapshot.entries().enumerate() {
            let (key, task) = entry?;
            let flag = |name: &str| task.get(name).and_then(|flag| flag.as_bool()).unwrap_or(false);
            let tries = task.get("_tries").and_then(|tries| tries.as_i64()).unwrap_or(0).unsigned_abs();
            let cell = if flag("_done") {
                Cell::Done
            } else if !claimed.is_empty() && claimed.contains(&key.to_key()?) {
                Cell::InWork
            } else if flag("_aborted") || max_tries != 0 && tries >= max_tries {
                Cell::Failed
            } else {
                Cell::Todo
            };
            let at = (index as u128 * width as u128 / total.max(1) as u128) as usize;
            if let Some(seen) = cells.get_mut(at) {
                *seen = (*seen).max(cell);
            }
        }
        Ok(cells)
    }
}
