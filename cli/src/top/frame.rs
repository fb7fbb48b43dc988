//! The lines of one picture.

use super::look::{Cell, View};
use crate::{duration, output, status};
use std::time::Duration;

const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;
const GREY: u8 = 90;

/// Eighths of a block, from nothing to whole.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How wide the bar of a task is: a block for each doubling of its time, from a sixteenth of a second.
const LANE: usize = 16;

struct Painter {
    has_colour: bool,
}

impl Painter {
    fn paint(&self, colour: u8, text: &str) -> String {
        if self.has_colour && !text.is_empty() { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The beginning of a text that fits, as far as characters tell.
fn cut(text: &str, width: usize) -> String {
    let clean = |letter: char| if letter.is_control() { '�' } else { letter };
    if text.chars().count() <= width {
        return text.chars().map(clean).collect();
    }
    text.chars().take(width.saturating_sub(1)).map(clean).chain(['…']).collect()
}

/// Throughput as blocks, the newest at the right, and the highest.
fn sparkline(rates: &[f64], width: usize) -> (String, f64) {
    let shown = &rates[rates.len().saturating_sub(width)..];
    let highest = shown.iter().copied().fold(0.0, f64::max);
    let level = |rate: &f64| if highest > 0.0 { LEVELS[((rate / highest * 8.0).ceil() as usize).min(8)] } else { ' ' };
    (shown.iter().map(level).collect(), highest)
}

/// Cells in a row that stand alike are painted as one.
fn strip(painter: &Painter, cells: &[Cell]) -> String {
    let text = |cell: Cell| match cell {
        Cell::Done => (GREEN, "█"),
        Cell::Todo => (GREY, "░"),
        Cell::InWork => (YELLOW, "▓"),
        Cell::Failed => (RED, "✗"),
    };
    cells
        .chunk_by(|a, b| a == b)
        .map(|run| {
            let (colour, block) = text(run[0]);
            painter.paint(colour, &block.repeat(run.len()))
        })
        .collect()
}

fn lane_blocks(running: Duration) -> usize {
    ((running.as_secs_f64() * 16.0).max(1.0).log2().ceil() as usize + 1).min(LANE)
}

/// At most `height` lines of at most `width` columns.
pub fn draw(view: &View, width: usize, height: usize, has_colour: bool) -> Vec<String> {
    let painter = Painter { has_colour };
    let progress = &view.progress;
    let mut lines = Vec::new();
    let bar = status::bar(progress);
    let name_width = width.saturating_sub(bar.chars().count() + 8);
    let colour = if progress.failed > 0 { YELLOW } else { GREEN };
    lines.push(format!("{}  {} {:>3} %", cut(&view.name, name_width), painter.paint(colour, &bar), progress.percent()));
    let mut counts = format!("{} tasks: {} done", output::grouped(progress.total as u64), output::grouped(progress.done as u64));
    for (count, what) in [(progress.failed, "failed"), (progress.claimed, "in work"), (progress.todo, "to do")] {
        counts.push_str(&format!(", {} {what}", output::grouped(count as u64)));
    }
    lines.push(cut(&counts, width));
    let left = progress.eta_seconds.filter(|_| progress.rate > 0.0 && progress.todo + progress.claimed > 0);
    let left = left.map(|seconds| format!(", {} left", duration::shown(Duration::from_secs_f64(seconds.max(0.0)))));
    lines.push(cut(&format!("{:.1}/s{}", progress.rate, left.unwrap_or_default()), width));
    lines.push(String::new());
    let (rates, highest) = sparkline(&view.rates, width.saturating_sub(24));
    lines.push(format!("{} {}", painter.paint(GREEN, &rates), cut(&format!("up to {highest:.1}/s"), 22)));
    lines.push(strip(&painter, &view.strip[..view.strip.len().min(width)]));
    lines.push(String::new());
    let room = height.saturating_sub(lines.len() + 1);
    let shown = if view.lanes.len() > room { room.saturating_sub(1) } else { view.lanes.len() };
    for lane in &view.lanes[..shown] {
        let blocks = lane_blocks(lane.running);
        let bar = format!("{}{}", painter.paint(YELLOW, &"━".repeat(blocks)), " ".repeat(LANE - blocks));
        let who = cut(&format!("{} {}", lane.pid, lane.program), 18);
        let time = duration::shown(lane.running);
        lines.push(format!("{who:<18} {bar} {time:>9}  {}", cut(&lane.key, width.saturating_sub(18 + LANE + 13))));
    }
    if shown < view.lanes.len() {
        lines.push(format!("and {} more", view.lanes.len() - shown));
    }
    while lines.len() + 1 < height {
        lines.push(String::new());
    }
    lines.truncate(height.saturating_sub(1));
    lines.push(cut("q ends this; █ done  ▓ in work  ░ to do  ✗ failed", width));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::look::{Lane, Watcher};
    use super::*;

    fn view() -> (tempfile::TempDir, View) {
        let directory = tempfile::tempdir().unwrap();
        let tracker = tastypod::Options::new().max_tries(1).open_tracker(directory.path().join("t")).unwrap();
        tracker.add_many(0..8).unwrap();
        tracker.claim().unwrap().unwrap().done().unwrap();
        tracker.claim().unwrap().unwrap().fail("why").unwrap();
        let _held = tracker.claim().unwrap().unwrap();
        let view = Watcher::new(tracker.clone(), "t".to_owned()).look(80).unwrap();
        (directory, view)
    }

    #[test]
    fn the_strip_shows_how_tasks_stand_in_order() {
        let (_directory, view) = view();
        assert_eq!(strip(&Painter { has_colour: false }, &view.strip), "█✗▓░░░░░");
        assert_eq!((view.lanes.len(), view.lanes[0].key.as_str()), (1, "2"));
    }

    #[test]
    fn a_picture_fits_its_terminal() {
        let (_directory, mut view) = view();
        view.rates = (0..500).map(f64::from).collect();
        view.name = "a long name ".repeat(20);
        let lane = Lane { pid: 7, program: "tastypod".to_owned(), key: "k\u{1b}[2J".repeat(50), running: Duration::from_secs(90) };
        view.lanes = vec![lane; 40];
        for (width, height) in [(120, 40), (80, 24), (60, 10), (50, 3)] {
            let lines = draw(&view, width, height, false);
            assert_eq!(lines.len(), height);
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width, "{width}x{height}: {lines:#?}");
            assert!(!lines.concat().contains('\u{1b}'), "keys cannot draw");
        }
        assert!(draw(&view, 80, 24, false).iter().any(|line| line == "and 25 more"));
        assert!(draw(&view, 80, 24, true).concat().contains("\u{1b}[32m"));
    }

    #[test]
    fn throughput_is_drawn_beside_its_highest() {
        assert_eq!(sparkline(&[9.0, 0.0, 1.0, 4.0, 8.0], 4), (" ▁▄█".to_owned(), 8.0));
        assert_eq!(sparkline(&[], 4), (String::new(), 0.0));
    }
}
