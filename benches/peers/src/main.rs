//! The comparison: see the usage below.

use peers::comparison::{Comparison, Options, compare};
use peers::workload::Workload;
use peers::{chart, machine, member, table};
use std::fs;
use std::process::ExitCode;

const USAGE: &str = "\
Measures stream_multiplexer and its peers side by side, and prints a table for each workload.

  --quick          few members, one short round: shows that all works
  --rounds NUMBER  how often each column is measured; the median counts
  --only WORKLOAD  one workload
  --chart FILE     draws the cost of the sparse workload (SVG)
  --tsv FILE       writes all medians and ranges, tab-separated
";

struct Args {
    options: Options,
    chart: Option<String>,
    tsv: Option<String>,
}

fn main() -> ExitCode {
    let Some(Args { options, chart, tsv }) = parse(std::env::args().skip(1)) else {
        eprint!("{USAGE}");
        return ExitCode::FAILURE;
    };
    println!("{}", machine::description());
    println!("Medians of {} interleaved rounds. *: the best peer.", options.rounds);
    println!("A member's own poll takes {:.1} ns when it has an item.\n", member::own_cost());
    let comparisons = compare(&options, |comparison| println!("{}", table::markdown(comparison)));
    if let Some(path) = tsv {
        write(&path, &table::tsv(&comparisons));
    }
    if let Some(path) = chart {
        let is_sparse = |comparison: &&Comparison| comparison.workload == Workload::Sparse;
        let sparse = comparisons.iter().find(is_sparse).expect("the chart is of the sparse workload");
        write(&path, &chart::svg(sparse, &machine::description()));
    }
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let mut parsed = Args { options: Options::thorough(), chart: None, tsv: None };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => parsed.options = Options::quick(),
            "--rounds" => parsed.options.rounds = args.next()?.parse().ok().filter(|&rounds| rounds > 0)?,
            "--only" => parsed.options.only = Some(Workload::named(&args.next()?)?),
            "--chart" => parsed.chart = Some(args.next()?),
            "--tsv" => parsed.tsv = Some(args.next()?),
            _ => return None,
        }
    }
    Some(parsed)
}

fn write(path: &str, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
}
