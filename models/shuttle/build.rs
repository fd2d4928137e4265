//! Switches `src/sync.rs` to shuttle, for this package only.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom_models, shuttle_models)");
    println!("cargo::rustc-cfg=shuttle_models");
}
