//! Allocations per item.

use crate::cases::{self, Case, Counted, SIZES};
use crate::{counter, run};

/// The table of all columns.
pub fn tables() -> String {
    let cases = Case::all(&SIZES, |_| true);
    let counts: Vec<String> = cases.iter().map(per_item).collect();
    format!("## Allocations per item\n\n{}", cases::tables(&cases, |at| counts[at].clone()))
}

fn per_item(case: &Case) -> String {
    let rounds = case.rounds();
    if rounds == 0 {
        return "-".to_owned();
    }
    let count = |rounds| {
        let before = counter::allocations();
        run(case, rounds);
        counter::allocations() - before
    };
    // A first run makes the allocations that a thread or a library makes only once.
    run(case, 1);
    let (once, twice) = (count(rounds), count(2 * rounds));
    format!("{:.2}", case.per_item(once, twice))
}
