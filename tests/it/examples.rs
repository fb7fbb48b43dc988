//! The examples are run: they stand beside this binary when it was built.

use crate::support::{directory, text};
use std::process::{Command, Output};

fn run(name: &str, arguments: &[&str]) -> String {
    let binary = std::env::current_exe().unwrap();
    let examples = binary.parent().and_then(|deps| deps.parent()).unwrap().join("examples");
    let Output { status, stdout, stderr } = Command::new(examples.join(name)).args(arguments).output().unwrap_or_else(|error| {
        panic!("{name} is not there ({error}): cargo test builds the examples unless told otherwise");
    });
    let (said, complained) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{name}: {said}{complained}");
    said
}

#[test]
fn squares_are_found_by_a_pool_and_found_again() {
    let directory = directory();
    let path = directory.path().join("squares.tracker");
    let said = run("squares", &[text(&path), "25"]);
    let expected: String = (0..25).map(|number| format!("{number} {}\n", number * number)).collect();
    assert_eq!(said, expected);
    assert_eq!(run("squares", &[text(&path), "25"]), expected);
    let watched = run("dashboard", &[text(&path)]);
    assert!(watched.starts_with("100 % 25/25 done"), "{watched}");
}

#[test]
fn a_crawler_comes_to_every_page_of_a_site() {
    let directory = directory();
    let path = directory.path().join("urls.tracker");
    for _ in 0..2 {
        let said = run("crawler", &[text(&path)]);
        assert!(said.starts_with("100 % 199/200 done, 1 failed"), "{said}");
        assert!(said.contains("/page/100: status 503 after 3 tries"), "{said}");
    }
}

#[test]
fn a_sweep_tries_every_combination_and_some_again() {
    let directory = directory();
    let said = run("sweep", &[text(&directory.path().join("sweep.tracker"))]);
    assert!(said.starts_with("100 % ") && said.contains("best ["), "{said}");
    let tried: usize = said.split("tried ").nth(1).and_then(|rest| rest.split(',').next()).unwrap().parse().unwrap();
    assert!(tried > 100, "some are tried again: {said}");
}

#[test]
fn several_processes_crawl_a_site_and_find_every_page_once() {
    let directory = directory();
    let path = directory.path().join("site.tracker");
    for _ in 0..2 {
        let said = run("site", &[text(&path)]);
        assert!(said.starts_with("100 % 7/8 done, 1 failed"), "{said}");
        assert!(said.contains("/missing: status 404 after 2 tries"), "{said}");
    }
}

#[test]
fn metrics_of_several_processes_add_up() {
    let directory = directory();
    let path = directory.path().join("metrics.pod");
    let said = run("metrics", &[text(&path)]);
    assert!(said.contains("/: 2250 requests") && said.contains("/search: 750 requests"), "{said}");
    let half: f64 = said.split("half within ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    assert!((5000.0..6300.0).contains(&half), "{said}");
    assert!(run("metrics", &[text(&path)]).contains("/: 4500 requests"), "they are kept");
}

#[test]
fn a_cache_makes_what_is_absent_or_expired_and_nothing_else() {
    let directory = directory();
    let path = directory.path().join("cache.pod");
    let said = run("cache", &[text(&path), "3600"]);
    assert!(said.starts_with("0 expired\nsum to 10: 55\n") && said.ends_with("made 3, kept 3\n"), "{said}");
    assert!(run("cache", &[text(&path), "3600"]).ends_with("made 0, kept 3\n"));
    let path = directory.path().join("short.pod");
    assert!(run("cache", &[text(&path), "0"]).ends_with("made 5, kept 3\n"));
    assert!(run("cache", &[text(&path), "0"]).starts_with("3 expired\n"));
}
