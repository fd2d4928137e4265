//! Counts instructions by running this program under callgrind.

use crate::cases::{self, Case, Counted, SIZES};
use peers::text::three_digits;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Instructions per item of all columns.
pub fn tables() -> String {
    let cases = Case::all(&SIZES, |_| true);
    let counts = count(&cases);
    let tables = cases::tables(&cases, |at| counts[at].map_or("-".to_owned(), three_digits));
    format!("## Instructions per item\n\n{tables}")
}

/// Instructions per item of each case. `None` if the count would take too long.
pub fn count<C: Counted + Sync>(cases: &[C]) -> Vec<Option<f64>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut counted = Vec::new();
        loop {
            // Ordering: each number only has to be given out once.
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(at) else { return counted };
            counted.push((at, per_item(case)));
        }
    };
    let mut counts = vec![None; cases.len()];
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            for (at, count) in worker.join().expect("it counts or says why not") {
                counts[at] = count;
            }
        }
    });
    counts
}

/// The difference of two runs does not include the work before and after the rounds.
fn per_item(case: &impl Counted) -> Option<f64> {
    let (rounds, [column, workload, members]) = (case.rounds(), case.name());
    let instructions = |rounds: u64| instructions([&column, &workload, &members, &rounds.to_string()]);
    (rounds > 0).then(|| case.per_item(instructions(rounds), instructions(2 * rounds)))
}

fn instructions(case: [&str; 4]) -> u64 {
    eprintln!("{}", case.join(" "));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("it runs"))
        .arg("--run")
        .args(case)
        .output()
        .expect("valgrind is installed");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split("Collected : ").nth(1));
    match collected.and_then(|count| count.trim().parse().ok()) {
        Some(count) if output.status.success() => count,
        _ => panic!("callgrind failed:\n{report}"),
    }
}
