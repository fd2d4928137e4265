//! The machine and the date of a measurement.

use std::process::Command;

/// One line, printed above the tables.
pub fn description() -> String {
    format!("{}, {}, {}", today(), cpu(), env!("RUSTC_VERSION"))
}

fn today() -> String {
    match Command::new("date").arg("+%Y-%m-%d").output() {
        Ok(date) => String::from_utf8_lossy(&date.stdout).trim().to_owned(),
        Err(_) => "date unknown".to_owned(),
    }
}

fn cpu() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    format!("{} ({cores} cores)", model.unwrap_or("CPU unknown").trim())
}
