//! Tasks as functions, as calls, and as the host runs them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::export::{Bundle, Entry, Failure, UserError, names_differ};
use crate::{ArgNode, Call, Codec, FromValue, IntoArg, IntoValue, Raw, Task, Value, task};

/// Adds two numbers,
/// one to the other.
///
/// Nobody reads this.
#[task]
fn add(a: i64, mut b: i64) -> i64 {
    b += a;
    b
}

#[task(
    memory = "64MiB",
    timeout = "5s",
    retries = 2,
    pure = false,
    reads = ["/in", "s3://bucket/in/", "file://"],
    writes = ["/out", "/log"]
)]
fn tuned(names: Vec<Option<String>>, table: BTreeMap<String, (u8, f64)>) -> Result<(), String> {
    if names.len() == table.len() { Ok(()) } else { Err("their lengths differ".to_owned()) }
}

#[task]
fn nothing() {}

#[task]
fn join(left: Raw, right: Raw) -> Raw {
    Raw([left.0, right.0].concat())
}

#[task]
fn through(value: Value) -> Value {
    value
}

#[task]
fn r#match(r#type: String) -> String {
    r#type
}

/// Names that the macro's own code might use.
#[task]
fn arguments(output: i64, error: i64, argument_0: i64) -> i64 {
    output + error + argument_0
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Point {
    x: f64,
    label: Option<String>,
}

#[task]
fn shift(point: Point, by: f64) -> Point {
    Point { x: point.x + by, ..point }
}

fn value<T: IntoValue>(value: T) -> Value {
    value.into_value().unwrap()
}

fn ran<T: Task>(arguments: Vec<Value>) -> Result<Value, Failure> {
    T::run(arguments)
}

fn encoded(call: &Call<i64>, index: usize) -> i64 {
    match &call.node().args[index] {
        ArgNode::Value { codec, bytes } => {
            i64::from_value(Value { codec: *codec, bytes: bytes.clone() }).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn functions_stay_functions() {
    assert_eq!(add(1, 2), 3);
    assert_eq!(r#match("a".to_owned()), "a");
    nothing();
    assert_eq!(arguments(1, 2, 3), 6);
}

#[test]
fn a_task_says_what_it_is() {
    let add = add::DESCRIPTION;
    assert_eq!((add.name, add.doc), ("add", "Adds two numbers, one to the other."));
    assert_eq!((add.output, add.pure, add.retries), ("i64", true, 0));
    assert_eq!((add.memory_bytes, add.timeout_ms), (None, None));
    let tuned = tuned::DESCRIPTION;
    let shapes: Vec<_> = tuned.parameters.iter().map(|it| (it.name, it.shape)).collect();
    let table = "BTreeMap<String,(u8,f64)>";
    assert_eq!(shapes, [("names", "Vec<Option<String>>"), ("table", table)]);
    assert_eq!((tuned.output, tuned.pure, tuned.retries), ("()", false, 2));
    assert_eq!((tuned.memory_bytes, tuned.timeout_ms), (Some(64 << 20), Some(5_000)));
    assert_eq!(tuned.reads, ["/in", "s3://bucket/in/", "file://"]);
    assert_eq!(tuned.writes, ["/out", "/log"]);
    assert_eq!(tuned.doc, "");
    assert_eq!(r#match::DESCRIPTION.name, "match");
    assert_eq!(r#match::DESCRIPTION.parameters[0].name, "type");
}

#[test]
fn calls_nest_and_share() {
    let three = add::call(1, 2);
    let sum = add::call(&three, &three);
    let node = sum.node();
    assert_eq!((node.bundle, node.task, node.pure), ("grid-sdk", "add", true));
    let [ArgNode::Call(left), ArgNode::Call(right)] = &node.args[..] else { panic!("{node:?}") };
    assert!(Arc::ptr_eq(left, right), "a shared call became two");
    assert!(Arc::ptr_eq(left, three.node()));
    assert_eq!((encoded(&three, 0), encoded(&three, 1)), (1, 2));
    assert!(!tuned::call(vec![None], BTreeMap::new()).node().pure);
}

#[test]
fn options_change_one_call_and_no_clone_of_it() {
    let plain = add::call(1, 2);
    let tuned = plain
        .clone()
        .priority(3)
        .retries(4)
        .timeout(Duration::from_secs(5))
        .memory_bytes(6)
        .impure();
    assert_eq!(plain.node().options, crate::CallOptions::default());
    assert!(plain.node().pure && !tuned.node().pure);
    let options = &tuned.node().options;
    assert_eq!((options.priority, options.retries), (3, Some(4)));
    assert_eq!((options.timeout, options.memory_bytes), (Some(Duration::from_secs(5)), Some(6)));
}

/// As a client's future: an implementation of the trait for a type of another crate.
struct Future<T>([u8; 32], std::marker::PhantomData<T>);

impl<T> IntoArg<T> for &Future<T> {
    fn into_arg(self) -> ArgNode {
        ArgNode::Key(self.0)
    }
}

#[test]
fn arguments_come_in_many_forms() {
    let future = Future::<i64>([7; 32], std::marker::PhantomData);
    assert_eq!(add::call(&future, 1).node().args[0], ArgNode::Key([7; 32]));
    let text = ArgNode::Value { codec: Codec::Msgpack, bytes: b"\xa1a".to_vec() };
    assert_eq!(r#match::call("a").node().args[0], text);
    assert_eq!(r#match::call("a".to_owned()).node().args[0], text);
    let raw = ArgNode::Value { codec: Codec::Raw, bytes: vec![1] };
    let joined = join::call(vec![1], Raw(vec![1]));
    assert_eq!(joined.node().args, [raw.clone(), raw]);
    struct Never;
    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    assert_eq!(Never.into_arg(), ArgNode::Unencodable { message: "never".to_owned() });
}

#[test]
fn the_host_runs_them() {
    assert_eq!(ran::<add>(vec![value(1_i64), value(2_i64)]), Ok(value(3_i64)));
    assert_eq!(ran::<nothing>(Vec::new()), Ok(value(())));
    let raw = |bytes: &[u8]| value(Raw(bytes.to_vec()));
    assert_eq!(ran::<join>(vec![raw(b"a"), raw(b"b")]), Ok(raw(b"ab")));
    let arrow = Value { codec: Codec::Arrow, bytes: vec![1] };
    assert_eq!(ran::<through>(vec![arrow.clone()]), Ok(arrow));
    let point = Point { x: 1.0, label: None };
    let shifted = ran::<shift>(vec![value(point.clone()), value(2.0)]).unwrap();
    assert_eq!(shifted.bytes[0], 0x82, "structs are maps by field name");
    assert_eq!(Point::from_value(shifted), Ok(Point { x: 3.0, ..point }));
    assert_eq!(ran::<arguments>(vec![value(1), value(2), value(3)]), Ok(value(6)));
}

#[test]
fn raw_bytes_are_not_copied() {
    let bytes = vec![0_u8; 1024];
    let address = bytes.as_ptr();
    let through = ran::<through>(vec![value(Raw(bytes))]).unwrap();
    assert_eq!(through.bytes.as_ptr(), address);
    assert_eq!(Raw::from_value(through).unwrap().as_ptr(), address);
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    assert_eq!(ran::<add>(vec![value(1)]), Err(Failure::WrongArity(2)));
    let bad = |arguments| match ran::<add>(arguments) {
        Err(Failure::BadArgument { index, parameter, message }) => (index, parameter, message),
        other => panic!("{other:?}"),
    };
    let (index, parameter, message) = bad(vec![value(1), value("two")]);
    assert_eq!((index, parameter), (1, "b"));
    assert_eq!(message, "it holds a text where another type is due");
    let (index, parameter, message) = bad(vec![value(Raw(vec![1])), value(1)]);
    assert_eq!((index, parameter), (0, "a"));
    assert!(message.starts_with("it is raw bytes"), "{message}");
    let (.., message) = bad(vec![value(1), Value { codec: Codec::Msgpack, bytes: Vec::new() }]);
    assert_eq!(message, "it ends before the value is complete");
    let missing: BTreeMap<&str, f64> = BTreeMap::from([("y", 1.0)]);
    match ran::<shift>(vec![value(missing), value(1.0)]) {
        Err(Failure::BadArgument { message, .. }) => assert_eq!(message, "missing field `x`"),
        other => panic!("{other:?}"),
    }
    let wrong = ran::<join>(vec![value(1), value(Raw(vec![]))]);
    assert!(matches!(wrong, Err(Failure::BadArgument { index: 0, .. })), "{wrong:?}");
}

#[derive(Debug)]
struct Layer(&'static str, Option<Box<Layer>>);

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("shown")
    }
}

fn layers() -> Layer {
    Layer("top", Some(Box::new(Layer("middle", Some(Box::new(Layer("bottom", None)))))))
}

/// One task per kind of error.
mod errors {
    use super::{Error, Layer, Shown, layers, task};

    #[task]
    pub(super) fn error() -> Result<i64, Layer> {
        Err(layers())
    }

    #[task]
    pub(super) fn boxed() -> Result<i64, Box<dyn Error>> {
        Err(Box::new(layers()))
    }

    #[task]
    pub(super) fn boxed_send() -> Result<i64, Box<dyn Error + Send>> {
        Err(Box::new(layers()))
    }

    #[task]
    pub(super) fn boxed_sync() -> Result<i64, Box<dyn Error + Send + Sync>> {
        Err(layers())?
    }

    #[task]
    pub(super) fn context() -> anyhow::Result<i64> {
        Err(anyhow::Error::new(Layer("bottom", None)).context("middle").context("top"))
    }

    #[task]
    pub(super) fn text() -> Result<i64, String> {
        Err("top".to_owned())
    }

    #[task]
    pub(super) fn fixed() -> Result<i64, &'static str> {
        Err("top")
    }

    #[task]
    pub(super) fn shown() -> Result<i64, Shown> {
        Err(Shown)
    }

    #[task]
    pub(super) fn fine() -> Result<i64, Shown> {
        Ok(1)
    }
}

#[test]
fn errors_arrive_with_their_causes() {
    let user = |failure: Result<Value, Failure>| match failure {
        Err(Failure::User(UserError { message, causes })) => (message, causes),
        other => panic!("{other:?}"),
    };
    let chain = ("top".to_owned(), vec!["middle".to_owned(), "bottom".to_owned()]);
    assert_eq!(user(ran::<errors::error>(Vec::new())), chain);
    assert_eq!(user(ran::<errors::boxed>(Vec::new())), chain);
    assert_eq!(user(ran::<errors::boxed_send>(Vec::new())), chain);
    assert_eq!(user(ran::<errors::boxed_sync>(Vec::new())), chain);
    assert_eq!(user(ran::<errors::context>(Vec::new())), chain);
    assert_eq!(user(ran::<errors::text>(Vec::new())), ("top".to_owned(), Vec::new()));
    assert_eq!(user(ran::<errors::fixed>(Vec::new())), ("top".to_owned(), Vec::new()));
    assert_eq!(user(ran::<errors::shown>(Vec::new())), ("shown".to_owned(), Vec::new()));
    assert_eq!(ran::<errors::fine>(Vec::new()), Ok(value(1_i64)));
    // The type of a call is the type of `Ok`.
    let _: Call<i64> = add::call(errors::context::call(), errors::shown::call());
}

#[test]
fn a_bundle_is_a_list_of_tasks() {
    struct Listed;
    impl Bundle for Listed {
        const NAME: &'static str = "listed";
        const VERSION: &'static str = "1.0.0";
        const TASKS: &'static [Entry] = &[Entry::of::<add>(), Entry::of::<nothing>()];
    }
    assert!(names_differ(Listed::TASKS));
    assert!(!names_differ(&[Entry::of::<add>(), Entry::of::<nothing>(), Entry::of::<add>()]));
    let run = Listed::TASKS[0].run;
    assert_eq!(run(vec![value(2_i64), value(3_i64)]), Ok(value(5_i64)));
}

crate::bundle!(add, tuned, nothing, errors::error, r#match);

#[test]
fn the_native_twin_knows_itself() {
    let info = crate::context::current();
    assert_eq!((info.attempt, info.worker.as_str(), info.key.len()), (0, "native", 64));
    assert_eq!(crate::context::remaining(), Duration::MAX);
    crate::log::info(format_args!("{} lines go to standard error", 1));
}

mod nested {
    use std::cell::Cell;

    use crate::grid::{self, Error};
    use crate::{Call, CallNode, task};

    thread_local! {
        static RUNS: Cell<u32> = const { Cell::new(0) };
    }

    #[task]
    fn counted(number: i64) -> i64 {
        RUNS.set(RUNS.get() + 1);
        number + 1
    }

    #[task]
    fn sum(a: i64, b: i64) -> i64 {
        a + b
    }

    #[task]
    fn fails() -> Result<i64, String> {
        Err("on purpose".to_owned())
    }

    #[test]
    fn natively_calls_run_in_this_process_and_shared_ones_once() {
        let shared = counted::call(1);
        let sums = grid::map([sum::call(&shared, &shared), sum::call(&shared, 1)]).unwrap();
        assert_eq!(grid::gather(&sums).unwrap(), [4, 3]);
        assert_eq!(RUNS.get(), 1);
        // A handle is an argument.
        assert_eq!(grid::run(sum::call(&sums[0], &sums[1])).unwrap(), 7);
        assert_eq!(grid::wait_any(&sums).unwrap(), 0);
        assert!(grid::wait_any::<i64>([]).is_err());
    }

    #[test]
    fn natively_failures_are_values_too() {
        let failed = grid::run(sum::call(fails::call(), 1)).unwrap_err();
        let Error::Failed(failure) = &failed else { panic!("{failed:?}") };
        assert_eq!(
            (failure.kind.as_str(), failure.task.as_str()),
            ("user-error", "grid-sdk:fails")
        );
        assert_eq!(failed.to_string(), "`grid-sdk:fails` failed: user-error: on purpose");
        let gone = sum::call(&grid::submit(counted::call(1)).unwrap(), 1);
        assert!(matches!(grid::run(gone), Err(Error::Refused(_))));
        let node = CallNode { native: Default::default(), ..(**counted::call(1).node()).clone() };
        let by_name = Call::<i64>::from_node(node);
        assert!(matches!(grid::run(by_name), Err(Error::Unavailable(_))));
    }

    #[test]
    #[should_panic(expected = "on another worker")]
    fn natively_there_is_no_elsewhere() {
        grid::reschedule();
    }
}
