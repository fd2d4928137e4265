//! Threads that wait, without an executor.
//!
//! A test cannot observe that a thread already sleeps when its condition becomes true. Tests that would also pass if it did
//! not sleep yet are run many times, and each handles both orders.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use stream_multiplexer::{ChannelId, ChannelOptions, Multiplexer, MultiplexerError, StreamId, TryRecvError};
use support::{Feed, Gate, Pipe, Wakes, finishes, gate, pipe, poll_future};

const A: ChannelId = 1;
const B: ChannelId = 2;

/// Beyond the representable time: never times out.
const FOREVER: Duration = Duration::MAX;
const SOON: Duration = Duration::from_millis(5);

const ROUNDS: usize = 50;

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;

fn multiplexer() -> Pairs {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(A).unwrap();
    multiplexer.add_channel(B).unwrap();
    multiplexer
}

fn add(multiplexer: &Pairs, channel: ChannelId) -> (StreamId, Feed<u32>) {
    let (feed, pipe) = pipe();
    (multiplexer.add_stream_pair(gate(9).1, pipe, channel).unwrap(), feed)
}

/// Starts a thread that waits, and returns when the thread is about to wait.
fn waits<R: Send + 'static>(
    multiplexer: &Pairs,
    wait: impl FnOnce(&Pairs) -> R + Send + 'static,
) -> JoinHandle<R> {
    let (starts, started) = mpsc::channel();
    let multiplexer = multiplexer.clone();
    let waiting = thread::spawn(move || {
        starts.send(()).unwrap();
        wait(&multiplexer)
    });
    started.recv().unwrap();
    waiting
}

struct PanickingTask;

impl Wake for PanickingTask {
    fn wake(self: Arc<Self>) {
        panic!("a waker panics, as the test wants");
    }
}

mod until_it_is_closed {
    use super::*;

    #[test]
    fn by_another_thread() {
        finishes(|| {
            for _ in 0..ROUNDS {
                let multiplexer = multiplexer();
                let waiting = waits(&multiplexer, |multiplexer| multiplexer.wait_closed(FOREVER));
                multiplexer.close();
                assert!(waiting.join().unwrap());
            }
        });
    }

    #[test]
    fn or_the_time_is_over() {
        let multiplexer = multiplexer();
        for timeout in [Duration::ZERO, SOON] {
            assert!(!multiplexer.wait_closed(timeout));
        }
        multiplexer.close_channel(A).unwrap();
        assert!(!multiplexer.wait_closed(SOON), "that was a channel");
        multiplexer.clone().close();
        for timeout in [Duration::ZERO, SOON, FOREVER] {
            assert!(multiplexer.wait_closed(timeout));
        }
    }

    /// `wait_closed` neither waits for streams nor keeps them.
    #[test]
    fn and_no_longer() {
        let multiplexer = multiplexer();
        let (id, feed) = add(&multiplexer, A);
        multiplexer.close();
        assert!(multiplexer.wait_closed(FOREVER));
        feed.push(1);
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
    }
}

mod until_a_channel_is_drained {
    use super::*;

    /// In every way in which the last stream can leave.
    #[test]
    fn by_another_thread() {
        finishes(|| {
            for round in 0..ROUNDS {
                for how in ["ended", "moved", "removed", "with its channel", "by a panic", "none"] {
                    let multiplexer = multiplexer();
                    let (id, feed) = add(&multiplexer, A);
                    if how == "none" {
                        drop(multiplexer.remove_stream(id));
                    } else if round % 2 == 0 {
                        multiplexer.close_channel(A).unwrap();
                    }
                    let waiting = waits(&multiplexer, |multiplexer| multiplexer.wait_drained(A, FOREVER));
                    multiplexer.close_channel(A).unwrap();
                    match how {
                        "ended" => {
                            feed.end();
                            assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
                        }
                        "moved" => multiplexer.change_stream_channel(id, B).unwrap(),
                        "removed" => assert!(multiplexer.discard_stream(id)),
                        "with its channel" => assert!(multiplexer.discard_channel(A)),
                        "by a panic" => {
                            feed.panic();
                            let receive = AssertUnwindSafe(|| multiplexer.try_recv(A));
                            assert!(catch_unwind(receive).is_err());
                        }
                        _ => {}
                    }
                    let waited = waiting.join().unwrap();
                    // The wait may have begun after the channel was removed.
                    let came_late = how == "with its channel" && waited.is_err();
                    assert!(waited == Ok(true) || came_late, "{how}: {waited:?}");
                }
            }
        });
    }

    /// A channel from which another thread receives.
    #[test]
    fn as_it_is_received_from() {
        finishes(|| {
            let multiplexer = multiplexer();
            let (_, feed) = add(&multiplexer, A);
            let receiver = multiplexer.clone();
            let receiving = thread::spawn(move || {
                let mut received = Vec::new();
                while let Ok((_, item)) = pollster::block_on(receiver.recv(A)) {
                    received.push(item);
                }
                received
            });
            let waiting = waits(&multiplexer, |multiplexer| multiplexer.wait_drained(A, FOREVER));
            multiplexer.close();
            (0..1000).for_each(|item| feed.push(item));
            feed.end();
            assert_eq!(waiting.join().unwrap(), Ok(true));
            assert_eq!(receiving.join().unwrap(), (0..1000).map(Some).chain([None]).collect::<Vec<_>>());
        });
    }

