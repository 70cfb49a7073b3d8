//! Sizes and times as people write them.

/// A size in bytes: `64MiB`.
///
/// # Errors
/// What is wrong and how it is written.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("B", 1),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    quantity(text, &units)
        .ok_or_else(|| format!("`{text}` is no size; write a number and a unit, like `64MiB`"))
}

/// A time in milliseconds: `5s`.
///
/// # Errors
/// What is wrong and how it is written.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let units = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];
    quantity(text, &units)
        .ok_or_else(|| format!("`{text}` is no time; write a number and a unit, like `500ms`"))
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.replace('_', "").parse().ok()?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.checked_mul(*factor).filter(|quantity| *quantity > 0)
}

#[cfg(test)]
mod tests {
    use super::{bytes, milliseconds};

    #[test]
    fn sizes() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes(" 1_000 kB "), Ok(1_000_000));
        for wrong in ["", "64", "MiB", "64mib", "0MiB", "-1MiB", "1.5GiB", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(milliseconds("5s"), Ok(5_000));
        assert_eq!(milliseconds("2 min"), Ok(120_000));
        for wrong in ["5", "s", "5 seconds", "0ms"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }
}
