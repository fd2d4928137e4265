//! Compares our instructions per item with the expected ones.

use crate::callgrind::count;
use crate::cases::{Case, Counted};
use crate::sending::Sending;
use std::fmt::Write;
use std::fs;
use std::process::ExitCode;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.expected");

/// Few sizes, but enough to see costs that depend on the number of members.
const SIZES: [usize; 3] = [1, 100, 10_000];

/// The maximum ratio of a count to the expected count.
const TOLERANCE: f64 = 1.03;

/// Fails if a case takes more instructions than expected, or has no expected count.
pub fn check() -> ExitCode {
    let expected = fs::read_to_string(FILE).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    let mut code = ExitCode::SUCCESS;
    for (name, now) in counts() {
        let line = expected.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix('\t'));
        let verdict = match line.and_then(|number| number.trim().parse::<f64>().ok()) {
            None => "not expected: run --update",
            Some(then) if now > then * TOLERANCE => "MORE THAN EXPECTED",
            Some(then) if now * TOLERANCE < then => "less than expected: run --update",
            Some(_) => "as expected",
        };
        println!("{name}\t{now:.1}\t(expected {})\t{verdict}", line.unwrap_or("nothing"));
        if verdict.contains("MORE") || line.is_none() {
            code = ExitCode::FAILURE;
        }
    }
    code
}

pub fn update() {
    let mut text = format!("# Instructions per item; {}; written by --update\n", env!("RUSTC_VERSION"));
    for (name, now) in counts() {
        writeln!(text, "{name}\t{now:.1}").expect("a string takes it all");
    }
    fs::write(FILE, text).unwrap_or_else(|error| panic!("{FILE}: {error}"));
}

/// Our cases by name: column, workload and members.
fn counts() -> Vec<(String, f64)> {
    let mut counts = counts_of(&Case::all(&SIZES, |column| column.is_ours));
    counts.extend(counts_of(&Sending::all(&SIZES)));
    counts
}

fn counts_of<C: Counted + Sync>(cases: &[C]) -> Vec<(String, f64)> {
    let names = cases.iter().map(|case| case.name().join("\t"));
    names.zip(count(cases).into_iter().map(|count| count.expect("ours are quick"))).collect()
}
