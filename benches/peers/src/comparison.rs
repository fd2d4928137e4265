//! Measures all columns, interleaved round by round.

use crate::meter::{Budget, Meter};
use crate::peer::columns;
use crate::workload::{Column, Workload};
use std::time::{Duration, Instant};

pub struct Options {
    /// Each column is measured this many times [`Workload::repeats`]. The median counts.
    pub rounds: usize,
    /// The minimum duration of one measurement.
    pub time: Duration,
    /// The largest number of members to measure.
    pub most_members: usize,
    /// If set, the only workload to measure.
    pub only: Option<Workload>,
}

impl Options {
    pub fn thorough() -> Self {
        Self { rounds: 7, time: Duration::from_millis(6), most_members: usize::MAX, only: None }
    }

    /// Checks that everything works; the figures mean little.
    pub fn quick() -> Self {
        Self { rounds: 1, time: Duration::from_micros(500), most_members: 1_000, only: None }
    }
}

/// The results of all columns for one workload.
pub struct Comparison {
    pub workload: Workload,
    /// The names of the measured columns.
    pub names: Vec<&'static str>,
    pub ours: Vec<bool>,
    /// One entry for each number of members.
    pub sizes: Vec<Size>,
}

pub struct Size {
    pub members: usize,
    /// The samples of each column in nanoseconds per item, sorted. Empty if the column was too slow.
    pub samples: Vec<Vec<f64>>,
}

impl Size {
    /// The median of a column.
    pub fn median(&self, column: usize) -> Option<f64> {
        let samples = &self.samples[column];
        samples.get(samples.len() / 2).copied()
    }
}

/// The minimum duration of a sample per member. With it, all members have turns, and not only those that are still in the
/// processor's caches after the set was filled.
const TIME_PER_MEMBER: Duration = Duration::from_micros(1);

/// If a sample of a column takes longer than this, mostly to create the set, the column is not measured again with as
/// many members.
const SLOW: Duration = Duration::from_secs(1);

/// Runs the whole comparison. Calls `report` after each workload.
pub fn compare(options: &Options, mut report: impl FnMut(&Comparison)) -> Vec<Comparison> {
    let columns = columns();
    let mut comparisons = Vec::new();
    for workload in Workload::ALL {
        if options.only.is_none_or(|only| only == workload) {
            let comparison = compare_in(workload, &columns, options);
            report(&comparison);
            comparisons.push(comparison);
        }
    }
    comparisons
}

fn compare_in(workload: Workload, columns: &[Column], options: &Options) -> Comparison {
    let columns: Vec<&Column> = columns.iter().filter(|column| column.supports(workload)).collect();
    let sizes = workload.sizes().iter().filter(|&&members| members <= options.most_members);
    Comparison {
        workload,
        names: columns.iter().map(|column| column.name).collect(),
        ours: columns.iter().map(|column| column.is_ours).collect(),
        sizes: sizes.map(|&members| compare_at(workload, members, &columns, options)).collect(),
    }
}

fn compare_at(workload: Workload, members: usize, columns: &[&Column], options: &Options) -> Size {
    eprintln!("{} {members}", workload.name());
    let mut samples = vec![Vec::new(); columns.len()];
    let mut slow = vec![false; columns.len()];
    let per_member = TIME_PER_MEMBER * u32::try_from(members).expect("some 100,000 members at most");
    for round in 0..options.rounds * workload.repeats() {
        for turn in 0..columns.len() {
            // Each round begins with another column.
            let at = (turn + round) % columns.len();
            if slow[at] {
                continue;
            }
            let start = Instant::now();
            samples[at].push(sample(workload, members, columns[at], options.time.max(per_member)));
            slow[at] = start.elapsed() > SLOW;
        }
    }
    for samples in &mut samples {
        samples.sort_by(f64::total_cmp);
    }
    Size { members, samples }
}

/// Measures nanoseconds per item once.
fn sample(workload: Workload, members: usize, column: &Column, time: Duration) -> f64 {
    let mut meter = Meter::new(Budget::Time(time));
    column.run(workload, members, &mut meter);
    meter.ns_per_round() / workload.items_per_round(members) as f64
}
