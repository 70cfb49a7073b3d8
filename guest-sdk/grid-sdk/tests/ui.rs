//! What the compiler says of mistakes, one kind of mistake a file.
#![cfg(not(target_family = "wasm"))]

#[test]
fn mistakes_are_told_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
