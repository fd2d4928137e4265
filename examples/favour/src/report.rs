//! The table of results.

use std::time::Duration;

/// The result of one server.
pub(crate) struct Row {
    pub(crate) name: String,
    /// How long the paying clients waited, shortest first.
    pub(crate) waits: Vec<Duration>,
    /// Lines of paying and of free clients, per second.
    pub(crate) lines: [f64; 2],
}

impl Row {
    /// Returns the wait that this share of all waits does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.waits.len() - 1;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and last"
        )]
        let at = (share * last as f64).round() as usize;
        self.waits[at]
    }
}

pub(crate) fn print(rows: &[Row]) {
    println!("| | p50 | p99 | max | paying, lines/s | free, lines/s |");
    println!("|---|--:|--:|--:|--:|--:|");
    for row in rows {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| micros(row.quantile(share)));
        let [paying, free] = row.lines.map(|lines| grouped(lines.round()));
        println!("| {} | {p50} µs | {p99} µs | {max} µs | {paying} | {free} |", row.name);
    }
}

fn micros(time: Duration) -> String {
    grouped((time.as_secs_f64() * 1e6).round())
}

/// Formats a whole number with commas.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
