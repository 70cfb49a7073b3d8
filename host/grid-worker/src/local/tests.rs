use super::*;

/// Room for four values of 44 bytes under keys of one letter a bundle (301 each), and for six in all.
fn bounds() -> LocalBounds {
    LocalBounds { value_bytes_max: 600, bundle_bytes_max: 1_204, worker_bytes_max: 1_806 }
}

fn bundle(number: u8) -> BundleHash {
    BundleHash([number; 32])
}

fn put(locals: &Locals, number: u8, key: &str) -> Option<LocalBytes> {
    locals.of(bundle(number)).put_if_absent(key, vec![number; 44]).unwrap()
}

/// The keys that a bundle has, of one letter each.
fn keys(locals: &Locals, number: u8) -> String {
    let shelves = locals.lock();
    let shelf = shelves.of.get(&bundle(number));
    shelf.map_or(String::new(), |shelf| shelf.values.keys().map(|key| &**key).collect())
}

/// What is counted is what is there.
fn check(locals: &Locals) {
    let shelves = locals.lock();
    let mut sums = (0, 0);
    for shelf in shelves.of.values() {
        assert!(!shelf.values.is_empty(), "no empty shelf is left");
        assert_eq!(shelf.values.len(), shelf.by_use.len());
        let bytes: u64 = shelf.values.iter().map(|(key, kept)| cost(key, &kept.bytes)).sum();
        assert_eq!(shelf.bytes, bytes);
        assert!(bytes <= locals.0.bounds.bundle_bytes_max);
        sums = (sums.0 + shelf.values.len() as u64, sums.1 + bytes);
    }
    assert!(sums.1 <= locals.0.bounds.worker_bytes_max);
    assert_eq!(sums, (shelves.values, shelves.bytes));
    assert_eq!(sums, locals.usage());
}

#[test]
fn a_value_stays_until_it_is_taken_and_the_first_one_counts() {
    let locals = Locals::new(bounds());
    let ours = locals.of(bundle(1));
    assert_eq!(ours.get("a"), None);
    assert_eq!(ours.put_if_absent("a", vec![1; 3]), Ok(None));
    assert_eq!(ours.put_if_absent("a", vec![2; 3]).unwrap().unwrap().as_slice(), [1; 3]);
    assert_eq!(ours.get("a").unwrap().as_slice(), [1; 3]);
    assert_eq!(locals.usage(), (1, 256 + 1 + 3));
    assert_eq!(ours.take("a").unwrap().as_slice(), [1; 3]);
    assert_eq!((ours.take("a"), ours.get("a"), locals.usage()), (None, None, (0, 0)));
    check(&locals);
}

#[test]
fn another_bundle_sees_nothing_of_it() {
    let locals = Locals::new(bounds());
    put(&locals, 1, "a");
    let others = locals.of(bundle(2));
    assert_eq!((others.get("a"), others.take("a")), (None, None));
    assert_eq!(put(&locals, 2, "a"), None);
    assert_eq!(locals.of(bundle(1)).get("a").unwrap().as_slice(), [1; 44]);
    assert_eq!(others.get("a").unwrap().as_slice(), [2; 44]);
    check(&locals);
}

#[test]
fn a_bundle_over_its_bound_loses_what_it_used_longest_ago() {
    let locals = Locals::new(bounds());
    put(&locals, 2, "z");
    for key in ["a", "b", "c", "d"] {
        put(&locals, 1, key);
    }
    locals.of(bundle(1)).get("a").unwrap();
    put(&locals, 1, "e");
    assert_eq!((keys(&locals, 1), keys(&locals, 2)), ("acde".to_owned(), "z".to_owned()));
    put(&locals, 1, "f");
    assert_eq!(keys(&locals, 1), "adef");
    check(&locals);
}

