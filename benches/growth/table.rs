//! Runs the cases and prints their figures.

use std::time::{Duration, Instant};

/// One line of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// The expected growth.
    pub(crate) should: &'static str,
    /// Returns the cost for this number. NaN if it could not be measured.
    pub(crate) measure: fn(usize) -> f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Polls,
    Bytes,
}

pub(crate) struct Options {
    /// How long one figure may take.
    pub(crate) limit: Duration,
    /// Selects the lines that contain one of these words. Selects all lines if empty.
    pub(crate) words: Vec<String>,
    /// Runs each case once, with small numbers.
    pub(crate) quick: bool,
}

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

pub(crate) fn print(cases: &[Case], options: &Options) {
    println!("| | 1,000 | 10,000 | 100,000 | 1,000,000 | tenfold | should be |");
    println!("|---|---:|---:|---:|---:|---:|---|");
    for Case { name, unit, should, measure } in cases {
        if !options.words.is_empty() && !options.words.iter().any(|word| name.contains(word)) {
            continue;
        }
        print!("| {name} |");
        let figures = figures(*measure, options);
        for size in 0..SIZES.len() {
            print!(" {} |", figures.get(size).map_or_else(|| "–".into(), |figure| unit.format(*figure)));
        }
        let growth = match figures[..] {
            [.., before, last] if before > 0.0 => format!("{:.1}", last / before),
            _ => "–".into(),
        };
        println!(" {growth} | {should} |");
    }
}

/// The largest number within the time limit.
fn figures(measure: fn(usize) -> f64, options: &Options) -> Vec<f64> {
    if options.quick {
        return vec![measure(100)];
    }
    let mut figures = Vec::new();
    let mut before = Duration::ZERO;
    for size in SIZES {
        let start = Instant::now();
        let mut least = measure(size);
        let once = start.elapsed();
        for _ in 1..5 {
            if start.elapsed() + once > options.limit {
                break;
            }
            least = least.min(measure(size));
        }
        figures.push(least);
        let growth = if before.is_zero() { 10.0 } else { once.div_duration_f64(before).max(10.0) };
        if once.mul_f64(growth) > options.limit {
            break;
        }
        before = once;
    }
    figures
}

impl Unit {
    fn format(self, figure: f64) -> String {
        match self {
            _ if figure.is_nan() => "–".into(),
            Self::Polls => format!("{figure:.1}"),
            Self::Bytes => format!("{figure:.1} B"),
            Self::Nanoseconds if figure < 1e4 => format!("{figure:.0} ns"),
            Self::Nanoseconds if figure < 1e7 => format!("{:.0} µs", figure / 1e3),
            Self::Nanoseconds => format!("{:.0} ms", figure / 1e6),
        }
    }
}

/// The time that `work` takes, in nanoseconds.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let result = work();
    let elapsed = start.elapsed();
    drop(result);
    elapsed.as_nanos() as f64
}
