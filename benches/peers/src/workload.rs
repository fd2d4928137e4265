//! The workloads, and the columns that they measure.
//!
//! Every workload first fills a set and lets all members park. It then performs as many rounds as its [`Meter`]
//! returns. Finally it checks that each pushed item has arrived once, from the member to which it was pushed.

use crate::member::{Large, Small};
use crate::meter::Meter;
use crate::peer::Peer;
pub use cross_thread::Channel;
use idle::Stage;

mod churn;
mod common;
mod cross_thread;
mod dense;
mod growth;
pub mod idle;
mod parked;
mod remove;
mod sparse;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Dense,
    DenseLarge,
    Sparse,
    SparseLarge,
    Parked,
    Burst,
    Churn,
    Remove,
    Growth,
    CrossThread,
    CrossThreadTokio,
}

impl Workload {
    pub const ALL: [Self; 11] = [
        Self::Dense,
        Self::DenseLarge,
        Self::Sparse,
        Self::SparseLarge,
        Self::Parked,
        Self::Burst,
        Self::Churn,
        Self::Remove,
        Self::Growth,
        Self::CrossThread,
        Self::CrossThreadTokio,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::DenseLarge => "dense-1k",
            Self::Sparse => "sparse",
            Self::SparseLarge => "sparse-1k",
            Self::Parked => "parked",
            Self::Burst => "burst",
            Self::Churn => "churn",
            Self::Remove => "remove",
            Self::Growth => "growth",
            Self::CrossThread => "cross-thread",
            Self::CrossThreadTokio => "cross-thread-tokio",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == name)
    }

    /// Describes the workload and its unit.
    pub fn description(self) -> &'static str {
        match self {
            Self::Dense => "all N members are always ready; per item",
            Self::DenseLarge => "all N members of 1 KiB are always ready; per item",
            Self::Sparse => "one of N members, at random, is woken and the set polled; per item",
            Self::SparseLarge => {
                "one of N members of 1 KiB, at random, is woken and the set polled; per item"
            }
            Self::Parked => {
                "as sparse, but the consumer sleeps before each item and is woken for it; per item"
            }
            Self::Burst => "a tenth of N members are woken while the consumer sleeps, and drained; per item",
            Self::Churn => {
                "beside N members that are idle one is inserted, gives one item and ends; per member"
            }
            Self::Remove => {
                "one of N members, at random, is removed by its key, another inserted, which parks; per pair"
            }
            Self::Growth => "a new set is filled with N members, which park, and dropped; per member",
            Self::CrossThread => "two threads send into N tokio channels, which are the members; per item",
            Self::CrossThreadTokio => {
                "as cross-thread, the consumer in a tokio runtime (with its cooperative budget); per item"
            }
        }
    }

    /// The numbers of members with which it is measured.
    pub fn sizes(self) -> &'static [usize] {
        match self {
            Self::Dense | Self::Sparse | Self::Parked | Self::Churn | Self::Remove => {
                &[1, 10, 100, 1_000, 10_000, 100_000]
            }
            Self::Burst | Self::Growth => &[10, 100, 1_000, 10_000, 100_000],
            Self::DenseLarge | Self::SparseLarge => &[1, 10, 100, 1_000, 10_000],
            Self::CrossThread | Self::CrossThreadTokio => &[100, 1_000],
        }
    }

    /// The number of items in one round of the [`Meter`].
    pub fn items_per_round(self, members: usize) -> usize {
        match self {
            Self::Burst => parked::burst_of(members),
            Self::Growth => members,
            Self::CrossThread | Self::CrossThreadTokio => cross_thread::ITEMS,
            _ => 1,
        }
    }

    /// How many times as often as other workloads it is measured. With several threads, the scheduler decides whether
    /// they really run in parallel: the same column takes 30 ns if the consumer runs after the producers, and 100 ns if
    /// it keeps up with them and cache lines move between the processors.
    pub fn repeats(self) -> usize {
        if self.is_single_threaded() { 1 } else { 5 }
    }

    /// Whether each run executes the same instructions.
    pub fn is_single_threaded(self) -> bool {
        !matches!(self, Self::CrossThread | Self::CrossThreadTokio)
    }
}

/// A peer, ready to be measured.
pub struct Column {
    pub name: &'static str,
    pub is_ours: bool,
    /// See [`Peer::SCANS_ALL`].
    pub scans_all: bool,
    can_grow: bool,
    can_remove: bool,
    run: fn(Workload, usize, &mut Meter),
    idle: fn(bool, usize, &mut dyn FnMut(Stage)),
}

impl Column {
    /// Creates a column of one peer, which is given with each kind of member that the workloads need.
    pub fn new<S, L, C>() -> Self
    where
        S: Peer<Small>,
        L: Peer<Large>,
        C: Peer<Channel>,
    {
        Self {
            name: S::NAME,
            is_ours: S::IS_OURS,
            scans_all: S::SCANS_ALL,
            can_grow: S::CAN_GROW,
            can_remove: S::CAN_REMOVE,
            run: run::<S, L, C>,
            idle: idle::<S, L>,
        }
    }

    pub fn supports(&self, workload: Workload) -> bool {
        match workload {
            Workload::Growth => self.can_grow,
            Workload::Remove => self.can_remove,
            _ => true,
        }
    }

    pub fn run(&self, workload: Workload, members: usize, meter: &mut Meter) {
        (self.run)(workload, members, meter);
    }

    /// Fills a set with idle members and calls `probe` at each [`Stage`].
    pub fn idle(&self, large: bool, members: usize, probe: &mut dyn FnMut(Stage)) {
        (self.idle)(large, members, probe);
    }
}

fn run<S, L, C>(workload: Workload, members: usize, meter: &mut Meter)
where
    S: Peer<Small>,
    L: Peer<Large>,
    C: Peer<Channel>,
{
    match workload {
        Workload::Dense => S::run(dense::dense::<S, _>(members, meter)),
        Workload::DenseLarge => L::run(dense::dense::<L, _>(members, meter)),
        Workload::Sparse => S::run(sparse::sparse::<S, _>(members, meter)),
        Workload::SparseLarge => L::run(sparse::sparse::<L, _>(members, meter)),
        Workload::Parked => S::run(parked::parked::<S>(members, 1, meter)),
        Workload::Burst => S::run(parked::parked::<S>(members, parked::burst_of(members), meter)),
        Workload::Churn => S::run(churn::churn::<S>(members, meter)),
        Workload::Remove => S::run(remove::remove::<S>(members, meter)),
        Workload::Growth => S::run(growth::growth::<S>(members, meter)),
        Workload::CrossThread => cross_thread::run::<C>(members, meter),
        Workload::CrossThreadTokio => cross_thread::run_on_tokio::<C>(members, meter),
    }
}

fn idle<S: Peer<Small>, L: Peer<Large>>(large: bool, members: usize, probe: &mut dyn FnMut(Stage)) {
    if large {
        L::run(idle::idle::<L, _>(members, probe));
    } else {
        S::run(idle::idle::<S, _>(members, probe));
    }
}
