//! `tastypod top`: a tracker at work, drawn again and again in a terminal.

mod frame;
mod look;

use crate::outcome::{Outcome, Result, Trouble};
use crate::{duration, output, store};
use crossterm::{cursor, execute, queue, style, terminal};
use look::Watcher;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

/// Shows a tracker at work: how far it is, how fast, which tasks are under way and for how long, and how all tasks stand. q ends it.
#[derive(clap::Args)]
pub struct Args {
    /// The tracker's directory
    tracker: PathBuf,
    /// How often to draw
    #[arg(long, value_parser = duration::parse, default_value = "500ms", value_name = "DURATION")]
    interval: Duration,
}

/// The terminal while it is drawn on. Dropping it gives it back as it was.
struct Screen;

impl Screen {
    fn open() -> io::Result<Screen> {
        terminal::enable_raw_mode()?;
        let screen = Screen;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    fn draw(lines: &[String]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, cursor::MoveTo(0, 0))?;
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                queue!(out, style::Print("\r\n"))?;
            }
            // Behind the text, so that what is drawn anew does not flicker.
            queue!(out, style::Print(line), terminal::Clear(terminal::ClearType::UntilNewLine))?;
        }
        queue!(out, terminal::Clear(terminal::ClearType::FromCursorDown))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// Waits for a key, at most so long. Whether it is one that ends: q, Escape, Ctrl-C, Ctrl-D, or none ever again.
fn is_ended(within: Duration) -> bool {
    let stdin = io::stdin();
    let milliseconds = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
    let mut polled = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    // A change of the terminal's size ends the wait early too, and is drawn at once.
    if !poll(&mut polled, timeout).is_ok_and(|count| count > 0) {
        return false;
    }
    let mut keys = [0; 32];
    match stdin.lock().read(&mut keys) {
        Ok(0) | Err(_) => true,
        Ok(count) => keys[..count].iter().any(|key| [b'q', 27, 3, 4].contains(key)),
    }
}

pub fn top(args: &Args) -> Result {
    let tracker = store::tracker_to_watch(&args.tracker)?;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Trouble::usage("top draws on a terminal; elsewhere there is `tastypod status --watch`"));
    }
    let failed = |error: io::Error| Trouble::io("the terminal", &error);
    let has_colour = output::may_colour(&io::stdout());
    let mut watcher = Watcher::new(tracker, args.tracker.display().to_string());
    let screen = Screen::open().map_err(failed)?;
    loop {
        let (width, height) = terminal::size().map_err(failed)?;
        let view = watcher.look(usize::from(width))?;
        let lines = frame::draw(&view, usize::from(width), usize::from(height), has_colour);
        Screen::draw(&lines).map_err(failed)?;
        if is_ended(args.interval) {
            break;
        }
    }
    drop(screen);
    Ok(Outcome::Done)
}
