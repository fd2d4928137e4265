//! Scenes of many threads, each run in thousands of random schedules. Each scene compares what the threads received
//! with what they did. A lost wake is a deadlock, which shuttle reports with its schedule.
//!
//! `SCHEDULES=1000000 cargo test --release --manifest-path models/shuttle/Cargo.toml --test scenes` runs more
//! schedules; a name at the end selects a scene.

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

/// Runs a scene in many schedules, or in fewer if the time runs out.
fn explore(scene: fn()) {
    let asked = std::env::var("SCHEDULES").ok().map(|number| number.parse().expect("a number"));
    let (schedules, time) = match asked {
        Some(schedules) => (schedules, None),
        None => (3_000, Some(Duration::from_secs(3))),
    };
    // Picks a thread at random in each step; and by priorities that change seldom, which runs one thread far while the
    // others stand still.
    run(RandomScheduler::new(schedules), time, scene);
    run(PctScheduler::new(4, schedules), time, scene);
}

fn run(scheduler: impl Scheduler + 'static, time: Option<Duration>, scene: fn()) {
    let mut config = Config::new();
    config.max_time = time;
    config.max_steps = MaxSteps::FailAfter(100_000);
    Runner::new(scheduler, config).run(scene);
}
