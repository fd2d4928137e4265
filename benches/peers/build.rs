//! Notes the compiler's version, for the head of the tables.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").expect("set by cargo");
    let version = Command::new(rustc).arg("--version").output().expect("it compiles this very file").stdout;
    println!("cargo::rustc-env=RUSTC_VERSION={}", String::from_utf8_lossy(&version).trim());
    println!("cargo::rerun-if-changed=build.rs");
}
