mod disk;
mod operations;
mod ranges;
mod spill;

use grid_proto::{Codec, Key, Value};

use crate::{Gauge, Object, Store};

fn object(bytes: &[u8], store: &Store) -> Object {
    Object::new(Value { codec: Codec::Raw, bytes: bytes.to_vec() }, store.gauge())
}

fn key(number: u32) -> Key {
    Key(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

#[test]
fn counted_bytes_are_those_that_exist_whoever_has_them() {
    let store = Store::default();
    store.insert(key(1), object(b"four", &store));
    store.insert(key(2), object(b"eleven byte", &store));
    assert_eq!((store.usage().objects, store.usage().memory_bytes), (2, 15));
    store.insert(key(2), object(b"two", &store));
    assert_eq!(store.usage().memory_bytes, 7);
    let reader = store.find(&key(1)).unwrap();
    store.remove(&key(1));
    store.remove(&key(9));
    assert_eq!(store.usage().stored_bytes, 3);
    assert_eq!(store.usage().memory_bytes, 7, "somebody reads it");
    assert_eq!(**reader.bytes, *b"four");
    drop(reader);
    let reserved = store.gauge().reserve(100);
    assert_eq!(store.usage().memory_bytes, 103);
    drop(reserved);
    assert_eq!(store.usage().memory_bytes, 3);
}

#[test]
fn bytes_that_changed_on_the_way_are_refused() {
    let (store, gauge) = (Store::default(), Gauge::default());
    let whole = object(b"payload", &store);
    assert!(Object::verified(whole.meta, b"payload".to_vec(), &gauge).is_some());
    assert!(Object::verified(whole.meta, b"paYload".to_vec(), &gauge).is_none());
    assert!(Object::verified(whole.meta, b"payloa".to_vec(), &gauge).is_none());
    assert_eq!(gauge.bytes(), 0);
}
