//! Measurements without a clock: instructions and allocations per item, memory per member. See the usage below.

mod allocations;
mod callgrind;
mod cases;
mod counter;
mod expected;
mod memory;
mod sending;

use cases::Case;
use peers::meter::{Budget, Meter};
use sending::Sending;
use std::process::ExitCode;

const USAGE: &str = "\
  (nothing)    instructions and allocations per item, and memory per member, of all columns
  --check      compares our instructions per item with the expected ones; fails if any rose by more than 3 %
  --update     writes the expected ones anew
  --memory     memory per member alone
  --run COLUMN WORKLOAD MEMBERS ROUNDS    one case, to be run under a profiler
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => {
            print!("{}", callgrind::tables());
            print!("{}", allocations::tables());
            print!("{}", memory::tables());
        }
        ["--check"] => return expected::check(),
        ["--update"] => expected::update(),
        ["--memory"] => print!("{}", memory::tables()),
        ["--run", column, workload, members, rounds] => {
            let rounds = rounds.parse().expect("a number of rounds");
            if let Some(sending) = Sending::parse(column, workload, members) {
                sending.run(rounds);
            } else if let Some(case) = Case::parse(column, workload, members) {
                run(&case, rounds);
            } else {
                return usage();
            }
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::FAILURE
}

/// Runs one case without reading the clock.
fn run(case: &Case, rounds: u64) {
    case.column.run(case.workload, case.members, &mut Meter::new(Budget::Rounds(rounds)));
}
