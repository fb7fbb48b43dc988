//! Several processes crawl a site. Each page is fetched once, and a crawl that was killed continues where it stopped.
//!
//! `cargo run --release --example site -- site.tracker`
//!
//! The site is a table in this program, so that no network is needed.

use std::error::Error;
use std::process::{Command, exit};
use tastypod::{Options, Tracker, json};

const WORKERS: usize = 3;

/// Pages, and the pages that they link to.
const SITE: [(&str, &[&str]); 7] = [
    ("/", &["/about", "/blog", "/missing"]),
    ("/about", &["/", "/team"]),
    ("/team", &["/about"]),
    ("/blog", &["/blog/1", "/blog/2"]),
    ("/blog/1", &["/blog", "/blog/2"]),
    ("/blog/2", &["/blog", "/draft"]),
    ("/draft", &[]),
];

fn fetch(page: &str) -> Result<&'static [&'static str], String> {
    SITE.iter().find(|(path, _)| *path == page).map(|(_, links)| *links).ok_or_else(|| "status 404".to_owned())
}

fn crawl(tracker: &Tracker) -> tastypod::Result<()> {
    for claim in tracker.work() {
        let claim = claim?;
        let page = claim.key().clone();
        match fetch(page.as_str().unwrap_or_default()) {
            // The page and the pages that it links to are stored in one commit.
            Ok(links) => claim.done_and(|t| {
                t.at(&page).key("links").set(links.len())?;
                t.at(&page).key("fetched_by").set(std::process::id())?;
                t.add_many_if_absent(links).map(drop)
            })?,
            Err(error) => drop(claim.fail_with(error, json!({"fetched_by": std::process::id()}))?),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "site.tracker".to_owned());
    let tracker = Options::new().max_tries(2).open_tracker(&path)?;
    if std::env::args().nth(2).is_some_and(|role| role == "worker") {
        crawl(&tracker)?;
        return Ok(());
    }
    tracker.add_if_absent("/")?;
    let this = std::env::current_exe()?;
    let start = |_| Command::new(&this).args([path.as_str(), "worker"]).spawn();
    let workers = (0..WORKERS).map(start).collect::<Result<Vec<_>, _>>()?;
    for mut worker in workers {
        if !worker.wait()?.success() {
            exit(1);
        }
    }
    println!("{}", tracker.progress());
    for failure in tracker.failures() {
        let failure = failure?;
        println!("{}: {} after {} tries", failure.key, failure.error.unwrap_or_default(), failure.tries);
    }
    Ok(())
}
