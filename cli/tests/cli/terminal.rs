//! In a real terminal: bars, and the keys that a person presses. tmux is that terminal; `.ci/run` installs it.

use crate::support::{Place, UNTIL_GO, binary, processes_with, until};
use std::path::Path;
use std::process::Command;

/// A terminal with a shell in it. Dropping it ends both.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Nothing, and it is said, where there is no tmux.
    fn open(place: &Place) -> Option<Terminal> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: there is no tmux here, which is the terminal of these tests; apt-get install tmux");
            return None;
        }
        let socket = place.path("tmux").display().to_string();
        let terminal = Terminal { socket };
        let directory = place.path("").display().to_string();
        let folder = Path::new(binary()).parent().expect("it is in a directory").display().to_string();
        let shell = format!("env PS1='$ ' TERM=screen ENV= PATH={folder}:$PATH sh");
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "24", "-c", &directory, &shell]);
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-S", &self.socket]).args(arguments).output().expect("tmux runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn type_line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.press("Enter");
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// With colours as escape sequences.
    fn colours(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        let mut screen = String::new();
        until(&format!("{text} on the screen"), || {
            screen = self.screen();
            screen.contains(text)
        });
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).status();
    }
}

#[test]
fn a_terminal_gets_a_bar_and_a_pipe_does_not() {
    let place = Place::new();
    place.shell("seq 40 | tastypod add t").expect(0);
    let Some(terminal) = Terminal::open(&place) else { return };
    terminal.type_line(&format!("tastypod run t -j2 -- sh -c '{UNTIL_GO}'; echo code=$?"));
    let screen = terminal.wait_for("in work");
    assert!(screen.contains('█') || screen.contains('░'), "{screen}");
    place.write("go", "");
    let screen = terminal.wait_for("code=0");
    assert!(screen.contains("100 % 40/40 done"), "{screen}");
    let coloured = terminal.colours();
    assert!(coloured.contains("\u{1b}[32m"), "{coloured}");
    // Nobody wants colours; and in a pipe there is no bar at all.
    place.shell("seq 41 60 | tastypod add t").expect(0);
    terminal.type_line("clear; NO_COLOR=1 tastypod run t -j2 -- sh -c 'sleep 0.05'; echo second=$?");
    terminal.wait_for("second=0");
    let plain = terminal.colours();
    assert!(!plain.contains("\u{1b}[32m"), "{plain}");
    place.run(&["add", "t", "last"]).expect(0);
    let piped = place.run(&["run", "t", "--", "true"]).expect(0);
    assert!(piped.err.contains("\ntastypod: 100 % 61/61 done") && !piped.err.contains(['█', '\u{1b}']), "{}", piped.err);
}

#[test]
fn ctrl_c_once_finishes_what_is_under_way_and_twice_stops_it() {
    let place = Place::new();
    place.shell("seq 3 | tastypod add t").expect(0);
    let Some(terminal) = Terminal::open(&place) else { return };
    terminal.type_line(&format!("tastypod run t -j1 -- sh -c '{UNTIL_GO}; echo whole'; echo code=$?"));
    terminal.wait_for("1 in work");
    terminal.press("C-c");
    terminal.wait_for("no further tasks begin");
    place.write("go", "");
    terminal.wait_for("code=130");
    assert_eq!(place.field("t", "1", "stdout"), "whole\n", "the terminal's Ctrl-C did not reach the task");
    terminal.type_line("clear; tastypod run t -j1 -- sleep 64208; echo code=$?");
    until("it has begun", || !processes_with("sleep 64208 2").is_empty());
    terminal.press("C-c");
    terminal.wait_for("no further tasks begin");
    terminal.press("C-c");
    terminal.wait_for("code=130");
    assert!(processes_with("sleep 64208 2").is_empty());
    assert_eq!(place.field("t", "2", "_tries"), 0);
}

#[test]
fn a_watched_tracker_moves() {
    let place = Place::new();
    place.shell("seq 30 | tastypod add t").expect(0);
    let Some(terminal) = Terminal::open(&place) else { return };
    let run = place.start(&["run", "t", "-j2", "--", "sh", "-c", UNTIL_GO]);
    terminal.type_line("tastypod status t --watch --interval 50ms; echo code=$?");
    let screen = terminal.wait_for("in work");
    assert!(screen.contains("/30 done") && screen.contains('░'), "{screen}");
    place.write("go", "");
    let screen = terminal.wait_for("code=0");
    assert!(screen.contains("100 % 30/30 done"), "{screen}");
    assert_eq!(run.end().code, 0);
    terminal.type_line("clear; tastypod status t");
    terminal.wait_for("30 tasks: 30 done");
    assert!(terminal.colours().contains("\u{1b}[32m██"), "{}", terminal.colours());
}

#[test]
fn top_draws_a_tracker_at_work_and_gives_the_terminal_back() {
    let place = Place::new();
    place.shell("seq 40 | tastypod add t").expect(0);
    assert!(place.run(&["top", "t"]).expect(2).err.contains("status --watch"));
    let Some(terminal) = Terminal::open(&place) else { return };
    let run = place.start(&["run", "t", "-j3", "--", "sh", "-c", &format!("{UNTIL_GO}; test $0 != 1"), "{}"]);
    terminal.type_line("tastypod top t --interval 50ms; echo code=$?");
    let pid = run.child.id().to_string();
    let lane = |screen: &str| screen.lines().any(|line| line.starts_with(&pid) && line.contains('━'));
    until("the run's tasks are on the screen", || lane(&terminal.screen()));
    place.write("go", "");
    terminal.wait_for("up to");
    assert_eq!(run.end().code, 1);
    let screen = terminal.wait_for("40 tasks: 39 done, 1 failed");
    assert!(screen.contains(&format!("✗{}", "█".repeat(39))) && !lane(&screen), "{screen}");
    terminal.press("q");
    let screen = terminal.wait_for("code=0");
    assert!(!screen.contains("40 tasks"), "what was there before is there again: {screen}");
}
