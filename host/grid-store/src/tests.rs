mod disk;
mod operations;
mod ranges;
mod spill;

use std::sync::{Arc, Barrier};
use std::thread;

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
fn several_that_share_an_object_at_the_same_time_get_one_copy() {
    let store = Store::default();
    for number in 0..20 {
        store.insert(key(number), object(&vec![1; 1 << 20], &store));
        let together = Barrier::new(4);
        let shared: Vec<_> = thread::scope(|scope| {
            let share = || {
                together.wait();
                store.share(&key(number)).unwrap().unwrap()
            };
            let sharing: Vec<_> = (0..4).map(|_| scope.spawn(share)).collect();
            sharing.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let kept = store.find(&key(number)).unwrap();
        assert!(shared.iter().all(|one| Arc::ptr_eq(&one.bytes, &kept.bytes)));
    }
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
