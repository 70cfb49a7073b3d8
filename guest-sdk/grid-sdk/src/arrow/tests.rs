//! Tables as values and back.

use arrow_array::{Float64Array, Int32Array, StringArray};
use proptest::prelude::*;

use super::*;
use crate::Raw;

fn batch(numbers: &[Option<f64>]) -> RecordBatch {
    let texts: StringArray =
        numbers.iter().map(|number| number.map(|number| format!("ü{number}"))).collect();
    let numbers = Float64Array::from(numbers.to_vec());
    let columns = [("number", Arc::new(numbers) as _, true), ("text", Arc::new(texts) as _, true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn error<T: FromValue + std::fmt::Debug>(value: Value) -> String {
    T::from_value(value).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn tables_come_back(batches in proptest::collection::vec(
        proptest::collection::vec(any::<Option<i32>>(), 0..50), 0..4)
    ) {
        let number = |number: &Option<i32>| number.map(f64::from);
        let batches: Vec<_> = batches.iter()
            .map(|numbers| batch(&numbers.iter().map(number).collect::<Vec<_>>()))
            .collect();
        let table = Table::with_schema(batch(&[]).schema(), batches).unwrap();
        let value = table.clone().into_value().unwrap();
        prop_assert_eq!(value.codec, Codec::Arrow);
        prop_assert_eq!(Table::from_value(value).unwrap(), table);
    }
}

#[test]
fn tables_without_batches_have_a_schema() {
    let empty = Table::of(Vec::new()).unwrap();
    assert_eq!((empty.rows(), empty.schema().fields().len()), (0, 0));
    let back = Table::from_value(empty.clone().into_value().unwrap()).unwrap();
    assert_eq!(back, empty);
    let other = Int32Array::from(vec![1]);
    let other = RecordBatch::try_from_iter([("number", Arc::new(other) as _)]).unwrap();
    let mixed = Table::of(vec![batch(&[None]), other]).unwrap_err();
    assert!(mixed.to_string().contains("batch 1 has another schema"), "{mixed}");
}

#[test]
fn what_is_no_table_is_told() {
    assert_eq!(
        error::<Table>(7.into_value().unwrap()),
        "it is a MessagePack value, not an Arrow table"
    );
    let raw = Raw(vec![1]).into_value().unwrap();
    assert_eq!(error::<Table>(raw), "it is raw bytes, not an Arrow table");
    let arrow = |bytes: &[u8]| Value { codec: Codec::Arrow, bytes: bytes.to_vec() };
    assert_eq!(error::<Table>(arrow(b"")), "it has no schema");
    assert!(error::<u8>(arrow(b"")).starts_with("it is an Arrow table"));
    let whole = Table::from(batch(&[Some(1.5), None])).into_value().unwrap().bytes;
    // A stream may end without saying so, between two messages; there the table ends, too.
    let ends = (1..whole.len()).filter(|end| Table::from_value(arrow(&whole[..*end])).is_ok());
    assert!(ends.count() <= 4);
    for end in [3, 20, whole.len() / 2] {
        let failed = error::<Table>(arrow(&whole[..end]));
        assert!(failed.starts_with("it is no Arrow table: "), "{end}: {failed}");
    }
}
