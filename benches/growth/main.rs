//! What grows: the cost of single operations beside 1,000, 10,000, 100,000 and a million of whatever might make them
//! dearer, and what is kept in memory when those have gone.
//!
//! ```text
//! cargo bench --bench growth
//! cargo bench --bench growth -- --limit 20 waiting
//! ```
//!
//! prints one table, in some minutes. What would take longer than the limit (three seconds, unless said) is left out;
//! words choose the lines that contain them. Each figure is the least of some repetitions. The column before
//! the last says what ten times as many cost: 1 is constant, 10 linear. (What is kept jumps with the powers of two.)
//!
//! Nothing is asserted about time. What can be counted is asserted in `tests/growth.rs`.

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
            // Cargo's own.
            "--bench" => {}
            // Whether all works, as the other benchmarks understand it.
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