    #[test]
    fn also_for_what_is_paused() {
        let multiplexer = multiplexer();
        let (id, feed) = add(&multiplexer, A);
        feed.end();
        multiplexer.close_channel(A).unwrap();
        multiplexer.pause_stream(id).unwrap();
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        assert_eq!(multiplexer.wait_drained(A, Duration::ZERO), Ok(false));
        multiplexer.resume_stream(id).unwrap();
        multiplexer.pause_channel(A).unwrap();
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        assert_eq!(multiplexer.wait_drained(A, Duration::ZERO), Ok(false));
        multiplexer.resume_channel(A).unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert_eq!(multiplexer.wait_drained(A, Duration::ZERO), Ok(true));
    }

    #[test]
    fn or_the_time_is_over_and_nothing_is_lost() {
        let multiplexer = multiplexer();
        assert_eq!(multiplexer.wait_drained(B, SOON), Ok(false), "it is empty, but open");
        let (id, feed) = add(&multiplexer, A);
        multiplexer.close_channel(A).unwrap();
        feed.push(1);
        for timeout in [Duration::ZERO, SOON] {
            assert_eq!(multiplexer.wait_drained(A, timeout), Ok(false));
        }
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
        feed.push(2);
        feed.end();
        assert_eq!(multiplexer.wait_drained(A, SOON), Ok(false), "who should receive it?");
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(2))));
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Closed));
        for timeout in [Duration::ZERO, SOON, FOREVER] {
            assert_eq!(multiplexer.wait_drained(A, timeout), Ok(true));
        }
    }

    #[test]
    fn if_there_is_one() {
        let multiplexer = multiplexer();
        assert_eq!(multiplexer.wait_drained(9, FOREVER), Err(MultiplexerError::UnknownChannel(9)));
        assert!(multiplexer.discard_channel(A));
        assert_eq!(multiplexer.wait_drained(A, FOREVER), Err(MultiplexerError::UnknownChannel(A)));
    }

    /// A channel with the same id as one that was removed in the meantime.
    #[test]
    fn and_not_another_of_its_name() {
        finishes(|| {
            for _ in 0..ROUNDS {
                let multiplexer = multiplexer();
                add(&multiplexer, A);
                let waiting = waits(&multiplexer, |multiplexer| multiplexer.wait_drained(A, FOREVER));
                // The wait finds the first channel, or none, or the second one.
                assert!(multiplexer.discard_channel(A));
                multiplexer.add_channel(A).unwrap();
                multiplexer.close_channel(A).unwrap();
                assert!(matches!(
                    waiting.join().unwrap(),
                    Ok(true) | Err(MultiplexerError::UnknownChannel(A))
                ));
            }
        });
    }

    #[test]
    fn without_those_that_ended_and_stay() {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel_with(A, ChannelOptions::new().half_close(true)).unwrap();
        let (id, feed) = add(&multiplexer, A);
        multiplexer.close();
        feed.end();
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert_eq!(multiplexer.wait_drained(A, FOREVER), Ok(true));
        assert_eq!(multiplexer.channel_len(A), Some(1));
    }

    /// The threads are woken, even if a task that waits for the same condition panics.
    #[test]
    fn beside_a_task_whose_waker_panics() {
        finishes(|| {
            for _ in 0..ROUNDS {
                let multiplexer = multiplexer();
                let (id, _feed) = add(&multiplexer, A);
                multiplexer.close();
                let task = Waker::from(Arc::new(PanickingTask));
                let mut drained = multiplexer.drained(A);
                assert!(poll_future(&mut drained, &task).is_pending());
                let waiting = waits(&multiplexer, |multiplexer| multiplexer.wait_drained(A, FOREVER));
                assert!(catch_unwind(AssertUnwindSafe(|| multiplexer.discard_stream(id))).is_err());
                assert_eq!(waiting.join().unwrap(), Ok(true));
                assert_eq!(poll_future(&mut drained, &task), Poll::Ready(Ok(())));
            }
        });
    }
}

mod until_all_is_drained {
    use super::*;

    /// Whichever channel is the last one.
    #[test]
    fn by_another_thread() {
        finishes(|| {
            for round in 0..ROUNDS {
                let multiplexer = multiplexer();
                let mut ids = [A, B].map(|channel| add(&multiplexer, channel).0);
                if round % 2 == 0 {
                    ids.reverse();
                }
                let waiting = waits(&multiplexer, |multiplexer| multiplexer.wait_all_drained(FOREVER));
                if round % 4 < 2 {
                    multiplexer.close();
                }
                assert!(ids.into_iter().all(|id| multiplexer.discard_stream(id)));
                multiplexer.close();
                assert!(waiting.join().unwrap());
            }
        });
    }

