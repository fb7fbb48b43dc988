//! Inputs with which a fuzz target once found something, replayed by the targets' own bodies: `fuzz/regressions/TARGET/`
//! holds them, under names that say what was wrong.

use crate::fuzz::live_files::Template;
use crate::fuzz::{json, live_files, manifest, operations, record, shard, value};
use crate::support::{Role, directory};
use std::path::Path;

pub const CHILDREN: &[Role] = &[];

/// Calls `body` with each input of a target, each in a process's usual surroundings. Returns how many there were.
fn replay(target: &str, mut body: impl FnMut(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions").join(target);
    let entries = std::fs::read_dir(&folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
    let mut inputs: Vec<_> = entries.unwrap_or_default();
    inputs.sort();
    for input in &inputs {
        // The name stands before whatever the body says when it panics.
        println!("{}", input.display());
        body(&std::fs::read(input).unwrap());
    }
    inputs.len()
}

#[test]
fn what_fuzzing_found_stays_mended() {
    let dir = directory();
    let mut inputs = replay("record", |data| record::run(dir.path(), data));
    inputs += replay("live_files", |data| {
        let dir = directory();
        live_files::Template::new(dir.path()).run(data);
    });
    inputs += replay("operations", |data| {
        let dir = directory();
        operations::from_bytes(dir.path(), data);
    });
    inputs += replay("value", value::run) + replay("json", json::run) + replay("manifest", manifest::run);
    inputs += replay("shard", |data| shard::run(dir.path(), data));
    assert!(inputs > 0, "the inputs are found");
}

/// The bodies run at all, on inputs from a simple generator: a target that panics at once would find nothing.
#[test]
fn the_fuzz_targets_accept_arbitrary_bytes() {
    let dir = directory();
    let other = directory();
    let template = Template::new(other.path());
    let mut word = 1_u64;
    for length in (0..40).step_by(2) {
        let data: Vec<u8> = (0..length * 3)
            .map(|_| {
                word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (word >> 56) as u8
            })
            .collect();
        record::run(dir.path(), &data);
        template.run(&data);
        value::run(&data);
        json::run(&data);
        manifest::run(&data);
        shard::run(dir.path(), &data);
        operations::from_bytes(directory().path(), &data);
    }
}
