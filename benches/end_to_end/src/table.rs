//! The comparison as text.

use crate::comparison::{Options, Samples, Size};
use crate::text::{aligned, thousands, three_digits};

/// A table for people (Markdown): a line for each workload and number of connections, a column for each server, with its
/// ratio to the first one, ours.
pub fn markdown(options: &Options, sizes: &[Size], ranges: bool) -> String {
    let titles = options.kinds.iter().map(|kind| kind.title().to_owned());
    let mut rows = vec![["", "connections"].map(String::from).into_iter().chain(titles).collect::<Vec<_>>()];
    for (at, workload) in options.workloads.iter().enumerate() {
        let title = format!("{}: µs per message", workload.title());
        rows.extend(sizes.iter().map(|size| row(&title, size, &size.costs[at], ranges)));
    }
    let title = "memory: KiB per idle connection";
    rows.extend(sizes.iter().map(|size| row(title, size, &size.memory, ranges)));
    aligned(&rows)
}

fn row(title: &str, size: &Size, samples: &[Samples], ranges: bool) -> Vec<String> {
    let ours = samples[0].median();
    let cells = samples.iter().enumerate().map(|(at, samples)| {
        let mut cell = three_digits(samples.median());
        if at > 0 {
            cell += &format!(" ({:.2})", samples.median() / ours);
        }
        if ranges {
            let (least, greatest) = samples.range();
            cell += &format!(" {}..{}", three_digits(least), three_digits(greatest));
        }
        cell
    });
    [title.to_owned(), thousands(size.connections)].into_iter().chain(cells).collect()
}
