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
