//! A crawler that goes on where it was left off, over a site that it serves itself on this machine.
//!
//! `cargo run --release --example crawler -- urls.tracker`
//!
//! A page and the links that were found on it are noted in one transaction, so that no link is ever lost or crawled twice, whoever is
//! killed. Some pages fail at first: they are tried again, three times at most.

use serde_json::json;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tastypod::{Options, Tracker};

const PAGES: u64 = 200;
const WORKERS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "urls.tracker".to_owned());
    let site = serve()?;
    let options = Options::new().max_tries(3).backoff(Duration::from_millis(20), 2.0, Duration::from_secs(1));
    let tracker = options.open_tracker(path)?;
    // Paths, since the site gets another port each time.
    tracker.add_if_absent("/page/0")?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| crawl(&tracker, site))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    println!("{}", tracker.progress());
    for failure in tracker.failures() {
        let failure = failure?;
        println!("{}: {} after {} tries", failure.key, failure.error.unwrap_or_default(), failure.tries);
    }
    Ok(())
}

fn crawl(tracker: &Tracker, site: SocketAddr) -> tastypod::Result<()> {
    for claim in tracker.work() {
        let claim = claim?;
        let path = claim.key().to_string();
        match fetch(site, &path) {
            Err(error) => {
                claim.fail(error)?;
            }
            Ok(page) => {
                let links: Vec<&str> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
                claim.done_and(|t| {
                    t.at(&path).merge(json!({"bytes": page.len(), "links": links.len()}))?;
                    t.add_many_if_absent(&links)
                })?;
            }
        }
    }
    Ok(())
}

/// Gets a page of the site.
fn fetch(site: SocketAddr, path: &str) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(site)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(body.to_owned()) } else { Err(format!("status {status}").into()) }
}

/// Serves a site of pages that link to others; every seventh fails the first time, and one always.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        let failed = AtomicU64::new(0);
        for stream in listener.incoming().flatten() {
            // A client that goes away is no reason to end.
            let _ = answer(stream, &failed);
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, failed: &AtomicU64) -> std::io::Result<()> {
    let mut request = String::new();
    BufReader::new(&stream).read_line(&mut request)?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let page: u64 = path.strip_prefix("/page/").and_then(|page| page.parse().ok()).unwrap_or(PAGES);
    let is_flaky = page % 7 == 3 && failed.fetch_or(1 << (page / 7 % 64), Ordering::Relaxed) & 1 << (page / 7 % 64) == 0;
    if page >= PAGES || page == PAGES / 2 || is_flaky {
        return write!(stream, "HTTP/1.0 503 Try again\r\n\r\n");
    }
    let links = [page + 1, page * 2, page * 3].map(|page| format!("<a href=\"/page/{}\">{page}</a>", page % PAGES));
    write!(stream, "HTTP/1.0 200 OK\r\n\r\n<html>{}</html>", links.join(" "))
}
