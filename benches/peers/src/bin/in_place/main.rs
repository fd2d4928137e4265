//! Shows why waiting tasks in `stream_multiplexer` are not listeners of an `event_listener::Event`. An `Event` wakes,
//! clones and drops wakers under its own lock. An executor that polls a task in place when it is woken, or that drops its
//! tasks when it stops, therefore hangs forever. A waker that panics may leave the event dead.
//!
//! `cargo run --release --bin in_place` runs the scenes of the library's `tests/in_place.rs` with both, each in its own
//! process, and prints the outcomes. It fails if one of our scenes does not continue. It also fails if the outcome of
//! another crate differs from the expected one: this reason is then out of date.

#[path = "../../../../../tests/in_place/executor.rs"]
mod executor;
#[path = "../../../../../tests/in_place/ours.rs"]
mod ours;
#[path = "../../../../../tests/in_place/scenes.rs"]
mod scenes;
#[path = "../../../../../tests/support/mod.rs"]
mod support;
mod theirs;

use scenes::Awaited;
use std::env;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A scene that still runs after this time hangs. Other scenes take milliseconds.
const HANGS: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    GoesOn,
    Hangs,
    /// The scene panics: a task was not dropped. With overflow checks, `event_listener` itself panics.
    Fails,
}

use Outcome::{Fails, GoesOn, Hangs};

struct Column {
    name: &'static str,
    scenes: [(&'static str, fn()); 5],
    expected: [Outcome; 5],
}

fn columns() -> [Column; 7] {
    fn column<A: Awaited>(name: &'static str, expected: [Outcome; 5]) -> Column {
        Column { name, scenes: scenes::all::<A>(), expected }
    }
    const OURS: [Outcome; 5] = [GoesOn; 5];
    [
        column::<theirs::Event>("`event_listener::Event`", [Hangs, Hangs, Hangs, Hangs, Fails]),
        column::<theirs::Channel>("`async_channel`", [Hangs, Hangs, Hangs, Hangs, GoesOn]),
        column::<theirs::Semaphore>("`async_lock::Semaphore`", [Hangs, Hangs, Hangs, Hangs, Fails]),
        column::<ours::Recv>("`recv`", OURS),
        column::<ours::Receiver>("`ChannelReceiver`", OURS),
        column::<ours::SendOne>("`send_one`", OURS),
        column::<ours::Slab>("`StreamSlab`", OURS),
    ]
}

fn main() -> ExitCode {
    let args: Vec<usize> = env::args().skip(1).map(|arg| arg.parse().expect("a number")).collect();
    match args[..] {
        [] => compare(),
        [column, scene] => {
            columns()[column].scenes[scene].1();
            ExitCode::SUCCESS
        }
        _ => panic!("nothing, or a column and a scene"),
    }
}

fn compare() -> ExitCode {
    let columns = columns();
    let (scenes, deadline) = (0..columns[0].scenes.len(), Instant::now() + HANGS);
    // All scenes run in parallel, so that several hanging scenes take one deadline.
    let started: Vec<Vec<Child>> =
        scenes.map(|scene| (0..columns.len()).map(|column| start(column, scene)).collect()).collect();

    println!("| |{}", columns.iter().map(|column| format!(" {} |", column.name)).collect::<String>());
    println!("|---|{}", "---|".repeat(columns.len()));
    let mut is_as_expected = true;
    for (scene, children) in started.into_iter().enumerate() {
        print!("| {} |", columns[0].scenes[scene].0);
        for (column, child) in columns.iter().zip(children) {
            let outcome = finish(child, deadline);
            let is_expected = outcome == column.expected[scene];
            print!(" {}{} |", outcome.text(), if is_expected { "" } else { " (!)" });
            is_as_expected &= is_expected;
        }
        println!();
    }
    if is_as_expected {
        return ExitCode::SUCCESS;
    }
    println!(
        "\n(!) Not as expected. If one of ours does not go on, mend it. If another does, the reason given in"
    );
    println!(
        "`src/wait_list.rs` is out of date: it held for event-listener 5.4.2, async-channel 2.5.0, async-lock 3.5.0."
    );
    ExitCode::FAILURE
}

fn start(column: usize, scene: usize) -> Child {
    let program = env::current_exe().expect("it runs");
    let mut command = Command::new(program);
    command.args([column, scene].map(|arg| arg.to_string())).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it runs already")
}

fn finish(mut child: Child, deadline: Instant) -> Outcome {
    loop {
        match child.try_wait().expect("it is ours") {
            Some(status) if status.success() => return GoesOn,
            Some(_) => return Fails,
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            None => {
                // The process may have ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return Hangs;
            }
        }
    }
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            GoesOn => "goes on",
            Hangs => "**hangs**",
            Fails => "**fails**",
        }
    }
}
