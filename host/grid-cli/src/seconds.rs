//! Times as people write them, in seconds.

use std::time::Duration;

/// About thirty years: longer than anybody waits, and still a number of microseconds.
const SECONDS_MAX: f64 = 1e9;

/// `1.5`, `60`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let expected =
        || format!("write a number of seconds from 0 to {SECONDS_MAX}, for instance 1.5");
    let seconds: f64 = text.trim().parse().map_err(|_| expected())?;
    match (0.0..=SECONDS_MAX).contains(&seconds) {
        true => Duration::try_from_secs_f64(seconds).map_err(|_| expected()),
        false => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn only_times_that_can_be_waited_for_are_read() {
        assert_eq!(super::parse("1.5"), Ok(Duration::from_millis(1_500)));
        assert_eq!(super::parse(" 0"), Ok(Duration::ZERO));
        for text in ["nan", "-1", "1e300", "inf", "soon", ""] {
            let expected = super::parse(text).unwrap_err();
            assert!(expected.contains("from 0 to 1000000000, for instance"), "{expected}");
        }
    }
}
