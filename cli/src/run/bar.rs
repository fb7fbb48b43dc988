//! The one bar on standard error: how far the tracker is, over all its runners. Where that is no terminal, a line now and then.

use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tastypod::{Progress, Tracker};

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);

/// How often it is said on a line where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Bar {
    bar: Option<ProgressBar>,
    is_wanted: bool,
}

impl Bar {
    /// A bar, if standard error is a terminal and one is wanted.
    pub fn new(is_wanted: bool) -> Bar {
        let stderr = std::io::stderr();
        if !is_wanted || !stderr.is_terminal() {
            return Bar { bar: None, is_wanted };
        }
        let template = if output::may_colour(&stderr) { "{bar:28.green/8} {wide_msg}" } else { "{bar:28} {wide_msg}" };
        let style = ProgressStyle::with_template(template).expect("the template is constant").progress_chars("█▉▊▋▌▍▎▏░");
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr()).with_style(style);
        Bar { bar: Some(bar), is_wanted }
    }

    pub fn show(&self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total.max(1) as u64);
            bar.set_position((progress.done + progress.failed) as u64);
            bar.set_message(progress.to_string());
        }
    }

    /// Draws it until `is_over`; one last time then.
    pub fn follow(&self, tracker: &Tracker, is_over: &AtomicBool) {
        if !self.is_wanted {
            return;
        }
        let mut said = Instant::now();
        while !is_over.load(Ordering::SeqCst) {
            self.show(&tracker.progress());
            if self.bar.is_none() && said.elapsed() >= LINE_EVERY {
                self.say(&tracker.progress().to_string());
                said = Instant::now();
            }
            std::thread::park_timeout(EVERY);
        }
        self.show(&tracker.progress());
    }

    /// Takes the bar away while something else writes to the terminal.
    pub fn suspend<T>(&self, body: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(body),
            None => body(),
        }
    }

    /// A line on standard error, above the bar.
    pub fn say(&self, text: &str) {
        // Nobody may listen any more: that is no reason to fail.
        self.suspend(|| {
            let _ = writeln!(std::io::stderr(), "tastypod: {text}");
        });
    }

    /// It stays as it is, and the cursor goes below it.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
