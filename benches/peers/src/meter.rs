//! How long a workload goes on, and what it cost.

use std::time::{Duration, Instant};

/// When to stop.
#[derive(Clone, Copy)]
pub enum Budget {
    /// After this time.
    Time(Duration),
    /// After this many rounds, in which the clock plays no part.
    Rounds(u64),
}

/// Asked by a workload how many rounds to do; times them.
pub struct Meter {
    budget: Budget,
    start: Option<Instant>,
    elapsed: Duration,
    rounds: u64,
}

impl Meter {
    pub fn new(budget: Budget) -> Self {
        Self { budget, start: None, elapsed: Duration::ZERO, rounds: 0 }
    }

    /// How many rounds to do before asking again; `None` when it is enough. The time from the first call to
    /// the one that returns `None` is what is measured.
    pub fn next_rounds(&mut self) -> Option<u64> {
        let start = *self.start.get_or_insert_with(Instant::now);
        self.elapsed = start.elapsed();
        let enough = match self.budget {
            Budget::Time(time) => self.elapsed >= time,
            Budget::Rounds(rounds) => self.rounds >= rounds,
        };
        if enough {
            return None;
        }
        let next = match self.budget {
            // As many as were done: reading the clock then costs nothing to speak of.
            Budget::Time(_) => self.rounds.max(1),
            Budget::Rounds(rounds) => rounds,
        };
        self.rounds += next;
        Some(next)
    }

    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Nanoseconds for each round.
    pub fn ns_per_round(&self) -> f64 {
        self.elapsed.as_nanos() as f64 / self.rounds as f64
    }
}
