//! Samba TDB with robust mutexes, through libtdb (`apt install libtdb-dev`).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::text::{self, Scan};
use super::{Engine, Entries};
use crate::data::Doc;

/// `TDB_DATA`. The library does not write through the pointer that it is given.
#[repr(C)]
#[derive(Clone, Copy)]
struct Datum {
    start: *const c_uchar,
    size: usize,
}

#[repr(C)]
struct Handle {
    _opaque: [u8; 0],
}

type ParseFunction = unsafe extern "C" fn(Datum, Datum, *mut c_void) -> c_int;
type TraverseFunction = unsafe extern "C" fn(*mut Handle, Datum, Datum, *mut c_void) -> c_int;

#[link(name = "tdb")]
unsafe extern "C" {
    fn tdb_open(name: *const c_char, hash_size: c_int, tdb_flags: c_int, open_flags: c_int, mode: c_uint) -> *mut Handle;
    fn tdb_close(context: *mut Handle) -> c_int;
    fn tdb_errorstr(context: *mut Handle) -> *const c_char;
    fn tdb_parse_record(context: *mut Handle, key: Datum, parser: ParseFunction, private: *mut c_void) -> c_int;
    fn tdb_store(context: *mut Handle, key: Datum, value: Datum, flag: c_int) -> c_int;
    fn tdb_traverse_read(context: *mut Handle, function: TraverseFunction, private: *mut c_void) -> c_int;
    fn tdb_chainlock(context: *mut Handle, key: Datum) -> c_int;
    fn tdb_chainunlock(context: *mut Handle, key: Datum) -> c_int;
    fn tdb_runtime_check_for_robust_mutexes() -> bool;
}

const TDB_CLEAR_IF_FIRST: c_int = 1;
const TDB_NOSYNC: c_int = 64;
const TDB_INCOMPATIBLE_HASH: c_int = 2048;
const TDB_MUTEX_LOCKING: c_int = 4096;
const TDB_REPLACE: c_int = 1;
const O_RDWR: c_int = 2;
const O_CREAT: c_int = 0o100;

/// The pointer makes it neither `Send` nor `Sync`, which is right: TDB does not know threads.
struct Store {
    context: NonNull<Handle>,
}

pub fn open(directory: &Path, capacity: usize) -> Result<Box<dyn Engine>> {
    // SAFETY: takes no arguments.
    ensure!(unsafe { tdb_runtime_check_for_robust_mutexes() }, "libtdb finds no robust mutexes on this system");
    let name = CString::new(directory.join("store.tdb").as_os_str().as_bytes())?;
    // Its hash table never grows: as many chains as keys is what serves it best.
    let hash_size = c_int::try_from(capacity | 1)?;
    // Mutexes are only to be had together with "clear if first"; the worker that loads is the first and stays.
    let flags = TDB_CLEAR_IF_FIRST | TDB_MUTEX_LOCKING | TDB_INCOMPATIBLE_HASH | TDB_NOSYNC;
    // SAFETY: `name` is a C string that outlives the call; flags and mode are those of tdb.h and open(2).
    let context = unsafe { tdb_open(name.as_ptr(), hash_size, flags, O_RDWR | O_CREAT, 0o600) };
    let context = NonNull::new(context).context(std::io::Error::last_os_error()).context("tdb_open")?;
    Ok(Box::new(Store { context }))
}

fn datum(bytes: &[u8]) -> Datum {
    Datum { start: bytes.as_ptr(), size: bytes.len() }
}

/// # Safety
/// `datum` must be what the library passes to a callback, and the result must not outlive that callback.
unsafe fn bytes<'a>(datum: Datum) -> &'a [u8] {
    if datum.start.is_null() {
        return &[];
    }
    // SAFETY: the library holds the chain's lock while its callback runs, so these bytes stay and do not change.
    unsafe { std::slice::from_raw_parts(datum.start, datum.size) }
}

