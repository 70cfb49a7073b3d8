//! What this machine is.

/// Its name; empty where the system does not tell.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The part of its memory that belongs to so many slots: all of it times slots over processors.
pub(crate) fn memory_share(slots: usize) -> u64 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = u128::from(memory_bytes()) * slots.min(processors) as u128 / processors as u128;
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// All of its memory; a guess where the system does not tell.
fn memory_bytes() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
    kibibytes.map_or(UNKNOWN, |kibibytes: u64| kibibytes << 10)
}
