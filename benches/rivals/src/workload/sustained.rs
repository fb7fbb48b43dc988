//! A minute at full speed on a store of its own: whether the rate lasts, what is written to the disk, how large the files become,
//! and what is left of that after ten seconds of rest.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Seconds that the rate is compared over.
pub const WINDOW: usize = 10;
/// Seconds of rest before the last look at the files.
pub const REST_SECONDS: u64 = 10;
/// What is asked for: the least part of the first window's rate in any later one.
pub const LEAST_PART: f64 = 0.7;

/// What one engine did.
#[derive(Default, Serialize)]
pub struct Sustained {
    /// Operations of all processes in each second.
    pub rates: Vec<f64>,
    pub operations: u64,
    /// Bytes that the disk was written, by everybody, until all was flushed.
    pub disk_bytes: u64,
    /// Bytes of disk blocks of all files after the load, after the run, and after the rest.
    pub sizes: [u64; 3],
}

impl Sustained {
    fn windows(&self) -> impl Iterator<Item = f64> {
        self.rates.windows(WINDOW.min(self.rates.len()).max(1)).map(|window| window.iter().sum::<f64>() / window.len() as f64)
    }

    /// The mean rate of the first seconds.
    pub fn first(&self) -> f64 {
        self.windows().next().unwrap_or(0.0)
    }

    /// The least mean rate of as many seconds.
    pub fn least(&self) -> f64 {
        self.windows().fold(f64::INFINITY, f64::min)
    }
}

/// Bytes of disk blocks of everything in a directory.
pub fn size(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("{}", directory.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { size(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}

/// Bytes written to the disk that a directory lies on since the machine started, after everything was flushed; 0 where the
/// system does not count.
pub fn disk_bytes(directory: &Path) -> Result<u64> {
    nix::unistd::sync();
    let device = fs::metadata(directory)?.dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let Ok(text) = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")) else { return Ok(0) };
    let sectors: u64 = text.split_ascii_whitespace().nth(6).and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(sectors * 512)
}
