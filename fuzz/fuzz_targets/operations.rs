#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let directory = tastypod_fuzz::directory();
    tastypod_fuzz::operations::from_bytes(directory.path(), data);
});
