use grid_proto::{Codec, Key, Value};

use crate::{Object, Store};

fn object(bytes: &[u8]) -> Object {
    Object::new(Value { codec: Codec::Raw, bytes: bytes.to_vec() })
}

#[test]
fn counted_bytes_are_those_that_are_held() {
    let mut store = Store::default();
    store.insert(Key([1; 32]), object(b"four"));
    store.insert(Key([2; 32]), object(b"eleven byte"));
    assert_eq!((store.len(), store.bytes()), (2, 15));
    store.insert(Key([2; 32]), object(b"two"));
    assert_eq!(store.bytes(), 7);
    let reader = store.find(&Key([1; 32])).unwrap();
    store.remove(&Key([1; 32]));
    store.remove(&Key([9; 32]));
    assert_eq!((store.bytes(), store.len()), (3, 1));
    assert_eq!(**reader.bytes, *b"four");
}

#[test]
fn bytes_that_changed_on_the_way_are_refused() {
    let whole = object(b"payload");
    assert!(Object::verified(whole.meta, b"payload".to_vec()).is_some());
    assert!(Object::verified(whole.meta, b"paYload".to_vec()).is_none());
    assert!(Object::verified(whole.meta, b"payloa".to_vec()).is_none());
}
