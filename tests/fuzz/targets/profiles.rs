#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sessmux_fuzz::profiles::check(data));
