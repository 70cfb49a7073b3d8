//! What the operating system says of this process.

use std::fs;

/// Resident memory in bytes, 0 where the system does not say.
pub(crate) fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

/// Open descriptors, 0 where the system does not say.
pub(crate) fn descriptors() -> u32 {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // One of them is the directory itself.
    u32::try_from(open.saturating_sub(1)).unwrap_or(u32::MAX)
}
