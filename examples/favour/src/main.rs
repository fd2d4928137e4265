//! Measures the effect of favouring a class.
//!
//! ```sh
//! cargo run --release --example favour
//! ```
//!
//! The server runs on one core, and its clients in another process on another core. 20 paying clients send a line, wait for
//! the answer, and send the next line two milliseconds later. 1,000 free clients send lines as fast as the server takes
//! them. Each line costs the server a few microseconds of hashing, and the free clients keep the server at 100 %.
//!
//! The program measures five servers, and shows how long the paying clients waited for an answer:
//!
//! | row | server |
//! |---|---|
//! | unloaded | as `priority`, without the free clients |
//! | one channel | all clients in one channel; a paying client is one of 1,020 |
//! | task per connection | a tokio task for each client, which yields after each line; no multiplexer |
//! | priority | two channels; the paying channel has priority |
//! | weights 10 : 1 | two channels; ten lines of paying clients for each line of free clients |
//!
//! The program takes half a minute, prints a table, and draws the chart of the README. With `-- yields`, it shows
//! instead how the number of events between yields affects *priority*; this takes a minute.

mod chart;
mod clients;
mod report;
mod server;

use clients::Answers;
use report::Row;
use server::Kind;
use std::env;
use std::error::Error;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// The number of clients of each class.
const PAYING: u32 = 20;
const FREE: u32 = 1_000;

/// The time before the measurement, in which all clients connect and all buffers fill up.
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);

/// The default of a select.
const YIELD_EVERY: Option<NonZeroU32> = NonZeroU32::new(4);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    rlimit::increase_nofile_limit(u64::from(4 * (PAYING + FREE)))?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["yields"] => compare_yields(),
        ["clients", paying, free, flood] => clients::run(paying.parse()?, free.parse()?, flood.parse()?),
        _ => Err("usage: favour [yields]".into()),
    }
}

fn compare() -> Outcome<()> {
    let rows = Kind::ALL.map(|kind| measure(kind.name().to_owned(), kind, YIELD_EVERY));
    let rows = rows.into_iter().collect::<Outcome<Vec<_>>>()?;
    report::print(&rows);
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("chart.svg");
    chart::draw(&rows, &chart)?;
    println!("\nThe chart is in {}", chart.display());
    Ok(())
}

fn compare_yields() -> Outcome<()> {
    let mut rows = vec![measure("unloaded".to_owned(), Kind::Unloaded, YIELD_EVERY)?];
    for events in [1, 2, 4, 8, 16, 32, 64] {
        let name = format!("yields after {events}");
        rows.push(measure(name, Kind::Priority, NonZeroU32::new(events))?);
    }
    rows.push(measure("never yields".to_owned(), Kind::Priority, None)?);
    report::print(&rows);
    Ok(())
}

/// Serves clients in another process, and collects their output.
fn measure(name: String, kind: Kind, yield_every: Option<NonZeroU32>) -> Outcome<Row> {
    eprintln!("{name} ...");
    let server = server::listen(kind)?;
    let mut clients = Command::new(env::current_exe()?);
    clients.arg("clients").args([server.paying_port(), server.free_port()].map(|port| port.to_string()));
    clients.arg(kind.is_loaded().to_string()).stdout(Stdio::piped());
    let clients = clients.spawn()?;
    // The server has its own thread. If this thread were pinned, the process of the next clients would inherit its core.
    let server = thread::spawn(move || {
        pin_to_core(0);
        server.until_exit(clients, yield_every)
    });
    let lines = server.join().map_err(|_| "the server has panicked")??;
    let answers = Answers::parse(&lines.output)?;
    Ok(Row { name, waits: answers.waits, lines: lines.per_second })
}

/// Pins the thread to a core, so that clients and server do not share one. Does nothing on a system without such a call, or
/// with one core.
fn pin_to_core(number: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = cores.get(number).filter(|_| cores.len() > 1) {
        core_affinity::set_for_current(*core);
    }
}
