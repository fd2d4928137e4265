//! A server process, from outside.

use crate::kind::Kind;
use crate::system;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server in its own process, which ends when this is dropped.
pub struct Server {
    process: Child,
    pub port: u16,
}

impl Server {
    /// `under` is a command that runs the server, such as valgrind.
    pub fn start(kind: Kind, under: &[String]) -> Self {
        let this_program = std::env::current_exe().expect("it runs").into_os_string();
        let mut words = under.iter().map(Into::into).chain([this_program]);
        let mut command = Command::new(words.next().expect("this program at least"));
        command.args(words).args(["server", kind.name()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it can be started");
        let mut line = String::new();
        let output = process.stdout.take().expect("it was asked for");
        BufReader::new(output).read_line(&mut line).expect("its port");
        let port = line.trim().parse().expect("a server says its port");
        Self { process, port }
    }

    pub fn cpu_time(&self) -> Duration {
        system::cpu_time(self.process.id())
    }

    /// In KiB.
    pub fn memory(&self) -> usize {
        system::own_memory(self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not killed immediately, so that a program which runs the server can finish.
        let process = Pid::from_raw(i32::try_from(self.process.id()).expect("it is a process"));
        let _ = kill(process, Signal::SIGTERM);
        let _ = self.process.wait();
    }
}
