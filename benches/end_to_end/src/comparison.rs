//! Servers side by side, interleaved round by round.

use crate::clients::Clients;
use crate::kind::Kind;
use crate::server::Server;
use crate::workload::Workload;

pub struct Options {
    /// How often each server is started and measured; the median counts.
    pub rounds: usize,
    /// Numbers of connections.
    pub sizes: Vec<usize>,
    /// How much of a workload is done, as a part of a full sample.
    pub part: f64,
    /// Only these.
    pub kinds: Vec<Kind>,
    pub workloads: Vec<Workload>,
    /// What the servers are run under.
    pub under: Vec<String>,
}

/// What was measured with one number of connections: a list of samples, sorted, for each kind.
pub struct Size {
    pub connections: usize,
    /// Of each workload, in microseconds of the server's CPU per message.
    pub costs: Vec<Vec<Samples>>,
    /// In KiB per connection.
    pub memory: Vec<Samples>,
}

#[derive(Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// How far they are apart.
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
    let kinds = options.kinds.len();
    let none = vec![Samples::default(); kinds];
    let costs = vec![none.clone(); options.workloads.len()];
    let mut size = Size { connections, costs, memory: none };
    for round in 0..options.rounds {
        eprintln!("{connections} connections, round {} of {}", round + 1, options.rounds);
        for turn in 0..kinds {
            // Each round begins with another one: none is always the one after a certain other.
            measure(&mut size, (turn + round) % kinds, options);
        }
    }
    size
}

/// One server, from its start to its end.
fn measure(size: &mut Size, at: usize, options: &Options) {
    let server = Server::start(options.kinds[at], &options.under);
    // What it allocates for the first connection of all is not theirs.
    let first = Clients::connect(server.port, 1);
    let before = server.memory();
    let mut clients = Clients::connect(server.port, size.connections);
    let grown = server.memory().saturating_sub(before);
    drop(first);
    size.memory[at].add(grown as f64 / size.connections as f64);
    for (workload, costs) in options.workloads.iter().zip(&mut size.costs) {
        let messages = (workload.messages() as f64 * options.part) as usize;
        workload.run(&mut clients, messages / 8);
        let before = server.cpu_time();
        let messages = workload.run(&mut clients, messages);
        let time = server.cpu_time() - before;
        costs[at].add(time.as_secs_f64() * 1e6 / messages as f64);
    }
}
