//! Growth: the cost of single operations with 1,000, 10,000, 100,000 and a million members, channels, waiters or departures,
//! and the memory that stays when they have gone.
//!
//! ```text
//! cargo bench --bench growth
//! cargo bench --bench growth -- --limit 20 waiting
//! ```
//!
//! The program prints one table, in a few minutes. It skips measurements that would take longer than the limit (three
//! seconds by default). Words on the command line select the lines that contain them. Each figure is the minimum of
//! several repetitions. The column before the last shows the cost of ten times as many: 1 is constant, 10 is linear.
//! (Remaining memory jumps at powers of two.)
//!
//! The program asserts nothing about time. `tests/growth.rs` asserts everything that can be counted.

#[path = "../../tests/growth/bytes.rs"]
mod bytes;
mod memory;
mod others;
mod parts;
mod receiving;
mod sending;
mod table;
#[path = "../../tests/growth/tasks.rs"]
mod tasks;

use std::time::Duration;
use table::{Case, Options};

fn cases() -> Vec<Case> {
    [receiving::cases(), sending::cases(), others::cases(), memory::cases()].into_iter().flatten().collect()
}

fn main() {
    let mut options = Options { limit: Duration::from_secs(3), words: Vec::new(), quick: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // Passed by cargo.
            "--bench" => {}
            // Runs each case once, as other benchmarks do with this argument.
            "--test" => options.quick = true,
            "--limit" => {
                let seconds = args.next().and_then(|seconds| seconds.parse().ok()).expect("--limit SECONDS");
                options.limit = Duration::from_secs(seconds);
            }
            _ => options.words.push(arg),
        }
    }
    table::print(&cases(), &options);
}
