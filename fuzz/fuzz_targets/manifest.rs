#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tastypod_fuzz::manifest::run(data));
