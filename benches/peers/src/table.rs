//! The comparison as text.

use crate::comparison::{Comparison, Size};
pub use crate::text::{aligned, thousands, three_digits};
use std::fmt::Write;

/// A Markdown table to read: one line for each column, and the ratios of our columns to the best peer (`*`).
pub fn markdown(comparison: &Comparison) -> String {
    let mut rows = vec![heading(comparison)];
    for (column, name) in comparison.names.iter().enumerate() {
        let mut row = vec![(*name).to_owned()];
        row.extend(comparison.sizes.iter().map(|size| cell(comparison, size, column)));
        rows.push(row);
    }
    for (column, name) in comparison.names.iter().enumerate().filter(|&(column, _)| comparison.ours[column]) {
        let mut row = vec![format!("{name} / best peer")];
        row.extend(comparison.sizes.iter().map(|size| ratio_to_best(comparison, size, column)));
        rows.push(row);
    }
    let workload = comparison.workload;
    format!("## {}\n\n{}, in ns\n\n{}", workload.name(), workload.description(), aligned(&rows))
}

fn heading(comparison: &Comparison) -> Vec<String> {
    let sizes = comparison.sizes.iter().map(|size| thousands(size.members));
    std::iter::once("N".to_owned()).chain(sizes).collect()
}

fn cell(comparison: &Comparison, size: &Size, column: usize) -> String {
    let mark = if best_peer(comparison, size) == Some(column) { "*" } else { "" };
    match size.median(column) {
        Some(ns) => format!("{mark}{}", three_digits(ns)),
        None => "-".to_owned(),
    }
}

fn ratio_to_best(comparison: &Comparison, size: &Size, column: usize) -> String {
    let best = best_peer(comparison, size).and_then(|best| size.median(best));
    match (size.median(column), best) {
        (Some(ours), Some(best)) => format!("{:.2}", ours / best),
        _ => "-".to_owned(),
    }
}

/// The fastest column that is not ours.
fn best_peer(comparison: &Comparison, size: &Size) -> Option<usize> {
    let peers = (0..comparison.names.len()).filter(|&column| !comparison.ours[column]);
    peers
        .filter_map(|column| Some((column, size.median(column)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(column, _)| column)
}

/// A tab-separated table for programs: one line for each column, workload and number of members.
pub fn tsv(comparisons: &[Comparison]) -> String {
    let mut text = String::from("workload\tmembers\tcolumn\tmedian_ns\tmin_ns\tmax_ns\tsamples\n");
    for comparison in comparisons {
        for size in &comparison.sizes {
            for (column, name) in comparison.names.iter().enumerate() {
                let samples = &size.samples[column];
                let (Some(median), Some(min), Some(max)) =
                    (size.median(column), samples.first(), samples.last())
                else {
                    continue;
                };
                let (workload, members) = (comparison.workload.name(), size.members);
                let count = samples.len();
                writeln!(text, "{workload}\t{members}\t{name}\t{median:.2}\t{min:.2}\t{max:.2}\t{count}")
                    .expect("a string takes it all");
            }
        }
    }
    text
}
