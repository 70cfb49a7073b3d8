use std::cell::Cell;
use std::panic::catch_unwind;

use super::*;
use crate::Raw;

#[test]
fn what_was_made_once_is_there_for_the_next() {
    let made = Cell::new(0);
    let squares = || {
        worker_local("squares", || {
            made.set(made.get() + 1);
            (0..5).map(|n| n * n).collect::<Vec<u32>>()
        })
    };
    assert_eq!((squares(), squares()), (vec![0, 1, 4, 9, 16], vec![0, 1, 4, 9, 16]));
    assert_eq!(made.get(), 1);
    assert!(take("squares").is_some());
    squares();
    assert_eq!(made.get(), 2);
}

#[test]
fn raw_bytes_stay_what_they_are() {
    let raw = || worker_local("raw", || Raw(vec![0, 159, 0]));
    assert_eq!((raw(), raw()), (Raw(vec![0, 159, 0]), Raw(vec![0, 159, 0])));
    assert_eq!(get("raw").unwrap(), [0, 159, 0, 1]);
}

#[test]
fn the_first_value_counts() {
    assert_eq!(put_if_absent("first", vec![1]), Ok(None));
    assert_eq!(put_if_absent("first", vec![2]), Ok(Some(vec![1])));
    assert_eq!((get("first"), take("first"), get("first")), (Some(vec![1]), Some(vec![1]), None));
}

#[test]
fn a_value_that_somebody_put_meanwhile_is_everybodys() {
    let ours = worker_local("meanwhile", || {
        put_if_absent("meanwhile", pack(&7_u8.into_value().unwrap())).unwrap();
        9_u8
    });
    assert_eq!(ours, 7);
}

#[test]
fn a_value_of_another_type_is_made_anew() {
    assert_eq!(worker_local("type", || "text".to_owned()), "text");
    assert_eq!(worker_local("type", || 5_u64), 5);
    assert_eq!(worker_local("type", || 6_u64), 5);
}

#[test]
fn what_is_too_large_is_made_each_time() {
    let key = "k".repeat(513);
    assert_eq!([worker_local(&key, || 1_u8), worker_local(&key, || 2)], [1, 2]);
    let Err(Error::OverLimit(message)) = put_if_absent(&key, Vec::new()) else { panic!("kept") };
    assert!(message.contains("a key of 513 bytes"), "{message}");
}

#[test]
fn a_panic_of_what_makes_it_leaves_nothing() {
    let broken = || worker_local("broken", || -> u8 { panic!("not today") });
    assert!(catch_unwind(broken).is_err());
    assert_eq!(worker_local("broken", || 3_u8), 3);
}
