#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tastypod_fuzz::value::run(data));
