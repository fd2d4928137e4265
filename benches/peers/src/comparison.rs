//! Columns, interleaved round by round.

use crate::meter::{Budget, Meter};
use crate::peer::columns;
use crate::workload::{Column, Workload};
use std::time::{Duration, Instant};

pub struct Options {
    /// How often each column is measured, [`Workload::repeats`] times; the median counts.
    pub rounds: usize,
    /// How long each time, at least.
    pub time: Duration,
    /// More members than these are left out.
    pub most_members: usize,
    /// Only this workload.
    pub only: Option<Workload>,
}

impl Options {
    pub fn thorough() -> Self {
        Self { rounds: 7, time: Duration::from_millis(6), most_members: usize::MAX, only: None }
    }

    /// Shows that all works, and hardly anything more.
    pub fn quick() -> Self {
        Self { rounds: 1, time: Duration::from_micros(500), most_members: 1_000, only: None }
    }
}

/// All columns put to one workload.
pub struct Comparison {
    pub workload: Workload,
    /// The columns that took part.
    pub names: Vec<&'static str>,
    pub ours: Vec<bool>,
    /// One for each number of members.
    pub sizes: Vec<Size>,
}

pub struct Size {
    pub members: usize,
    /// Of each column, in nanoseconds per item, sorted; none if it was too slow to be waited for.
    pub samples: Vec<Vec<f64>>,
}

impl Size {
    /// The median of a column.
    pub fn median(&self, column: usize) -> Option<f64> {
        let samples = &self.samples[column];
        samples.get(samples.len() / 2).copied()
    }
}

/// How long a sample is for each member, at least: so that all of them have their turns, not only those that are
/// still in the processor's caches from the filling of the set.
const TIME_PER_MEMBER: Duration = Duration::from_micros(1);

/// A column whose sample takes longer than this, most of it for making the set, is not measured again with
/// as many members.
const SLOW: Duration = Duration::from_secs(1);

/// Runs the whole comparison; `report` is called with each workload when it is done.
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
            // Each round begins with another column: none is always the one after a certain other.
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

/// Nanoseconds per item, once.
fn sample(workload: Workload, members: usize, column: &Column, time: Duration) -> f64 {
    let mut meter = Meter::new(Budget::Time(time));
    column.run(workload, members, &mut meter);
    meter.ns_per_round() / workload.items_per_round(members) as f64
}
