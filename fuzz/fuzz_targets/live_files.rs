#![no_main]
use std::sync::LazyLock;
use tastypod_fuzz::live_files::Template;

static STORE: LazyLock<(tempfile::TempDir, Template)> = LazyLock::new(|| {
    let directory = tastypod_fuzz::directory();
    let template = Template::new(directory.path());
    (directory, template)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| STORE.1.run(data));