/// Calls the `F` behind `private` with the value of a record.
unsafe extern "C" fn parse<F: FnMut(&[u8])>(_key: Datum, value: Datum, private: *mut c_void) -> c_int {
    // SAFETY: `read` passes a pointer to a live `F` that nothing else uses meanwhile.
    let use_text = unsafe { &mut *private.cast::<F>() };
    // SAFETY: this is the callback, and the slice does not leave it.
    use_text(unsafe { bytes(value) });
    0
}

unsafe extern "C" fn traverse<F: FnMut(&[u8])>(_: *mut Handle, key: Datum, value: Datum, private: *mut c_void) -> c_int {
    // SAFETY: the same contract as `parse`, which `scan` keeps as `read` does.
    unsafe { parse::<F>(key, value, private) }
}

impl Store {
    fn check(&self, result: c_int, what: &str) -> Result<()> {
        if result < 0 {
            // SAFETY: the context is open, and the library returns a static C string.
            let message = unsafe { CStr::from_ptr(tdb_errorstr(self.context.as_ptr())) };
            bail!("{what}: {}", message.to_string_lossy());
        }
        Ok(())
    }

    fn read<R>(&self, key: &str, use_text: impl FnOnce(&[u8]) -> R) -> Result<R> {
        fn call<F: FnMut(&[u8])>(store: &Store, key: &str, mut callback: F) -> c_int {
            // SAFETY: the context is open, the key outlives the call, and `callback` is the `F` that `parse` expects.
            unsafe { tdb_parse_record(store.context.as_ptr(), datum(key.as_bytes()), parse::<F>, ptr::from_mut(&mut callback).cast()) }
        }
        let (mut use_text, mut outcome) = (Some(use_text), None);
        let result = call(self, key, |text| outcome = use_text.take().map(|use_text| use_text(text)));
        self.check(result, "tdb_parse_record")?;
        text::present(outcome)
    }

    fn store(&self, key: &str, text: &[u8]) -> Result<()> {
        // SAFETY: the context is open, key and text outlive the call.
        let result = unsafe { tdb_store(self.context.as_ptr(), datum(key.as_bytes()), datum(text), TDB_REPLACE) };
        self.check(result, "tdb_store")
    }
}

impl Scan for Store {
    fn scan(&self, visit: impl FnMut(&[u8])) -> Result<()> {
        fn call<F: FnMut(&[u8])>(store: &Store, mut visit: F) -> c_int {
            // SAFETY: the context is open, and `visit` is the `F` that `traverse` expects.
            unsafe { tdb_traverse_read(store.context.as_ptr(), traverse::<F>, ptr::from_mut(&mut visit).cast()) }
        }
        self.check(call(self, visit), "tdb_traverse_read")
    }
}

impl Engine for Store {
    fn view(&self, key: &str) -> Result<u64> {
        self.read(key, text::touch)
    }

    fn get_as(&self, key: &str) -> Result<Doc> {
        self.read(key, text::to_doc)?
    }

    fn get(&self, key: &str) -> Result<Value> {
        self.read(key, text::to_value)?
    }

    fn set(&self, key: &str, document: &Doc) -> Result<()> {
        self.store(key, &text::encode(document)?)
    }

    fn extend(&self, entries: &mut Entries<'_>) -> Result<()> {
        for (key, document) in entries {
            self.set(key, document)?;
        }
        Ok(())
    }

    fn increment(&self, key: &str) -> Result<()> {
        // SAFETY: the context is open and the key outlives the call.
        self.check(unsafe { tdb_chainlock(self.context.as_ptr(), datum(key.as_bytes())) }, "tdb_chainlock")?;
        let outcome = self.read(key, text::incremented).and_then(|text| self.store(key, &text?));
        // SAFETY: as above, and the chain is locked by this handle.
        self.check(unsafe { tdb_chainunlock(self.context.as_ptr(), datum(key.as_bytes())) }, "tdb_chainunlock")?;
        outcome
    }

    fn iterate(&self) -> Result<u64> {
        text::count(self)
    }

    fn sum_tries(&self) -> Result<u64> {
        text::sum_tries(self)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the context is open and nobody uses it after this. Nothing is to be done about an error.
        unsafe { tdb_close(self.context.as_ptr()) };
    }
}
