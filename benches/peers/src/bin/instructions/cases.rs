//! The cases that are counted.

use peers::peer;
use peers::text::{aligned, thousands};
use peers::workload::{Column, Workload};

/// The workloads whose counts depend neither on chance nor on the size of a member.
pub const WORKLOADS: [Workload; 7] = [
    Workload::Dense,
    Workload::Sparse,
    Workload::Parked,
    Workload::Burst,
    Workload::Churn,
    Workload::Remove,
    Workload::Growth,
];

pub const SIZES: [usize; 4] = [1, 100, 10_000, 100_000];

/// The number of items to count, unless they are costly.
const ENOUGH: usize = 5_000;

/// The columns that are counted for a workload, and the selects for some workloads.
fn columns(workload: Workload) -> Vec<Column> {
    let mut columns = peer::columns();
    columns.retain(|column| column.supports(workload));
    if matches!(workload, Workload::Dense | Workload::Sparse | Workload::Parked) {
        columns.extend(peer::selects());
    }
    columns
}

/// A case that can be counted: a number of rounds.
pub trait Counted {
    /// Column, workload and members.
    fn name(&self) -> [String; 3];
    /// How many rounds suffice for an average. 0 if even these would take too long.
    fn rounds(&self) -> u64;
    fn items_per_round(&self) -> usize;

    /// Computes the cost of one item from the costs of `rounds` rounds and of twice as many.
    fn per_item(&self, once: u64, twice: u64) -> f64 {
        let items = self.rounds() * self.items_per_round() as u64;
        (twice as f64 - once as f64) / items as f64
    }
}

/// One cell of one table.
pub struct Case {
    pub column: Column,
    pub workload: Workload,
    pub members: usize,
}

impl Case {
    pub fn parse(column: &str, workload: &str, members: &str) -> Option<Self> {
        let workload = Workload::named(workload)?;
        let column = columns(workload).into_iter().find(|candidate| candidate.name == column)?;
        Some(Self { column, workload, members: members.parse().ok()? })
    }

    /// All cases of these columns and sizes that the columns support.
    pub fn all(sizes: &[usize], wanted: impl Fn(&Column) -> bool) -> Vec<Self> {
        let mut cases = Vec::new();
        for workload in WORKLOADS {
            for &members in sizes {
                let supported = columns(workload).into_iter().filter(|column| wanted(column));
                cases.extend(supported.map(|column| Self { column, workload, members }));
            }
        }
        cases
    }
}

impl Counted for Case {
    fn name(&self) -> [String; 3] {
        [self.column.name.to_owned(), self.workload.name().to_owned(), self.members.to_string()]
    }

    fn rounds(&self) -> u64 {
        let items = match self.workload {
            Workload::Dense => ENOUGH,
            // The time to fill this set is quadratic in the number of members.
            Workload::Growth if self.column.scans_all && self.members > 10_000 => return 0,
            // The creation of an empty set may take long.
            Workload::Growth => (20 * self.members).min(ENOUGH),
            _ if self.column.scans_all => (1_000_000 / self.members).clamp(20, ENOUGH),
            _ => ENOUGH,
        };
        items.div_ceil(self.items_per_round()) as u64
    }

    fn items_per_round(&self) -> usize {
        self.workload.items_per_round(self.members)
    }
}

/// One table for each workload. It has a line for each column, with the `number` of each case.
pub fn tables(cases: &[Case], number: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for workload in WORKLOADS {
        let of_workload: Vec<usize> = (0..cases.len()).filter(|&at| cases[at].workload == workload).collect();
        let mut rows = vec![std::iter::once("N".to_owned()).chain(SIZES.map(thousands)).collect::<Vec<_>>()];
        for column in columns(workload) {
            let mut row = vec![column.name.to_owned()];
            let of_column = of_workload.iter().filter(|&&at| cases[at].column.name == column.name);
            row.extend(of_column.map(|&at| number(at)));
            rows.push(row);
        }
        text.push_str(&format!(
            "### {}: {}\n\n{}\n",
            workload.name(),
            workload.description(),
            aligned(&rows)
        ));
    }
    text
}
