//! Switches `src/sync.rs` to loom, for this package only.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom_models, shuttle_models)");
    println!("cargo::rustc-cfg=loom_models");
}