#[test]
fn when_all_are_over_the_bound_the_one_that_holds_most_loses() {
    let locals = Locals::new(bounds());
    for (number, key) in [(1, "a"), (1, "b"), (1, "c"), (1, "d"), (2, "k"), (2, "l")] {
        put(&locals, number, key);
    }
    put(&locals, 3, "x");
    assert_eq!([1, 2, 3].map(|number| keys(&locals, number)), ["bcd", "kl", "x"]);
    // The greedy one comes back and loses its own.
    put(&locals, 1, "e");
    assert_eq!([1, 2, 3].map(|number| keys(&locals, number)), ["cde", "kl", "x"]);
    check(&locals);
}

#[test]
fn what_is_too_large_is_refused_and_costs_nothing() {
    let locals = Locals::new(bounds());
    put(&locals, 1, "a");
    let ours = locals.of(bundle(1));
    let LocalError::OverLimit(message) = ours.put_if_absent("b", vec![0; 600]).unwrap_err();
    assert!(message.contains("600 bytes"), "{message}");
    let LocalError::OverLimit(message) = ours.put_if_absent(&"k".repeat(513), vec![]).unwrap_err();
    assert!(message.contains("a key of 513 bytes"), "{message}");
    assert_eq!(ours.put_if_absent("b", vec![0; 599]), Ok(None));
    assert_eq!(keys(&locals, 1), "ab");
    check(&locals);
}

#[test]
fn memory_that_is_needed_comes_from_the_largest_and_all_can_go() {
    let locals = Locals::new(bounds());
    for (number, key) in [(1, "a"), (1, "b"), (1, "c"), (2, "k"), (2, "l")] {
        put(&locals, number, key);
    }
    locals.evict(1);
    assert_eq!([1, 2].map(|number| keys(&locals, number)), ["bc", "kl"]);
    locals.evict(u64::MAX);
    assert_eq!(locals.usage(), (0, 0));
    check(&locals);
}

#[test]
fn a_million_keys_cost_their_own_bundle_and_nobody_else() {
    let bounds = LocalBounds::of_limit(64 << 20);
    assert_eq!((bounds.worker_bytes_max, bounds.bundle_bytes_max), (16 << 20, 8 << 20));
    let locals = Locals::new(bounds);
    put(&locals, 2, "k");
    let greedy = locals.of(bundle(1));
    for number in 0..1_000_000 {
        assert_eq!(greedy.put_if_absent(&number.to_string(), Vec::new()), Ok(None));
    }
    assert_eq!(keys(&locals, 2), "k");
    assert!(greedy.get("999999").is_some() && greedy.get("0").is_none());
    check(&locals);
    // A large value has many small ones go.
    assert_eq!(greedy.put_if_absent("large", vec![0; 7 << 20]), Ok(None));
    check(&locals);
}

#[test]
fn several_slots_use_it_at_once() {
    let locals = Locals::new(bounds());
    std::thread::scope(|scope| {
        for number in 1..=4 {
            let locals = locals.clone();
            scope.spawn(move || {
                let ours = locals.of(bundle(number));
                for round in 0..2_000_u32 {
                    let key = (round % 7).to_string();
                    if let Some(there) = put(&locals, number, &key) {
                        assert_eq!(there.as_slice(), [number; 44]);
                    }
                    if round % 3 == 0 {
                        ours.take(&key);
                    }
                    if round % 50 == 0 {
                        locals.evict(300);
                    }
                }
            });
        }
    });
    check(&locals);
}

#[test]
fn bounds_follow_the_worker_s_memory() {
    let ample = LocalBounds::of_limit(0);
    assert_eq!((ample.worker_bytes_max, ample.value_bytes_max), (512 << 20, 64 << 20));
    let small = LocalBounds::of_limit(40 << 20);
    assert_eq!((small.worker_bytes_max, small.bundle_bytes_max), (10 << 20, 5 << 20));
    assert_eq!(small.value_bytes_max, (5 << 20) - OVERHEAD_BYTES);
    let none = LocalBounds::of_limit(100);
    assert_eq!(none.value_bytes_max, 0);
}
