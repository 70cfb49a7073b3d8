# Lays out a sysroot with a standard library for wasm32-wasip2 in a new directory.
# usage: bash debian.sh DIRECTORY RUSTUP_SYSROOT
# Lines on stdout that begin with "== " are told to the user.
set -euo pipefail
exec 3>&1 1>&2
remap() { echo "--remap-path-prefix=$1=/rustc/std"; }
step() { echo "== $*" >&3; }

DIR=$1
TARGET=wasm32-wasip2
SOURCES=/usr/lib/rustlib/src/rust
WASI=/usr/lib/wasm32-wasi
HOST=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
LINKERS=$2/lib/rustlib/$HOST/bin
for tool in rust-lld wasm-component-ld gcc-ld; do
  [ -e "$LINKERS/$tool" ] || { echo "there is no $LINKERS/$tool"; exit 1; }
done
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$DIR/bin" "$DIR/lib/rustlib/$HOST/bin"

# 1. Tools. A link to rustc would find its sysroot in /usr, hence wrappers. They find theirs by
# where they are, so that the directory may be renamed.
for tool in rustc rustdoc; do
  printf '#!/bin/sh\nexec /usr/bin/%s --sysroot "${0%%/bin/*}" "$@"\n' "$tool" >"$DIR/bin/$tool"
  chmod +x "$DIR/bin/$tool"
done
ln -s "/usr/lib/rustlib/$HOST/lib" "$DIR/lib/rustlib/$HOST/lib"
ln -s /usr/lib/rustlib/src /usr/lib/rustlib/etc "$DIR/lib/rustlib/"
for tool in rust-lld wasm-component-ld gcc-ld; do
  ln -s "$LINKERS/$tool" "$DIR/lib/rustlib/$HOST/bin/"
done

# 2. The standard library, once; its own dependencies come from the registry. Bundles repeat the
# paths of its sources, by whichever way the compiler came to them, so all of them get one name.
step "compiling the standard library"
mkdir "$WORK/src"
echo '#![no_std]' >"$WORK/src/lib.rs"
cat >"$WORK/Cargo.toml" <<'TOML'
[package]
name = "stdseed"
version = "0.0.0"
edition = "2024"
[profile.release]
opt-level = 3
codegen-units = 1
TOML
(
  cd "$WORK"
  RUSTC_BOOTSTRAP=1 RUSTC="$DIR/bin/rustc" CARGO_TARGET_DIR="$WORK/target" \
    RUSTFLAGS="-Cembed-bitcode=yes $(remap "$SOURCES") $(remap "$(realpath "$SOURCES")") \
      $(remap "$DIR/lib/rustlib/src/rust") \
      --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/registry" \
    /usr/bin/cargo build --release -Zbuild-std=std,panic_abort,proc_macro,test --target "$TARGET"
)

# 3. Functions of libc that the standard library names and Debian's libc lacks: sockets, which no
# sandbox has, and threads, which this target has not. They fail with ENOTSUP.
cat >"$WORK/stub.rs" <<'RUST'
#![no_std]
unsafe extern "C" { static mut errno: i32; }
fn no() -> i32 { unsafe { errno = 58 }; -1 }
macro_rules! stub { ($($n:ident ( $($a:ident),* ) = $r:expr;)*) => {
    $(#[unsafe(no_mangle)] pub extern "C" fn $n($($a: i32),*) -> i32 { $(let _ = $a;)* $r })*
} }
stub! {
    socket(a,b,c) = no(); bind(a,b,c) = no(); connect(a,b,c) = no(); listen(a,b) = no();
    getpeername(a,b,c) = no(); getsockname(a,b,c) = no(); setsockopt(a,b,c,d,e) = no();
    sendto(a,b,c,d,e,f) = no(); recvfrom(a,b,c,d,e,f) = no();
    chmod(a,b) = no(); fchmod(a,b) = no(); realpath(a,b) = { no(); 0 };
    getaddrinfo(a,b,c,d) = -4;
    gai_strerror(a) = c"no network in this sandbox".as_ptr() as i32;
    pthread_attr_init(a) = 0; pthread_attr_destroy(a) = 0; pthread_attr_setstacksize(a,b) = 0;
    pthread_create(a,b,c,d) = 58; pthread_join(a,b) = 58; pthread_detach(a) = 58;
}
#[unsafe(no_mangle)] pub extern "C" fn freeaddrinfo(_: i32) {}
RUST

# 4. Layout.
step "laying it out"
LIB=$DIR/lib/rustlib/$TARGET/lib
mkdir -p "$LIB/self-contained"
cp "$WORK/target/$TARGET/release/deps/"*.rlib "$LIB/"
rm -f "$LIB"/libstdseed-*
cp "$WASI"/{libc.a,crt1-command.o,crt1-reactor.o} "$LIB/self-contained/"
"$DIR/bin/rustc" --edition 2024 --crate-type rlib --target "$TARGET" -O -Cpanic=abort \
  -Ccodegen-units=1 --emit=obj "$WORK/stub.rs" -o "$WORK/stub.o"
llvm-ar q "$LIB/self-contained/libc.a" "$WORK/stub.o"
