//! Calls to the operating system.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::thread::available_parallelism;
use std::time::Duration;

/// Pins this thread, and threads that it will start, to a core. Returns whether this succeeded.
pub fn pin(core: usize) -> bool {
    let mut cores = CpuSet::new();
    cores.set(core).is_ok() && sched_setaffinity(Pid::from_raw(0), &cores).is_ok()
}

/// Whether server and clients have their own cores.
pub fn has_two_cores() -> bool {
    available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

/// Ends the server with its parent process.
pub fn end_with_parent() {
    set_pdeathsig(Signal::SIGKILL).expect("it is a signal");
}

/// Raises the limit of open files as far as possible. Returns the limit.
pub fn raise_open_files() -> u64 {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is such a limit");
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// The CPU time of a process so far, including the kernel's part.
pub fn cpu_time(process: u32) -> Duration {
    let process = Pid::from_raw(i32::try_from(process).expect("it is a process"));
    let clock = ClockId::pid_cpu_clock_id(process).expect("it is there");
    clock_gettime(clock).expect("others' clocks may be read").into()
}

/// The private memory of a process in KiB, without code and without kernel memory.
pub fn own_memory(process: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("it is there");
    let line = maps.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
