//! Counts instructions, with the server under callgrind.

use crate::clients::Clients;
use crate::kind::Kind;
use crate::server::Server;
use crate::workload::Workload;
use std::fs;

/// Returns instructions per message in the server's code, without the kernel's part. The difference of two runs excludes
/// start and end.
pub fn instructions_per_message(kind: Kind, workload: Workload, connections: usize) -> f64 {
    let (fewer, before) = instructions(kind, workload, connections, workload.messages() / 8);
    let (more, after) = instructions(kind, workload, connections, workload.messages() / 2);
    (after - before) as f64 / (more - fewer) as f64
}

/// Returns the number of messages and the number of instructions.
fn instructions(kind: Kind, workload: Workload, connections: usize, messages: usize) -> (usize, u64) {
    let log = std::env::temp_dir().join(format!("end_to_end.{}.callgrind", std::process::id()));
    let words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"].map(str::to_owned);
    let to_log = format!("--log-file={}", log.display());
    let server = Server::start(kind, &words.into_iter().chain([to_log]).collect::<Vec<_>>());
    let messages = workload.run(&mut Clients::connect(server.port, connections), messages);
    drop(server);
    let report = fs::read_to_string(&log).expect("valgrind writes it at the end");
    let _ = fs::remove_file(&log);
    let collected = report.lines().find_map(|line| line.split("Collected : ").nth(1));
    match collected.and_then(|count| count.trim().parse().ok()) {
        Some(count) => (messages, count),
        None => panic!("callgrind failed:\n{report}"),
    }
}
