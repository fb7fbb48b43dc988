//! The starting line: one page shared by all worker processes, so that their lanes start together.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use memmap2::MmapRaw;
use nix::time::{ClockId, clock_gettime};

const ARRIVED: usize = 0;
/// On a cache line of its own, as lanes poll it while others still count themselves in.
const RELEASED_AT: usize = 8;
const PAGE_SIZE: u64 = 4096;
/// How long a lane waits for the others before it takes them for dead.
const PATIENCE: u64 = 60_000_000_000;

/// Nanoseconds of the monotonic clock, which reads the same in every process.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock is always there");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

pub struct Gate {
    page: MmapRaw,
}

impl Gate {
    pub fn open(path: &Path) -> Result<Gate> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(PAGE_SIZE)?;
        Ok(Gate { page: MmapRaw::map_raw(&file)? })
    }

    #[allow(unsafe_code)]
    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: both indexes are inside the page, which is aligned and stays mapped as long as `self`; every
        // process touches it through atomics only.
        unsafe { AtomicU64::from_ptr(self.page.as_mut_ptr().cast::<u64>().add(index)) }
    }

    /// The parent calls this before it sends a command, when no lane is under way.
    pub fn close(&self) {
        self.word(RELEASED_AT).store(0, Ordering::Relaxed);
        self.word(ARRIVED).store(0, Ordering::Release);
    }

    /// Waits until `lanes` lanes are here; returns the moment of release, the same for all of them.
    pub fn pass(&self, lanes: u64) -> Result<u64> {
        let arrived_at = now();
        if self.word(ARRIVED).fetch_add(1, Ordering::AcqRel) + 1 == lanes {
            self.word(RELEASED_AT).store(now(), Ordering::Release);
        }
        loop {
            match self.word(RELEASED_AT).load(Ordering::Acquire) {
                0 => std::thread::yield_now(),
                released_at => return Ok(released_at),
            }
            ensure!(now() - arrived_at < PATIENCE, "the other lanes did not come to the start");
        }
    }
}
