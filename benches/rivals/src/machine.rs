//! What the figures were measured on: they mean nothing without it.

use std::path::Path;

use anyhow::Result;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs};
use nix::sys::utsname::uname;

/// Processor, cores, kernel and file system in one line.
pub fn describe(directory: &Path) -> Result<String> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism()?;
    let kernel = uname()?.release().to_string_lossy().into_owned();
    Ok(format!("{model}, {cores} cores, Linux {kernel}, {}", file_system(directory)?))
}

fn file_system(directory: &Path) -> Result<String> {
    let kind = statfs(directory)?.filesystem_type();
    #[rustfmt::skip]
    let names = [(EXT4_SUPER_MAGIC, "ext4"), (XFS_SUPER_MAGIC, "xfs"), (BTRFS_SUPER_MAGIC, "btrfs"), (TMPFS_MAGIC, "tmpfs"), (OVERLAYFS_SUPER_MAGIC, "overlayfs")];
    let known = names.iter().find(|name| name.0 == kind);
    Ok(known.map_or_else(|| format!("file system {:#x}", kind.0), |name| name.1.to_owned()))
}

pub fn is_memory_only(directory: &Path) -> Result<bool> {
    Ok(statfs(directory)?.filesystem_type() == TMPFS_MAGIC)
}
