#![no_main]
use std::cell::RefCell;
use tastypod_fuzz::operations::Kept;

thread_local! {
    static STORE: RefCell<Kept> = RefCell::new(Kept::new());
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| STORE.with_borrow_mut(|store| {
    if store.is_old() {
        *store = Kept::new();
    }
    store.run(data);
}));
