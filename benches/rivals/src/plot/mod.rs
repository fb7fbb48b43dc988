//! The figures as an SVG: a group of bars on a logarithmic scale for each workload, and the tails below.

mod bars;
mod canvas;
mod tails;

use self::canvas::{Anchor, Canvas, INK, MUTED};
use crate::engine::{self, Description};
use crate::report;
use crate::results::Results;

const WIDTH: f64 = 1040.0;
const MARGIN: f64 = 32.0;

pub fn draw(results: &Results) -> String {
    let mut canvas = Canvas::new(WIDTH);
    canvas.heading(MARGIN, 44.0, "tastypod and its rivals");
    canvas.text(MARGIN, 66.0, Anchor::Start, MUTED, &report::conditions(results));
    let mut y = legend(&mut canvas, results, 92.0);
    if results.workloads().next().is_some() {
        y = bars::draw(&mut canvas, results, y + 24.0);
    }
    y = tails::draw(&mut canvas, results, y + 24.0);
    canvas.finish(y + 8.0)
}

fn legend(canvas: &mut Canvas, results: &Results, mut y: f64) -> f64 {
    let mut x = MARGIN;
    for engine in engines(results) {
        let width = 26.0 + 7.4 * engine.label.len() as f64 + 16.0;
        if x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + 22.0);
        }
        canvas.rectangle(x, y - 10.0, 14.0, 12.0, engine.colour);
        canvas.text(x + 20.0, y, Anchor::Start, INK, engine.label);
        x += width;
    }
    y
}

fn engines(results: &Results) -> Vec<&'static Description> {
    results.engines.iter().filter_map(|name| engine::describe(name).ok()).collect()
}
