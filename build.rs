//! Builds of this repository for its own tests. The published package is made without this file: none of these
//! configurations can be switched on by a program that depends on the crate, as a feature could be by any other
//! crate of that program.
//!
//! A variable and not RUSTFLAGS, which a flag of the user's own would replace, and with which all dependencies are
//! built again.

use std::env::var;

fn main() {
    let is_set = |name: &str| {
        println!("cargo::rerun-if-env-changed={name}");
        var(name).is_ok_and(|value| !value.is_empty())
    };
    let [tests, fuzzing, small] = ["TASTYPOD_BUILD_TESTS", "TASTYPOD_BUILD_FUZZING", "TASTYPOD_BUILD_SMALL_SEGMENTS"].map(is_set);
    // Set in .cargo/config.toml for all builds in this directory; what is measured and installed from it is without.
    let tests = tests && var("PROFILE").is_ok_and(|profile| profile == "debug");
    for (is_on, name) in [(tests, "crash_points"), (tests || fuzzing, "fuzzing"), (small, "small_segments")] {
        if is_on {
            println!("cargo::rustc-cfg=tastypod_{name}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
}
