//! Amounts of abstract resources, as people write them.

use grid_proto::Amount;

/// `NAME=AMOUNT`, for instance `GPU=1` or `bandwidth=0.5`.
pub(crate) fn parse(text: &str) -> Result<(String, Amount), String> {
    let expected = || format!("`{text}` is not NAME=AMOUNT, for instance `GPU=1`");
    let (name, amount) = text.split_once('=').ok_or_else(expected)?;
    if name.is_empty() {
        return Err(expected());
    }
    let units: f64 = amount.parse().map_err(|_| expected())?;
    let amount = Amount::from_units(units)
        .ok_or_else(|| format!("`{amount}` of `{name}`: a number from 0 to 1e9 is expected"))?;
    Ok((name.to_owned(), amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(parse("GPU=1"), Ok(("GPU".to_owned(), Amount(10_000))));
        assert_eq!(parse("net=0.25").unwrap().1, Amount(2_500));
        for wrong in ["GPU", "=1", "GPU=", "GPU=x", "GPU=-1", "GPU=inf", "GPU=NaN", "GPU=1e99"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
