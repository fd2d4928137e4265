//! Compares servers: see the usage below, and README.md for what is measured.

mod callgrind;
mod clients;
mod comparison;
mod deaf;
mod kind;
mod line;
#[path = "../../peers/src/machine.rs"]
mod machine;
mod server;
mod system;
mod table;
#[path = "../../peers/src/text.rs"]
mod text;
mod workload;

use callgrind::Event;
use comparison::{Options, compare};
use kind::Kind;
use std::process::ExitCode;

const USAGE: &str = "\
Measures servers over loopback TCP, one with stream_multiplexer and others without, and prints a table.

  --quick              50 connections, one short round: shows that all works
  --rounds NUMBER      how often each server is measured; the median counts
  --connections LIST   as in 100,1000
  --only KIND          one server: receiver, select, tasks or select_all
  --ranges             prints the least and the greatest sample, too
  --instructions       counts the servers' own instructions instead, by valgrind
  --misses             counts lines of data that are not in a simulated first-level cache of 32 KiB
  --last-misses        counts lines of data that are not in a simulated cache of 1 MiB either
";

/// Open files in addition to the connections.
const FEW_FILES: u64 = 64;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let first = args.next();
    if first.as_deref() == Some("server") {
        system::raise_open_files();
        match args.next().as_deref().and_then(Kind::named) {
            Some(kind) => kind.serve(),
            None => return ExitCode::FAILURE,
        }
    }
    let Some((mut options, ranges)) = parse(first.into_iter().chain(args)) else {
        eprint!("{USAGE}");
        return ExitCode::FAILURE;
    };
    println!("{}", machine::description());
    match options.counted {
        Some(_) => println!("The servers' own code, without the system's."),
        None => println!("Medians of {} interleaved rounds.", options.rounds),
    }
    let pinned = system::has_two_cores() && system::pin(1);
    println!(
        "Server and clients {}.",
        if pinned { "have a core each" } else { "are not pinned to a core each" }
    );
    let files = system::raise_open_files();
    options.sizes.retain(|&connections| {
        let fits = connections as u64 + FEW_FILES <= files;
        if !fits {
            println!("Left out: {connections} connections, for a process may have {files} files open.");
        }
        fits
    });
    let checked = if options.counted.is_some() { &[][..] } else { &options.kinds };
    checked.iter().for_each(|kind| deaf::check(*kind));
    println!("\n{}", table::markdown(&options, &compare(&options), ranges));
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<(Options, bool)> {
    let mut options = Options {
        rounds: 5,
        sizes: vec![100, 1_000, 8_000],
        part: 1.0,
        kinds: Kind::ALL.to_vec(),
        counted: None,
    };
    let mut ranges = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => (options.rounds, options.sizes, options.part) = (1, vec![50], 0.05),
            "--rounds" => options.rounds = args.next()?.parse().ok().filter(|&rounds| rounds > 0)?,
            "--connections" => {
                let numbers = args.next()?;
                let sizes = numbers.split(',').map(|number| number.parse().ok().filter(|&size| size >= 16));
                options.sizes = sizes.collect::<Option<_>>()?;
            }
            "--only" => options.kinds = vec![Kind::named(&args.next()?)?],
            "--ranges" => ranges = true,
            "--instructions" => (options.rounds, options.counted) = (1, Some(Event::Instructions)),
            "--misses" => (options.rounds, options.counted) = (1, Some(Event::Misses)),
            "--last-misses" => (options.rounds, options.counted) = (1, Some(Event::LastMisses)),
            _ => return None,
        }
    }
    Some((options, ranges))
}
