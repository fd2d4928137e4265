//! The comparison: see the usage below, and README.md for what is compared.

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

use comparison::{Options, compare};
use kind::Kind;
use std::process::ExitCode;
use workload::Workload;

const USAGE: &str = "\
Measures servers over loopback TCP, one with stream_multiplexer and others without, and prints a table.

  --quick              50 connections, one short round: shows that all works
  --rounds NUMBER      how often each server is measured; the median counts
  --connections LIST   as in 100,1000
  --only KIND          one server: receiver, select, tasks or select_all
  --workload NUMBER    one workload, from 0 on, in the order of the table
  --part NUMBER        how much of each workload, 1 being all of it
  --ranges             prints the least and the greatest sample, too
  --under COMMAND...   runs the servers under a command, such as valgrind; comes last
";

/// What is open besides the connections.
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
    let pinned = system::has_two_cores() && system::pin(1);
    println!(
        "Medians of {} interleaved rounds. {}",
        options.rounds,
        if pinned { "Server and clients have a core each." } else { "Server and clients share a core." }
    );
    let files = system::raise_open_files();
    options.sizes.retain(|&connections| {
        let fits = connections as u64 + FEW_FILES <= files;
        if !fits {
            println!("Left out: {connections} connections, for a process may have {files} files open.");
        }
        fits
    });
    options.kinds.iter().for_each(|kind| deaf::check(*kind));
    println!("\n{}", table::markdown(&options, &compare(&options), ranges));
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<(Options, bool)> {
    let mut options = Options {
        rounds: 5,
        sizes: vec![100, 1_000, 8_000],
        part: 1.0,
        kinds: Kind::ALL.to_vec(),
        workloads: Workload::ALL.to_vec(),
        under: Vec::new(),
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
            "--workload" => {
                options.workloads = vec![*Workload::ALL.get(args.next()?.parse::<usize>().ok()?)?];
            }
            "--part" => options.part = args.next()?.parse().ok()?,
            "--ranges" => ranges = true,
            "--under" => options.under = args.by_ref().collect(),
            _ => return None,
        }
    }
    Some((options, ranges))
}
