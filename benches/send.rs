//! The cost of sending, beyond the sink's own part, to one sink and to many sinks, some of which are slow.
//!
//! Each benchmark checks that every sink received the items.

#![allow(missing_docs, reason = "criterion_group makes a function without any")]

mod parts;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::stream::{Pending, pending};
use futures::{FutureExt, Sink, Stream};
use parts::{Count, Counting};
use std::cell::RefCell;
use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{Multiplexer, StreamId};

const SIZES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

type Mux = Multiplexer<Pending<()>, Counting>;

fn filled(sinks: usize) -> (Mux, Vec<StreamId>, Vec<Rc<Count>>) {
    let multiplexer = Mux::new();
    multiplexer.add_channel(0).unwrap();
    let counts: Vec<Rc<Count>> = (0..sinks).map(|_| Rc::default()).collect();
    let add =
        |count: &Rc<Count>| multiplexer.add_stream_pair(Counting(Rc::clone(count)), pending(), 0).unwrap();
    let ids = counts.iter().map(add).collect();
    (multiplexer, ids, counts)
}

fn one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send to one of 1,000");
    let (multiplexer, ids, counts) = filled(1_000);
    let mut sent = 0;
    group.bench_function("the sink alone", |bencher| {
        let mut sink = Counting(Rc::clone(&counts[500]));
        let mut cx = Context::from_waker(Waker::noop());
        bencher.iter(|| {
            assert!(Pin::new(&mut sink).poll_ready(&mut cx).is_ready());
            Pin::new(&mut sink).start_send(1).unwrap();
            assert!(Pin::new(&mut sink).poll_flush(&mut cx).is_ready());
            sent += 1;
        });
    });
    group.bench_function("try_send", |bencher| {
        bencher.iter(|| {
            multiplexer.try_send(ids[500], 1).unwrap();
            sent += 1;
        });
    });
    group.bench_function("send_one", |bencher| {
        bencher.iter(|| {
            multiplexer.send_one(ids[500], 1).now_or_never().unwrap().unwrap();
            sent += 1;
        });
    });
    group.bench_function("send", |bencher| {
        bencher.iter(|| {
            assert!(multiplexer.send([ids[500]], 1).now_or_never().unwrap().is_ok());
            sent += 1;
        });
    });
    group.bench_function("StreamSender", |bencher| {
        let mut sender = multiplexer.sender(ids[500]).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        bencher.iter(|| {
            assert!(Pin::new(&mut sender).poll_ready(&mut cx).is_ready());
            Pin::new(&mut sender).start_send(1).unwrap();
            assert!(Pin::new(&mut sender).poll_flush(&mut cx).is_ready());
            sent += 1;
        });
    });
    assert_eq!(counts[500].items.get(), sent);
    group.finish();
}

fn broadcast(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("broadcast, per sink");
    for sinks in SIZES {
        let (multiplexer, ids, counts) = filled(sinks);
        let mut sent = 0;
        group.throughput(Throughput::Elements(sinks as u64));
        group.bench_function(BenchmarkId::new("all are ready", sinks), |bencher| {
            let mut cx = Context::from_waker(Waker::noop());
            bencher.iter(|| {
                let mut send = multiplexer.send(&ids, 1);
                // The flusher yields after a number of sinks.
                let sent_to = loop {
                    if let Poll::Ready(results) = send.poll_unpin(&mut cx) {
                        break results.len();
                    }
                };
                assert_eq!(sent_to, sinks);
                sent += 1;
            });
        });
        group.bench_function(BenchmarkId::new("try_send_to", sinks), |bencher| {
            bencher.iter(|| {
                assert_eq!(multiplexer.try_send_to(0, 1, |_, _| unreachable!()), Ok(sinks));
                sent += 1;
            });
        });
        assert!(counts.iter().all(|count| count.items.get() == sent));
        group.bench_function(BenchmarkId::new("one in ten is slow", sinks), |bencher| {
            let slow: Vec<_> = counts.iter().step_by(10).collect();
            let mut cx = Context::from_waker(Waker::noop());
            bencher.iter(|| {
                slow.iter().for_each(|count| count.is_shut.set(true));
                let mut send = multiplexer.send(&ids, 1);
                for _ in 0..=sinks / 64 {
                    assert!(send.poll_unpin(&mut cx).is_pending());
                }
                slow.iter().for_each(|count| count.open());
                // The send yields when many sinks were not ready.
                while send.poll_unpin(&mut cx).is_pending() {}
                sent += 1;
            });
        });
        assert!(counts.iter().all(|count| count.items.get() == sent), "each sink got each item once");
    }
    group.finish();
}

/// One of many unflushed sinks is woken, flushed, and takes the next item, which it does not flush immediately.
fn flusher(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("the flusher, per sink that was woken");
    for sinks in SIZES {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(0).unwrap();
        let lazy: Vec<_> = (0..sinks).map(|_| Lazy::default()).collect();
        let add = |sink: &Lazy| multiplexer.add_stream_pair(sink.clone(), pending::<()>(), 0).unwrap();
        let ids: Vec<_> = lazy.iter().map(add).collect();
        ids.iter().for_each(|id| multiplexer.try_send(*id, 1).unwrap());
        let mut flusher = multiplexer.flusher::<usize>();
        let mut cx = Context::from_waker(Waker::noop());
        let mut drive = || assert!(Pin::new(&mut flusher).poll_next(&mut cx).is_pending());
        (0..sinks).for_each(|_| drive());
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(sinks), |bencher| {
            bencher.iter(|| {
                at = (at + 7) % sinks;
                let (waker, flushed) = lazy[at].open();
                waker.wake();
                drive();
                assert_eq!(lazy[at].flushed(), flushed + 1);
                multiplexer.try_send(ids[at], 1).unwrap();
                drive();
            });
        });
    }
    group.finish();
}

/// A sink that flushes once each time it is opened.
#[derive(Clone, Default)]
struct Lazy(Rc<RefCell<(bool, usize, Option<Waker>)>>);

impl Lazy {
    /// The sink's waker, and the number of its flushes.
    fn open(&self) -> (Waker, usize) {
        let mut state = self.0.borrow_mut();
        state.0 = true;
        (state.2.take().expect("it was flushed in vain"), state.1)
    }

    fn flushed(&self) -> usize {
        self.0.borrow().1
    }
}

impl Sink<usize> for Lazy {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let mut state = self.0.borrow_mut();
        if mem::take(&mut state.0) {
            state.1 += 1;
            return Poll::Ready(Ok(()));
        }
        state.2 = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

criterion_group!(benches, one, broadcast, flusher);
criterion_main!(benches);
