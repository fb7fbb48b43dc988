//! Rates: one group for each workload, one bar for each engine, whiskers from the least to the greatest round.

use super::canvas::{Anchor, Canvas, GRID, INK, MUTED};
use super::{MARGIN, WIDTH, engines};
use crate::report::{figures, si};
use crate::results::Results;

const LEFT: f64 = 320.0;
const RIGHT: f64 = WIDTH - 150.0;
const BAR_HEIGHT: f64 = 11.0;
const BAR_STEP: f64 = 14.0;
const GROUP_GAP: f64 = 16.0;

/// Decades of the rates that occur.
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    fn of(results: &Results) -> Scale {
        let exponents = || results.samples.iter().map(|sample| sample.rate.max(1.0).log10());
        let first = exponents().fold(f64::INFINITY, f64::min).floor() as i32;
        let last = exponents().fold(0.0, f64::max).ceil() as i32;
        // A bar needs some length even for the least rate.
        Scale { first: (first - 1).max(0), last: last.max(first + 1) }
    }

    fn x(&self, rate: f64) -> f64 {
        let part = (rate.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LEFT + part.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }
}

pub fn draw(canvas: &mut Canvas, results: &Results, top: f64) -> f64 {
    let scale = Scale::of(results);
    let rows = |workload: &str| engines(results).iter().filter(|engine| results.rate(workload, engine.name).is_some()).count();
    let height: f64 = results.workloads().map(|workload| rows(workload.name) as f64 * BAR_STEP + GROUP_GAP).sum();
    let first_bar = top + 30.0;
    canvas.title(MARGIN, top, "Rate");
    let first = engines(results).first().map_or("", |engine| engine.label);
    let caption = format!("operations a second, logarithmic; ×: how many times this rate {first} reaches");
    canvas.text(LEFT, top, Anchor::Start, MUTED, &caption);
    for exponent in scale.first..=scale.last {
        let x = scale.x(10_f64.powi(exponent));
        canvas.line((x, top + 24.0), (x, first_bar + height - GROUP_GAP + 4.0), GRID);
        canvas.text(x, top + 19.0, Anchor::Middle, MUTED, &si(10_f64.powi(exponent)).replace(".00", "").replace(".0", ""));
    }
    let mut y = first_bar;
    for workload in results.workloads() {
        canvas.text(LEFT - 14.0, y + 10.0, Anchor::End, INK, workload.title);
        y = group(canvas, results, &scale, workload.name, y) + GROUP_GAP;
    }
    y
}

fn group(canvas: &mut Canvas, results: &Results, scale: &Scale, workload: &str, mut y: f64) -> f64 {
    for engine in engines(results) {
        let Some(rate) = results.rate(workload, engine.name) else { continue };
        let (end, middle) = (scale.x(rate.median), y + BAR_HEIGHT / 2.0);
        canvas.rectangle(LEFT, y, end - LEFT, BAR_HEIGHT, engine.colour);
        canvas.line((scale.x(rate.min), middle), (scale.x(rate.max), middle), INK);
        let ratio = results.ratio(workload, engine.name).filter(|_| engine.name != results.engines[0]);
        let ratio = ratio.map_or(String::new(), |ratio| format!("\u{2002}×{}", figures(ratio.median)));
        canvas.text(scale.x(rate.max) + 6.0, y + 10.0, Anchor::Start, INK, &(si(rate.median) + &ratio));
        y += BAR_STEP;
    }
    y
}
