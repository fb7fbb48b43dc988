//! Claims that nobody got: committed, but not handed over, or not ended.
//!
//! Goal: while a process lives, no task is held by it without a claim in anybody's hand.
//!
//! Crash model: failing flushes, made by strace; ends of claims that cannot have the mutex.

use crate::durable::with_fault;
use crate::support::{Child, Role, directory, say, text};
use std::path::Path;
use std::time::Duration;
use tastypod::{Claim, Durability, ErrorKind, Next, Options, Result, Tracker};

pub const CHILDREN: &[Role] = &[("unclaimed_prepare", prepare_role), ("unclaimed_claims", claims_role)];

fn open(path: &str) -> Tracker {
    Options::new().durability(Durability::Disk).open_tracker(Path::new(path)).unwrap()
}

fn prepare_role(arguments: &[String]) {
    open(&arguments[0]).add_many(["a", "b", "c"]).unwrap();
}

fn claim(tracker: &Tracker, call: &str) -> Result<Vec<Claim>> {
    match call {
        "claim" => Ok(tracker.claim()?.into_iter().collect()),
        "claim_many" => tracker.claim_many(2),
        "claim_wait" => match tracker.claim_wait(Duration::from_secs(20))? {
            Next::Task(claim) => Ok(vec![claim]),
            other => panic!("{other:?}"),
        },
        "work" => tracker.work().take(1).collect(),
        other => panic!("no call {other}"),
    }
}

/// Claims, while the first flush fails.
fn claims_role(arguments: &[String]) {
    let tracker = open(&arguments[0]);
    let error = claim(&tracker, &arguments[1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains(".live/log"), "{error}");
    assert!(tracker.claims().unwrap().is_empty(), "nobody has a claim");
    assert_eq!((tracker.num_tried(), tracker.progress().todo), (0, 3), "as if it had not been claimed");
    let claims = claim(&tracker, &arguments[1]).unwrap();
    say(claims.iter().map(|claim| format!("{}:{}", claim.key(), claim.tries())).collect::<Vec<_>>().join(" "));
    for claim in claims {
        claim.done().unwrap();
    }
    let stats = tracker.stats().unwrap();
    assert_eq!((stats.durable, stats.poisoned_from), (Some(stats.transactions), None));
    let report = tracker.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_claim_that_cannot_be_flushed_is_nobodys_and_its_task_waits_as_before() {
    for (call, claimed) in [("claim", "a:1"), ("claim_many", "a:1 b:1"), ("claim_wait", "a:1"), ("work", "a:1")] {
        let directory = directory();
        let path = directory.path().join("a.tracker");
        assert!(Child::start("unclaimed_prepare", &[text(&path)]).wait().success());
        let said = with_fault("unclaimed_claims", &[text(&path), call], "fdatasync:error=EIO:when=1");
        assert_eq!(said, [claimed], "{call}");
    }
}

#[test]
fn a_claim_whose_end_cannot_have_the_mutex_is_given_up() {
    let directory = directory();
    let tracker = Tracker::open(directory.path().join("a.tracker")).unwrap();
    tracker.add("a").unwrap();
    let claim = tracker.claim().unwrap().unwrap();
    tracker
        .transaction(|t| {
            // Under the mutex no other call on the store can be made.
            drop(claim);
            t.add("b")
        })
        .unwrap();
    assert!(tracker.claims().unwrap().is_empty(), "the process lives, and nobody has the claim");
    let keys: Vec<String> = tracker.claim_many(3).unwrap().iter().map(|claim| claim.key().to_string()).collect();
    assert_eq!(keys, ["b", "a"]);
    assert!(tracker.at("a").key("_error").get_as::<String>().unwrap().is_some());
    let report = tracker.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn of_several_claims_none_is_left_held_where_one_fails() {
    let directory = directory();
    let path = directory.path().join("a.tracker");
    let tracker = Tracker::open(&path).unwrap();
    // More than can be claimed at once.
    let limit = 1 << 17;
    tracker.add_many(0..limit + 300).unwrap();
    let error = tracker.claim_many(limit + 300).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(tracker.claims().unwrap().is_empty());
    assert_eq!((tracker.num_tried(), tracker.progress().todo), (0, limit + 300));
    let claim = tracker.claim().unwrap().expect("they wait as before");
    assert_eq!(claim.key().as_i64(), Some(0));
    claim.done().unwrap();
    let report = tracker.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}
