//! Decides how many rounds a workload performs, and measures their time.

use std::time::{Duration, Instant};

/// When a measurement ends.
#[derive(Clone, Copy)]
pub enum Budget {
    /// After this time.
    Time(Duration),
    /// After this many rounds, independent of the clock.
    Rounds(u64),
}

/// Gives a workload its number of rounds, and measures their time.
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

    /// Returns how many rounds to perform before the next call, or `None` at the end. The measured time is the time from the
    /// first call to the call that returns `None`.
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
            // As many as before. The cost of reading the clock is then negligible.
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
