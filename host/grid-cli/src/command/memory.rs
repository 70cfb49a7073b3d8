use std::path::PathBuf;

use clap::Args;
use grid_net::Endpoint;
use grid_worker::{Marks, MemoryConfig};

use crate::{machine, size};

/// Where objects go that memory has no room for, unless somebody says otherwise: below the working
/// directory.
const DIRECTORY: &str = "grid-scratch-space";

/// What an operator says about the memory of a worker.
#[derive(Args, Debug, Clone)]
pub(crate) struct MemoryArgs {
    /// What a worker may hold: a size, a fraction of this machine's memory (`0.25`), `auto` (all of it
    /// in proportion to the slots; a container's limit counts), or 0 for no limit.
    #[arg(long, default_value = "auto", value_name = "SIZE", value_parser = Limit::parse)]
    memory_limit: Limit,
    /// Objects and sandboxes above this fraction of the limit send objects to disk, least recently
    /// used first; `off` keeps them in memory.
    #[arg(long, default_value = "0.6", value_name = "FRACTION", value_parser = mark)]
    memory_target: f64,
    /// A worker process above this fraction sends objects to disk until it is below the target.
    #[arg(long, default_value = "0.7", value_name = "FRACTION", value_parser = mark)]
    memory_spill: f64,
    /// A worker above this fraction takes no calls until it is well below.
    #[arg(long, default_value = "0.8", value_name = "FRACTION", value_parser = mark)]
    memory_pause: f64,
    /// `grid up` ends and replaces a worker process above this fraction.
    #[arg(long, default_value = "0.95", value_name = "FRACTION", value_parser = mark)]
    memory_terminate: f64,
    /// Where objects go that memory has no room for. By default `grid-scratch-space` in the working
    /// directory; made when it is needed.
    #[arg(long, env = "GRID_LOCAL_DIRECTORY", value_name = "DIR")]
    local_directory: Option<PathBuf>,
    /// What these files may hold together. By default as much as the disk takes.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    spill_limit: Option<u64>,
    /// Give and take objects over the network alone, also to and from processes of this host.
    #[arg(long)]
    no_shared_memory: bool,
}

/// A memory limit as people write it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Limit {
    Auto,
    Fraction(f64),
    Bytes(u64),
}

impl Limit {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if text.contains('.') {
            let fraction = text.parse().ok().filter(|part| *part > 0.0 && *part <= 1.0);
            let bad = || format!("`{text}` is not a fraction: write a number above 0, at most 1.0");
            return fraction.map(Self::Fraction).ok_or_else(bad);
        }
        size::parse(text).map(Self::Bytes)
    }

    fn text(self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            // With a point, by which it is known.
            Self::Fraction(part) => format!("{part:?}"),
            Self::Bytes(bytes) => bytes.to_string(),
        }
    }

    fn bytes(self, slots: usize) -> u64 {
        match self {
            Self::Auto => machine::memory_share(slots),
            Self::Fraction(part) => machine::memory_part(part),
            Self::Bytes(bytes) => bytes,
        }
    }
}

fn mark(text: &str) -> Result<f64, String> {
    if text == "off" {
        return Ok(f64::INFINITY);
    }
    let fraction = text.parse().ok().filter(|mark| (0.0..=1.0).contains(mark));
    fraction
        .ok_or_else(|| format!("`{text}` is not a fraction: write a number from 0 to 1, or `off`"))
}

fn mark_text(mark: f64) -> String {
    if mark.is_finite() { mark.to_string() } else { "off".to_owned() }
}

impl MemoryArgs {
    /// For a worker with so many slots.
    pub(crate) fn config(&self, slots: usize) -> MemoryConfig {
        let directory = self.local_directory.clone().unwrap_or_else(|| DIRECTORY.into());
        MemoryConfig {
            limit_bytes: self.memory_limit.bytes(slots),
            marks: Marks {
                target: self.memory_target,
                spill: self.memory_spill,
                pause: self.memory_pause,
                terminate: self.memory_terminate,
            },
            directory: Some(directory),
            spilled_bytes_max: self.spill_limit.unwrap_or(u64::MAX),
            watch_process: true,
        }
    }

    pub(crate) fn shares_memory(&self) -> bool {
        !self.no_shared_memory
    }

    /// What the worker listens on.
    pub(crate) fn endpoint(&self, endpoint: Endpoint) -> Endpoint {
        if self.no_shared_memory { endpoint.without_shared_memory() } else { endpoint }
    }

    /// The same options, for a process that is started with them.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut args = vec![
            format!("--memory-limit={}", self.memory_limit.text()),
            format!("--memory-target={}", mark_text(self.memory_target)),
            format!("--memory-spill={}", mark_text(self.memory_spill)),
            format!("--memory-pause={}", mark_text(self.memory_pause)),
            format!("--memory-terminate={}", mark_text(self.memory_terminate)),
        ];
        let directory = self.local_directory.iter();
        args.extend(directory.map(|dir| format!("--local-directory={}", dir.display())));
        args.extend(self.spill_limit.map(|bytes| format!("--spill-limit={bytes}")));
        args.extend(self.no_shared_memory.then(|| "--no-shared-memory".to_owned()));
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them_and_written_so_that_they_are_read_again() {
        let cases = [
            ("auto", Limit::Auto),
            ("0", Limit::Bytes(0)),
            ("1GiB", Limit::Bytes(1 << 30)),
            ("0.25", Limit::Fraction(0.25)),
            ("1.0", Limit::Fraction(1.0)),
        ];
        for (text, limit) in cases {
            assert_eq!(Limit::parse(text), Ok(limit), "{text}");
            assert_eq!(Limit::parse(&limit.text()), Ok(limit), "{text}");
        }
        for text in ["", "much", "0.0", "1.5", "-1", "nan", "1.x"] {
            assert!(Limit::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn marks_are_fractions_or_off() {
        assert_eq!((mark("0.6"), mark("1"), mark("0")), (Ok(0.6), Ok(1.0), Ok(0.0)));
        assert_eq!(mark("off"), Ok(f64::INFINITY));
        for text in ["2", "-0.1", "nan", "inf", "60%"] {
            assert!(mark(text).is_err(), "{text}");
        }
        assert_eq!((mark_text(0.6), mark_text(f64::INFINITY)), ("0.6".into(), "off".into()));
    }
}
