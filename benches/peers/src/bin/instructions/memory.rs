//! Memory per member.

use crate::counter;
use peers::member::{Large, Small};
use peers::peer::columns;
use peers::table::{aligned, thousands, three_digits};
use peers::workload::Column;
use peers::workload::idle::{Stage, TURNOVER};

/// A vector that doubles is full at the second, and has a third to spare at the third.
const SIZES: [usize; 3] = [1_000, 65_000, 100_000];

/// Of all columns.
pub fn tables() -> String {
    let mut text = String::from("## Memory\n\n");
    for (large, kind, own) in [(false, "small", size_of::<Small>()), (true, "1 KiB", size_of::<Large>())] {
        for members in if large { &SIZES[..2] } else { &SIZES[..] } {
            text.push_str(&format!(
                "### {} idle members ({kind}), and {} others that came and went\n\n",
                thousands(*members),
                thousands(TURNOVER)
            ));
            let heading = [
                "",
                "bytes per member beyond the stream",
                "allocations per member",
                "bytes kept per come and gone",
            ];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(columns().iter().map(|column| row(column, large, *members, own)));
            text.push_str(&aligned(&rows));
            text.push('\n');
        }
    }
    text
}

fn row(column: &Column, large: bool, members: usize, own: usize) -> Vec<String> {
    // What a thread or a library allocates once, it does before.
    column.idle(large, 10, &mut |_| ());
    let mut counts = Vec::with_capacity(4);
    column.idle(large, members, &mut |stage| counts.push((stage, counter::bytes(), counter::allocations())));
    let [
        (Stage::Before, empty, none),
        (Stage::Full, full, made),
        (Stage::Warm, before, _),
        (Stage::TurnedOver, after, _),
    ] = counts[..]
    else {
        unreachable!("the stages in their order")
    };
    let per_member = |change: f64| change / members as f64;
    vec![
        column.name.to_owned(),
        three_digits(per_member((full - empty) as f64) - own as f64),
        format!("{:.2}", per_member((made - none) as f64)),
        format!("{:.2}", (after - before) as f64 / TURNOVER as f64),
    ]
}
