//! Scenes of many threads, each run by thousands of random schedules. What all have seen is held against what they
//! did; a lost wake is a deadlock, and shuttle reports it with the schedule that leads there.
//!
//! `SCHEDULES=1000000 cargo test --release --manifest-path models/shuttle/Cargo.toml --test scenes` goes on for longer;
//! a name behind it chooses a scene.

#[path = "scenes/parts.rs"]
mod parts;
#[path = "scenes/receiving.rs"]
mod receiving;
#[path = "scenes/sending.rs"]
mod sending;
#[path = "scenes/stories.rs"]
mod stories;
#[path = "../../../tests/support/mod.rs"]
mod support;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};
use std::time::Duration;

/// Runs a scene by so many schedules, or by fewer if the time is over before.
fn explore(scene: fn()) {
    let asked = std::env::var("SCHEDULES").ok().map(|number| number.parse().expect("a number"));
    let (schedules, time) = match asked {
        Some(schedules) => (schedules, None),
        None => (3_000, Some(Duration::from_secs(3))),
    };
    // At random in each step; and by priorities that change seldom, which goes far with one thread while the others
    // stand still.
    run(RandomScheduler::new(schedules), time, scene);
    run(PctScheduler::new(4, schedules), time, scene);
}

fn run(scheduler: impl Scheduler + 'static, time: Option<Duration>, scene: fn()) {
    let mut config = Config::new();
    config.max_time = time;
    config.max_steps = MaxSteps::FailAfter(100_000);
    Runner::new(scheduler, config).run(scene);
}
