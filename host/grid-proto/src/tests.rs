use proptest::prelude::*;

use crate::call::{Arg, CallOptions, CallSpec, pure_key};
use crate::frame::{self, FRAME_BYTES_MAX, HEADER_BYTES, Message};
use crate::id::{BundleHash, Key, RequestId};
use crate::message::{FromClient, FromWorker, Query, Submission, ToClient, ToWorker};
use crate::shape;
use crate::value::{Codec, Value};

fn aligned(bytes: &[u8]) -> rkyv::util::AlignedVec {
    let mut frame = rkyv::util::AlignedVec::new();
    frame.extend_from_slice(bytes);
    frame
}

fn msgpack<T: serde::Serialize>(value: &T) -> Value {
    Value { codec: Codec::Msgpack, bytes: rmp_serde::to_vec_named(value).unwrap() }
}

#[test]
fn a_message_survives_its_frame() {
    let messages =
        vec![FromClient::Query { request: RequestId(7), query: Query::Bundle("flights".into()) }];
    let frame = messages.encode().unwrap();
    let header: [u8; HEADER_BYTES] = frame[..HEADER_BYTES].try_into().unwrap();
    assert_eq!(frame::length(header).unwrap(), frame.len() - HEADER_BYTES);
    let back = Vec::<FromClient>::decode(&aligned(&frame[HEADER_BYTES..])).unwrap();
    assert_eq!(back, messages);
}

#[test]
fn a_header_over_the_bound_is_refused_before_anything_is_read() {
    let over = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    assert!(frame::length(over.to_le_bytes()).is_err());
    assert!(frame::length(u32::MAX.to_le_bytes()).is_err());
}

#[test]
fn an_oversized_message_is_not_encoded() {
    let huge = Value { codec: Codec::Raw, bytes: vec![0; FRAME_BYTES_MAX + 1] };
    assert!(huge.encode().is_err());
}

#[test]
fn keys_tell_arguments_apart_by_kind_length_and_place() {
    let bundle = BundleHash([1; 32]);
    let one = |bytes: &[u8]| Arg::Value(Value { codec: Codec::Raw, bytes: bytes.to_vec() });
    let keys = [
        pure_key(bundle, "f", &[one(b"ab")]),
        pure_key(bundle, "f", &[one(b"a"), one(b"b")]),
        pure_key(bundle, "f", &[one(b"b"), one(b"a")]),
        pure_key(bundle, "g", &[one(b"ab")]),
        pure_key(BundleHash([2; 32]), "f", &[one(b"ab")]),
        pure_key(bundle, "f", &[Arg::Key(Key([3; 32]))]),
    ];
    for (position, key) in keys.iter().enumerate() {
        assert!(!keys[..position].contains(key));
    }
    assert_eq!(keys[0], pure_key(bundle, "f", &[one(b"ab")]));
}

#[test]
fn shapes_refuse_what_serde_would() {
    assert!(shape::check("u32", &msgpack(&7u32)).is_ok());
    assert_eq!(shape::check("u32", &msgpack(&"7")), Err("a text"));
    assert!(shape::check("f64", &msgpack(&7)).is_ok());
    assert!(shape::check("Option<u32>", &msgpack(&None::<u32>)).is_ok());
    assert!(shape::check("Option<u32>", &msgpack(&true)).is_err());
    assert!(shape::check("Vec<u8>", &msgpack(&vec![1u8])).is_ok());
    assert!(shape::check("Totals", &msgpack(&"anything")).is_ok());
    let raw = Value { codec: Codec::Raw, bytes: vec![1] };
    assert!(shape::check("Raw", &raw).is_ok());
    assert!(shape::check("u32", &raw).is_err());
    assert!(shape::check("Raw", &msgpack(&1)).is_err());
}

#[test]
fn hashes_read_back_from_text() {
    let hash = BundleHash::of(b"abc");
    assert_eq!(hash.to_string().parse::<BundleHash>().unwrap(), hash);
    assert!("xyz".parse::<BundleHash>().is_err());
    assert!("é".repeat(32).parse::<BundleHash>().is_err());
}

proptest! {
    #[test]
    fn garbage_is_never_believed_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let frame = aligned(&bytes);
        let _ = Vec::<FromClient>::decode(&frame);
        let _ = Vec::<ToClient>::decode(&frame);
        let _ = Vec::<FromWorker>::decode(&frame);
        let _ = Vec::<ToWorker>::decode(&frame);
    }

    #[test]
    fn options_of_any_known_shape_take_null(inner in "(u32|f64|bool|String|Vec<u8>|HashMap<String,u32>)") {
        let shape = format!("Option<{inner}>");
        prop_assert!(shape::check(&shape, &msgpack(&None::<u32>)).is_ok());
    }
}

#[test]
fn submissions_fall_into_pieces_that_fit_frames_and_lose_nothing() {
    let spec = |n: u32, bytes: usize| CallSpec {
        key: Key([n as u8; 32]),
        task: n,
        args: vec![Arg::Value(Value { codec: Codec::Raw, bytes: vec![0; bytes] })],
        options: CallOptions::default(),
    };
    let calls: Vec<_> = (0..5_000).map(|n| spec(n, 10)).chain([spec(9, 4 << 20)]).collect();
    let wanted = vec![Key([3; 32]); 1_200];
    let whole = Submission { calls: calls.clone(), wanted: wanted.clone(), ..Default::default() };
    let pieces = whole.clone().into_pieces();
    let (last, others) = pieces.split_last().unwrap();
    assert!(others.iter().all(|piece| piece.more) && !last.more);
    for piece in &pieces {
        assert!(piece.weight() <= 1_000);
        assert!(vec![FromClient::Submit(piece.clone())].encode().is_ok());
    }
    assert!(pieces.iter().flat_map(|piece| &piece.wanted).eq(&wanted));
    assert!(pieces.iter().flat_map(|piece| &piece.calls).eq(&calls));
    // What is small stays whole.
    let small = Submission { calls: calls[..3].to_vec(), wanted: vec![calls[0].key], ..whole };
    assert_eq!(small.clone().into_pieces(), [small]);
}
