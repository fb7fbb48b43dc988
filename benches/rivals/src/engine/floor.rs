//! Not a store, but what no store in shared memory can be below: a hash table and records of fixed size in a mapped file,
//! written in place under one robust mutex. A reader may see half a write, a kill leaves one, nothing grows, no value is
//! checked, and there is one kind of value. It shows how much of an engine's time is the machine's.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fs::OpenOptions;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use memmap2::{Advice, MmapOptions, MmapRaw};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{Engine, Entries, text};
use crate::data::{Doc, KEY_SIZE};

const HEAD_BYTES: usize = 4096;
const URL_BYTES_MAX: usize = 64;

#[repr(C)]
struct Head {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    is_ready: AtomicU64,
    count: AtomicU64,
}

#[repr(C, align(64))]
struct Record {
    hash: u64,
    key: [u8; KEY_SIZE],
    done: bool,
    aborted: bool,
    url_length: u32,
    tries: AtomicU64,
    url: [u8; URL_BYTES_MAX],
}

struct Store {
    map: MmapRaw,
    slots: usize,
}

pub fn open(directory: &Path, capacity: usize) -> Result<Box<dyn Engine>> {
    let slots = (capacity * 2).next_power_of_two();
    let length = HEAD_BYTES + slots * 8 + capacity * size_of::<Record>();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(directory.join("floor"))?;
    file.set_len(length as u64)?;
    let map = MmapOptions::new().len(length).map_raw(&file)?;
    map.advise(Advice::HugePage)?;
    map.advise(Advice::PopulateWrite)?;
    let store = Store { map, slots };
    // The worker that loads opens it first, and alone.
    if store.head().is_ready.load(Ordering::Acquire) == 0 {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised before they are used; nobody else uses the mutex yet.
        unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr());
            libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutex_init(store.head().mutex.get(), attributes.as_ptr());
        }
        store.head().is_ready.store(1, Ordering::Release);
    }
    Ok(Box::new(store))
}

impl Store {
    fn head(&self) -> &Head {
        // SAFETY: the mapping is longer than the head, and of zeros at first, which are a valid head.
        unsafe { &*self.map.as_ptr().cast() }
    }

    fn slot(&self, slot: usize) -> &AtomicU64 {
        // SAFETY: `slots` words follow the head.
        unsafe { &*self.map.as_ptr().add(HEAD_BYTES).cast::<AtomicU64>().add(slot & (self.slots - 1)) }
    }

    fn record(&self, index: u64) -> *mut Record {
        // SAFETY: indexes come from slots, which name records that were made.
        unsafe { self.map.as_mut_ptr().add(HEAD_BYTES + self.slots * 8).cast::<Record>().add(index as usize) }
    }

    /// The record of a key, or the slot where it belongs. A slot holds a record's number and 24 bits of its hash.
    fn find(&self, hash: u64, key: &[u8]) -> std::result::Result<*mut Record, usize> {
        let mut slot = (hash >> 20) as usize;
        loop {
            let entry = self.slot(slot).load(Ordering::Acquire);
            if entry == 0 {
                return Err(slot);
            }
            let record = self.record((entry >> 24) - 1);
            // SAFETY: keys and hashes are never changed once a slot names them.
            if entry & 0xff_ffff == hash & 0xff_ffff && unsafe { (*record).hash == hash && (*record).key == *key } {
                return Ok(record);
            }
            slot += 1;
        }
    }

    fn present(&self, key: &str) -> Result<*mut Record> {
        text::present(self.find(xxh3_64(key.as_bytes()), key.as_bytes()).ok())
    }

    fn locked<R>(&self, work: impl FnOnce() -> R) -> R {
        let word = self.head().mutex.get().cast::<u32>();
        // SAFETY: the mutex was initialised by the first opener; its first word is the kernel's lock word (glibc).
        unsafe {
            while libc::pthread_mutex_trylock(self.head().mutex.get()) != 0 {
                for _ in 0..256 {
                    std::hint::spin_loop();
                }
                std::hint::black_box(word.read_volatile());
            }
        }
        let result = work();
        // SAFETY: this thread has just locked it.
        unsafe { libc::pthread_mutex_unlock(self.head().mutex.get()) };
        result
    }

    fn write(&self, key: &str, document: &Doc) -> Result<()> {
        ensure!(document.url.len() <= URL_BYTES_MAX, "the records are of a fixed size");
        let hash = xxh3_64(key.as_bytes());
        // SAFETY: under the mutex nobody else writes; readers are in for what they get (see above).
        unsafe {
            let (record, slot) = match self.find(hash, key.as_bytes()) {
                Ok(record) => (record, None),
                Err(slot) => (self.record(self.head().count.load(Ordering::Relaxed)), Some(slot)),
            };
            (*record).done = document.done;
            (*record).aborted = document.aborted;
            (*record).url_length = document.url.len() as u32;
            (*record).tries.store(document.tries, Ordering::Relaxed);
            (&mut (*record).url)[..document.url.len()].copy_from_slice(document.url.as_bytes());
            if let Some(slot) = slot {
                (*record).hash = hash;
                (*record).key.copy_from_slice(key.as_bytes());
                let index = self.head().count.fetch_add(1, Ordering::Relaxed);
                self.slot(slot).store((index + 1) << 24 | hash & 0xff_ffff, Ordering::Release);
            }
        }
        Ok(())
    }

    fn url(record: &Record) -> String {
        String::from_utf8_lossy(&record.url[..record.url_length as usize]).into_owned()
    }
}

impl Engine for Store {
    fn view(&self, key: &str) -> Result<u64> {
        // SAFETY: the record is there; torn values are the floor's business.
        Ok(unsafe { (*self.present(key)?).tries.load(Ordering::Relaxed) })
    }

    fn get_as(&self, key: &str) -> Result<Doc> {
        // SAFETY: as above.
        let record = unsafe { &*self.present(key)? };
        let tries = record.tries.load(Ordering::Relaxed);
        Ok(Doc { tries, done: record.done, aborted: record.aborted, url: Store::url(record) })
    }

    fn get(&self, key: &str) -> Result<Value> {
        let Doc { tries, done, aborted, url } = self.get_as(key)?;
        Ok(json!({"_tries": tries, "_done": done, "_aborted": aborted, "url": url}))
    }

    fn set(&self, key: &str, document: &Doc) -> Result<()> {
        self.locked(|| self.write(key, document))
    }

    fn extend(&self, entries: &mut Entries<'_>) -> Result<()> {
        self.locked(|| {
            for (key, document) in entries {
                self.write(key, document)?;
            }
            Ok(())
        })
    }

    fn increment(&self, key: &str) -> Result<()> {
        self.locked(|| {
            // SAFETY: as above, and nobody else writes under the mutex.
            let tries = unsafe { &(*self.present(key)?).tries };
            tries.store(tries.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            Ok(())
        })
    }

    fn iterate(&self) -> Result<u64> {
        let count = self.head().count.load(Ordering::Acquire);
        // SAFETY: so many records were made.
        let touched = (0..count).fold(0, |touched, index| touched ^ unsafe { (*self.record(index)).tries.load(Ordering::Relaxed) });
        std::hint::black_box(touched);
        Ok(count)
    }

    fn sum_tries(&self) -> Result<u64> {
        let count = self.head().count.load(Ordering::Acquire);
        // SAFETY: as above.
        Ok((0..count).map(|index| unsafe { (*self.record(index)).tries.load(Ordering::Relaxed) }).sum())
    }
}
