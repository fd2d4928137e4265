//! The results as text.

use crate::callgrind::Event;
use crate::comparison::{Options, Samples, Size};
use crate::text::{aligned, thousands, three_digits};
use crate::workload::Workload;

/// A Markdown table: a line for each workload and number of connections, and a column for each server, with its ratio to the
/// first one.
pub fn markdown(options: &Options, sizes: &[Size], ranges: bool) -> String {
    let titles = options.kinds.iter().map(|kind| kind.title().to_owned());
    let mut rows = vec![["", "connections"].map(String::from).into_iter().chain(titles).collect::<Vec<_>>()];
    let unit = options.counted.map_or("µs", Event::unit);
    for (at, workload) in Workload::ALL.into_iter().enumerate() {
        let title = format!("{}: {unit} per message", workload.title());
        rows.extend(sizes.iter().map(|size| row(&title, size, &size.costs[at], ranges)));
    }
    for size in sizes {
        let row = |memory: &Vec<_>| row("memory: KiB per idle connection", size, memory, ranges);
        rows.extend(size.memory.as_ref().map(row));
    }
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
