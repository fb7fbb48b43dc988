//! The bodies of the fuzz targets: each takes the fuzzer's bytes and panics where the store does something wrong. They
//! are called by the targets in `fuzz_targets/`, and with the inputs that once found something by a plain test of the
//! main crate, `tests/it/regressions.rs`, which includes this file as a module.

pub mod bytes;
pub mod json;
pub mod live_files;
pub mod manifest;
pub mod operations;
pub mod record;
pub mod shard;
pub mod value;

/// A directory for a store, in memory where the system has such a place.
pub fn directory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let builder = |place: &std::path::Path| tempfile::Builder::new().prefix("tastypod-fuzz-").tempdir_in(place);
    builder(memory).or_else(|_| builder(&std::env::temp_dir())).expect("a temporary directory can be made")
}

/// What the files beside the log hold is another target's.
pub fn keep_only_log(path: &std::path::Path) {
    for entry in std::fs::read_dir(path).expect("the directory is ours").flatten() {
        if entry.file_name() != ".live" {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