    #[test]
    fn though_a_channel_is_removed_meanwhile() {
        finishes(|| {
            for _ in 0..ROUNDS {
                let multiplexer = multiplexer();
                let _peers = [A, B].map(|channel| add(&multiplexer, channel));
                multiplexer.close();
                let waiting = waits(&multiplexer, |multiplexer| multiplexer.wait_all_drained(FOREVER));
                assert!(multiplexer.discard_channel(B));
                assert!(multiplexer.discard_channel(A));
                assert!(waiting.join().unwrap());
            }
        });
    }

    #[test]
    fn or_the_time_is_over() {
        let multiplexer = multiplexer();
        for channel in [A, B] {
            multiplexer.close_channel(channel).unwrap();
        }
        assert!(!multiplexer.wait_all_drained(SOON), "there may be more channels");
        multiplexer.close();
        assert!(multiplexer.wait_all_drained(FOREVER));

        for last in [A, B] {
            let multiplexer = self::multiplexer();
            let (id, feed) = add(&multiplexer, last);
            multiplexer.close();
            assert!(!multiplexer.wait_all_drained(Duration::ZERO));
            assert!(!multiplexer.wait_all_drained(SOON));
            feed.push(1);
            assert_eq!(multiplexer.try_recv(last), Ok((id, Some(1))), "it goes on");
            feed.end();
            assert_eq!(multiplexer.try_recv(last), Ok((id, None)));
            assert!(multiplexer.wait_all_drained(Duration::ZERO));
        }
    }

    #[test]
    fn at_once_when_there_is_nothing() {
        let multiplexer = Pairs::new();
        multiplexer.close();
        assert!(multiplexer.wait_all_drained(Duration::ZERO));
    }
}

/// Threads and a task wait for the same condition.
#[test]
fn many_wait_together() {
    finishes(|| {
        for _ in 0..ROUNDS {
            let multiplexer = multiplexer();
            let (id, _feed) = add(&multiplexer, A);
            let mut drained = multiplexer.drained(A);
            let (wakes, waker) = Wakes::new();
            assert!(poll_future(&mut drained, &waker).is_pending());
            let waiting: Vec<_> = (0..12)
                .map(|thread| {
                    waits(&multiplexer, move |multiplexer| match thread % 3 {
                        0 => multiplexer.wait_closed(FOREVER),
                        1 => multiplexer.wait_drained(A, FOREVER).unwrap(),
                        _ => multiplexer.wait_all_drained(FOREVER),
                    })
                })
                .collect();
            multiplexer.close();
            assert!(multiplexer.discard_stream(id));
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
            assert_eq!(wakes.take(), 1);
            assert_eq!(poll_future(&mut drained, &waker), Poll::Ready(Ok(())));
        }
    });
}

/// A thread that gives up does not affect the others.
#[test]
fn one_that_gives_up_is_not_missed() {
    finishes(|| {
        let multiplexer = multiplexer();
        let (id, _feed) = add(&multiplexer, A);
        multiplexer.close();
        let waiting = waits(&multiplexer, |multiplexer| multiplexer.wait_drained(A, FOREVER));
        for _ in 0..ROUNDS {
            assert_eq!(multiplexer.wait_drained(A, Duration::from_micros(100)), Ok(false));
        }
        assert!(multiplexer.discard_stream(id));
        assert_eq!(waiting.join().unwrap(), Ok(true));
    });
}

/// Waiting threads hold no lock: all other operations continue.
#[test]
fn other_threads_use_the_multiplexer() {
    finishes(|| {
        let multiplexer = multiplexer();
        let (first, feed) = add(&multiplexer, A);
        let waiting = [
            waits(&multiplexer, |multiplexer| multiplexer.wait_drained(A, FOREVER).unwrap()),
            waits(&multiplexer, |multiplexer| multiplexer.wait_all_drained(FOREVER)),
            waits(&multiplexer, |multiplexer| multiplexer.wait_closed(FOREVER)),
        ];
        for round in 0..1000 {
            let (id, _feed) = add(&multiplexer, A);
            feed.push(round);
            assert_eq!(multiplexer.try_recv(A), Ok((first, Some(round))));
            assert_eq!(pollster::block_on(multiplexer.send_one(id, round)), Ok(()));
            multiplexer.change_stream_channel(id, B).unwrap();
            assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
            multiplexer.add_channel(9).unwrap();
            multiplexer.change_stream_channel(id, 9).unwrap();
            assert_eq!(multiplexer.try_recv(B), Ok((id, None)));
            assert!(multiplexer.discard_channel(9));
            assert_eq!(multiplexer.channel_streams(A), Some(vec![first]));
            assert!(!format!("{multiplexer:?}").is_empty());
            assert!(waiting.iter().all(|thread| !thread.is_finished()), "it is open, and a stream is there");
        }
        multiplexer.close();
        assert!(multiplexer.discard_stream(first));
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
    });
}
