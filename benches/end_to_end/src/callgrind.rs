//! Counts instructions or cache misses, with the server under callgrind.

use crate::clients::Clients;
use crate::kind::Kind;
use crate::server::Server;
use crate::workload::Workload;
use std::fs;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Instructions,
    /// Lines of data that are not in a first-level cache of 32 KiB.
    Misses,
    /// Lines of data that are not in a cache of 1 MiB behind it.
    LastMisses,
}

/// The simulated caches. They are given here, so that the counts do not depend on the machine.
const CACHES: [&str; 4] = ["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,16,64"];

impl Event {
    /// The unit in the table.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Misses => "lines not in 32 KiB",
            Self::LastMisses => "lines not in 1 MiB",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        if self == Self::Instructions { &[] } else { &CACHES }
    }

    /// Selects the event from callgrind's counts, of which the first is the number of instructions. With simulated caches,
    /// the others are the numbers of reads, of writes, and of misses by instructions, reads and writes in each cache.
    fn select(self, counts: &[u64]) -> Option<u64> {
        let sum = |counts: &[u64]| counts.iter().sum();
        match self {
            Self::Instructions => counts.first().copied(),
            Self::Misses => counts.get(4..6).map(sum),
            Self::LastMisses => counts.get(7..9).map(sum),
        }
    }
}

/// Returns events per message in the server's code, without the kernel's part. The difference of two runs excludes start and
/// end.
pub fn per_message(event: Event, kind: Kind, workload: Workload, connections: usize) -> f64 {
    let (fewer, before) = count(event, kind, workload, connections, workload.messages() / 8);
    let (more, after) = count(event, kind, workload, connections, fewer + workload.messages() / 2);
    (after - before) as f64 / (more - fewer) as f64
}

/// Returns the number of messages and the number of events.
fn count(event: Event, kind: Kind, workload: Workload, connections: usize, messages: usize) -> (usize, u64) {
    let log = std::env::temp_dir().join(format!("end_to_end.{}.callgrind", std::process::id()));
    let words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let words = words.iter().chain(event.arguments()).map(|word| (*word).to_owned());
    let to_log = format!("--log-file={}", log.display());
    let server = Server::start(kind, &words.chain([to_log]).collect::<Vec<_>>());
    let messages = workload.run(&mut Clients::connect(server.port, connections), messages);
    drop(server);
    let report = fs::read_to_string(&log).expect("valgrind writes it at the end");
    let _ = fs::remove_file(&log);
    let collected = report.lines().find_map(|line| line.split("Collected : ").nth(1)).unwrap_or_default();
    let counts: Vec<u64> = collected.split_whitespace().map_while(|count| count.parse().ok()).collect();
    match event.select(&counts) {
        Some(count) => (messages, count),
        None => panic!("callgrind failed:\n{report}"),
    }
}
