#![no_main]
use std::sync::LazyLock;

static DIRECTORY: LazyLock<tempfile::TempDir> = LazyLock::new(tastypod_fuzz::directory);

libfuzzer_sys::fuzz_target!(|data: &[u8]| tastypod_fuzz::shard::run(DIRECTORY.path(), data));
