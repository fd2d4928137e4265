//! What favouring a class does for it, measured.
//!
//! ```sh
//! cargo run --release --example favour
//! ```
//!
//! A server on one core, and its clients in a process of their own on another. 20 paying clients send a line, wait for
//! the answer, and send the next two milliseconds later. 1,000 free clients send lines as fast as the server takes them. Each line costs the
//! server some microseconds of hashing, so the free ones keep it at 100 %.
//!
//! Five servers have their turn, and each says how long the paying clients waited for an answer:
//!
//! | row | the server |
//! |---|---|
//! | unloaded | as `priority`, without the free clients |
//! | one channel | all clients in one channel: fair, so a paying client is one of 1,020 |
//! | task per connection | a tokio task for each client, which yields after each line; no multiplexer |
//! | priority | two channels, the paying one first |
//! | weights 10 : 1 | two channels, ten lines of the paying one for each line of the other |
//!
//! It takes half a minute, prints a table, and draws the chart of the README.

mod chart;
mod clients;
mod report;
mod server;

use clients::Answers;
use report::Row;
use server::Kind;
use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How many clients there are of each class.
const PAYING: usize = 20;
const FREE: usize = 1_000;

/// Before it is measured, so that all clients are there and all buffers are full.
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    rlimit::increase_nofile_limit(4 * (PAYING + FREE) as u64)?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["clients", paying, free, flood] => clients::run(paying.parse()?, free.parse()?, flood.parse()?),
        _ => Err("usage: favour   (no arguments)".into()),
    }
}

fn compare() -> Outcome<()> {
    pin_to_core(0);
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        eprintln!("{} ...", kind.name());
        rows.push(measure(kind)?);
    }
    report::print(&rows);
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("chart.svg");
    chart::draw(&rows, &chart)?;
    println!("\nThe chart is in {}", chart.display());
    Ok(())
}

/// Serves clients in a process of their own, and takes down what they say.
fn measure(kind: Kind) -> Outcome<Row> {
    let server = server::listen(kind)?;
    let mut clients = Command::new(env::current_exe()?);
    clients.arg("clients").args([server.paying_port(), server.free_port()].map(|port| port.to_string()));
    clients.arg(kind.is_loaded().to_string()).stdout(Stdio::piped());
    let clients = clients.spawn()?;
    let lines = server.until_exit(clients)?;
    let answers = Answers::parse(&lines.output)?;
    Ok(Row { name: kind.name(), waits: answers.waits, lines: lines.per_second })
}

/// So that the clients do not take the server's time. Does nothing where the system has no such call, or one core.
fn pin_to_core(number: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = cores.get(number).filter(|_| cores.len() > 1) {
        core_affinity::set_for_current(*core);
    }
}
