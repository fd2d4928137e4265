//! How long another thread waits that sends to a stream of another channel at the same time.

use crate::parts::{CHANNEL, Control, Mux, OTHER, add, idle_members, multiplexer};
use crate::table::{Case, Unit};
use futures::FutureExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, measure| Case {
        name,
        unit: Unit::Nanoseconds,
        should: "as beside nothing, or a small batch",
        measure,
    };
    vec![
        case("another's longest `send_one` beside nothing, for 10 ms", beside_nothing),
        case("the same beside `remove_channel` of n", beside_remove_channel),
        case("the same beside `channel_streams` of n", beside_channel_streams),
        case("the same beside `channel_streams` of 3 after a burst of n", beside_listing_after_burst),
        case("the same beside `close` with n channels", beside_close),
        case("the same beside `shrink_to_fit` with n members", beside_shrinking),
    ]
}

/// The waits that the machine itself causes. Compare the other figures with this one.
fn beside_nothing(n: usize) -> f64 {
    let (multiplexer, ..) = idle_members(n.min(1_000));
    longest_wait(&multiplexer, || thread::sleep(Duration::from_millis(10)))
}

fn beside_remove_channel(n: usize) -> f64 {
    let (multiplexer, ..) = idle_members(n);
    longest_wait(&multiplexer, || multiplexer.remove_channel(CHANNEL))
}

fn beside_channel_streams(n: usize) -> f64 {
    let (multiplexer, ..) = idle_members(n);
    longest_wait(&multiplexer, || multiplexer.channel_streams(CHANNEL))
}

fn beside_listing_after_burst(n: usize) -> f64 {
    let (multiplexer, _receiver, members) = idle_members(n);
    for (id, _) in &members[3..] {
        multiplexer.remove_stream(*id).unwrap();
    }
    longest_wait(&multiplexer, || multiplexer.channel_streams(CHANNEL))
}

fn beside_close(n: usize) -> f64 {
    let multiplexer = multiplexer();
    for channel in 0..n {
        multiplexer.add_channel(OTHER + 1 + channel).unwrap();
    }
    longest_wait(&multiplexer, || multiplexer.close())
}

fn beside_shrinking(n: usize) -> f64 {
    let (multiplexer, ..) = idle_members(n);
    longest_wait(&multiplexer, || multiplexer.shrink_to_fit())
}

// The phases of a measurement, in order. The sender advances from each of the first phases to the next after it has sent an
// item. It is therefore known to run when the work begins.
const BEGINS: u8 = 0;
const READY: u8 = 3;
const WORKS: u8 = 4;
const OVER: u8 = 5;

/// Returns the longest `send_one` to a ready sink, in nanoseconds, among those that another thread makes while `work` runs.
/// Returns NaN if that thread made none, because the machine was busy.
fn longest_wait<T>(multiplexer: &Mux, work: impl FnOnce() -> T) -> f64 {
    let sink = Control::ready(usize::MAX / 2);
    let id = add(multiplexer, &Control::ready(0), &sink, OTHER);
    let phase = AtomicU8::new(BEGINS);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut longest = None;
            loop {
                let (before, start) = (phase.load(Ordering::Acquire), Instant::now());
                multiplexer.send_one(id, ()).now_or_never().expect("it is ready").unwrap();
                let (after, took) = (phase.load(Ordering::Acquire), start.elapsed());
                if before <= WORKS && after >= WORKS {
                    longest = longest.max(Some(took));
                }
                match after {
                    OVER => return longest,
                    READY | WORKS => {}
                    _ => phase.store(after + 1, Ordering::Release),
                }
            }
        });
        while phase.load(Ordering::Acquire) != READY {
            std::hint::spin_loop();
        }
        phase.store(WORKS, Ordering::Release);
        let result = work();
        phase.store(OVER, Ordering::Release);
        drop(result);
        sender.join().unwrap().map_or(f64::NAN, |longest: Duration| longest.as_nanos() as f64)
    })
}
