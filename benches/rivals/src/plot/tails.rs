//! Tails: which share of all operations took longer than a time, both axes logarithmic.

use super::canvas::{Anchor, Canvas, GRID, INK, MUTED};
use super::{MARGIN, WIDTH, engines};
use crate::histogram::Histogram;
use crate::report::nanoseconds;
use crate::results::Results;

const GAP: f64 = 70.0;
const HEIGHT: f64 = 260.0;
/// Exponents of ten: 100 ns to 1 s, and all to one in ten million.
const TIMES: (i32, i32) = (1, 9);
const SHARES: (i32, i32) = (-7, 0);

struct Frame {
    left: f64,
    top: f64,
    width: f64,
}

impl Frame {
    fn point(&self, time: f64, share: f64) -> (f64, f64) {
        let part = |value: f64, (first, last): (i32, i32)| ((value.log10() - f64::from(first)) / f64::from(last - first)).clamp(0.0, 1.0);
        (self.left + part(time, TIMES) * self.width, self.top + (1.0 - part(share, SHARES)) * HEIGHT)
    }
}

pub fn draw(canvas: &mut Canvas, results: &Results, top: f64) -> f64 {
    let count = results.tail_workloads().count();
    if count == 0 {
        return top;
    }
    let width = (WIDTH - 2.0 * MARGIN - 40.0 - GAP) / 2.0;
    for (index, workload) in results.tail_workloads().enumerate() {
        let frame = Frame { left: MARGIN + 40.0 + index as f64 * (width + GAP), top: top + 34.0, width };
        canvas.title(frame.left, top, &format!("Latency of {}", workload.title));
        canvas.text(frame.left, top + 17.0, Anchor::Start, MUTED, "share that took longer; dashed: control, writing only its own memory");
        axes(canvas, &frame);
        let tails = &results.tails[workload.name];
        for engine in engines(results) {
            if let Some(tail) = tails.get(engine.name) {
                curve(canvas, &frame, &tail.control, engine.colour, true);
                curve(canvas, &frame, &tail.measured, engine.colour, false);
            }
        }
    }
    top + 34.0 + HEIGHT + 28.0
}

fn axes(canvas: &mut Canvas, frame: &Frame) {
    for exponent in TIMES.0..=TIMES.1 {
        let time = 10_f64.powi(exponent);
        canvas.line(frame.point(time, 1.0), frame.point(time, 1e-7), GRID);
        let (x, y) = frame.point(time, 1e-7);
        canvas.text(x, y + 16.0, Anchor::Middle, MUTED, &nanoseconds(time as u64).replace(".00", "").replace(".0", ""));
    }
    for exponent in SHARES.0..=SHARES.1 {
        let share = 10_f64.powi(exponent);
        canvas.line(frame.point(10.0, share), frame.point(1e9, share), GRID);
        let (x, y) = frame.point(10.0, share);
        let label = if exponent == 0 { "all".to_owned() } else { format!("1 in {}", one_in(-exponent)) };
        canvas.text(x - 6.0, y + 4.0, Anchor::End, MUTED, &label);
    }
    canvas.line(frame.point(10.0, 1e-7), frame.point(1e9, 1e-7), INK);
}

fn one_in(exponent: i32) -> &'static str {
    ["1", "10", "100", "1 k", "10 k", "100 k", "1 M", "10 M"][exponent as usize]
}

fn curve(canvas: &mut Canvas, frame: &Frame, histogram: &Histogram, colour: &str, dashed: bool) {
    let mut points = Vec::new();
    let mut before = 1.0;
    for (time, share) in histogram.tail() {
        points.push(frame.point(time as f64, before));
        if share > 0.0 {
            points.push(frame.point(time as f64, share));
        }
        before = share;
    }
    canvas.path(&points, colour, dashed);
}
