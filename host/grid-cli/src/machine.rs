//! What this machine is.

use std::path::{Path, PathBuf};

/// Its name; empty where the system does not tell.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Resident memory of a process of it; 0 where the system does not tell.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

/// The part of its memory that belongs to so many slots: all of it times slots over processors.
pub(crate) fn memory_share(slots: usize) -> u64 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = u128::from(memory_bytes()) * slots.min(processors) as u128 / processors as u128;
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// A fraction of its memory.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction is no exact number"
)]
pub(crate) fn memory_part(fraction: f64) -> u64 {
    (memory_bytes() as f64 * fraction) as u64
}

/// All of its memory, or what a container leaves of it; a guess where the system does not tell.
fn memory_bytes() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
    let bytes = kibibytes.map_or(UNKNOWN, |kibibytes: u64| kibibytes << 10);
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = group_limit(Path::new("/sys/fs/cgroup"), &groups);
    limit.map_or(bytes, |limit| limit.min(bytes))
}

/// The smallest memory limit of the control groups that this process is in, of both versions; the
/// second's limits hold for everything below them.
fn group_limit(root: &Path, groups: &str) -> Option<u64> {
    let read = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let group = Path::new(group.trim_start_matches('/'));
        if controllers.is_empty() {
            let above = group.ancestors().map(|group| root.join(group).join("memory.max"));
            limits.extend(above.filter_map(read));
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let own = root.join("memory").join(group).join("memory.limit_in_bytes");
            // In a container the group's own path may not be visible.
            let seen = root.join("memory/memory.limit_in_bytes");
            limits.extend([own, seen].into_iter().filter_map(read));
        }
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_limit_is_found_wherever_it_is_set() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let limit = |groups| group_limit(root.path(), groups);
        assert_eq!(limit("0::/a/b\n"), None);
        write("a/b/memory.max", "max\n");
        assert_eq!(limit("0::/a/b\n"), None, "no limit is none");
        write("a/memory.max", "1000000\n");
        assert_eq!(limit("0::/a/b\n"), Some(1_000_000), "of the group above");
        write("a/b/memory.max", "500000\n");
        assert_eq!(limit("0::/a/b\n"), Some(500_000));
        write("memory/c/memory.limit_in_bytes", "70000\n");
        assert_eq!(limit("5:cpu,memory:/c\n2:pids:/c\n"), Some(70_000), "the first version");
        assert_eq!(limit("nonsense\n"), None);
    }
}
