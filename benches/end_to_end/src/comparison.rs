//! Compares servers, interleaved round by round.

use crate::callgrind::{self, Event};
use crate::clients::Clients;
use crate::kind::Kind;
use crate::server::Server;
use crate::workload::Workload;

pub struct Options {
    /// How often each server is started and measured. The median counts.
    pub rounds: usize,
    /// The numbers of connections.
    pub sizes: Vec<usize>,
    /// The part of a full sample to run.
    pub part: f64,
    /// Runs only these servers.
    pub kinds: Vec<Kind>,
    /// Counts these events, once, instead of measuring time and memory.
    pub counted: Option<Event>,
}

/// The results for one number of connections: for each kind, a sorted list of samples.
pub struct Size {
    pub connections: usize,
    /// For each workload, the server's CPU time per message in microseconds, or events.
    pub costs: Vec<Vec<Samples>>,
    /// KiB per connection. `None` if events are counted.
    pub memory: Option<Vec<Samples>>,
}

#[derive(Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// The smallest and the largest sample.
    pub fn range(&self) -> (f64, f64) {
        (self.0[0], self.0[self.0.len() - 1])
    }

    fn add(&mut self, sample: f64) {
        let at = self.0.partition_point(|other| *other < sample);
        self.0.insert(at, sample);
    }
}

pub fn compare(options: &Options) -> Vec<Size> {
    options.sizes.iter().map(|&connections| compare_with(connections, options)).collect()
}

fn compare_with(connections: usize, options: &Options) -> Size {
    let none = vec![Samples::default(); options.kinds.len()];
    let costs = vec![none.clone(); Workload::ALL.len()];
    let mut size = Size { connections, costs, memory: options.counted.is_none().then_some(none) };
    for round in 0..options.rounds {
        eprintln!("{connections} connections, round {} of {}", round + 1, options.rounds);
        for turn in 0..options.kinds.len() {
            // Each round begins with another server, so that no server always follows a certain other one.
            measure(&mut size, (turn + round) % options.kinds.len(), options);
        }
    }
    size
}

fn measure(size: &mut Size, at: usize, options: &Options) {
    let kind = options.kinds[at];
    if let Some(event) = options.counted {
        for (workload, costs) in Workload::ALL.into_iter().zip(&mut size.costs) {
            costs[at].add(callgrind::per_message(event, kind, workload, size.connections));
        }
        return;
    }
    let server = Server::start(kind, &[]);
    // Excludes the allocations for the very first connection.
    let first = Clients::connect(server.port, 1);
    let before = server.memory();
    let mut clients = Clients::connect(server.port, size.connections);
    let grown = server.memory().saturating_sub(before);
    drop(first);
    if let Some(memory) = &mut size.memory {
        memory[at].add(grown as f64 / size.connections as f64);
    }
    for (workload, costs) in Workload::ALL.into_iter().zip(&mut size.costs) {
        let messages = (workload.messages() as f64 * options.part) as usize;
        workload.run(&mut clients, messages / 8);
        let before = server.cpu_time();
        let messages = workload.run(&mut clients, messages);
        let time = server.cpu_time() - before;
        costs[at].add(time.as_secs_f64() * 1e6 / messages as f64);
    }
}
