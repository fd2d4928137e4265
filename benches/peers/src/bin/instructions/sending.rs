//! The cost of sending. Only our columns: the peers do not send.

use crate::cases::Counted;
use futures::stream::{Pending, pending};
use futures::{Sink, Stream};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{Flusher, Multiplexer, StreamId};

/// A workload of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Workload {
    /// Sends an item to one sink, which is ready and flushes.
    One,
    /// Sends an item to all sinks of a channel. Each sink counts as one item.
    All,
    /// Feeds an item to all sinks of a channel, which the flusher then flushes. Each sink counts as one item.
    Feed,
    /// One of many unflushed sinks wakes. The flusher flushes it and goes to sleep. The next item is sent to this sink and
    /// stays unflushed.
    Sparse,
    /// All unflushed sinks wake before the flusher is polled.
    Burst,
}

const WORKLOADS: [(Workload, &str, &str); 5] = [
    (Workload::One, "Multiplexer", "try_send"),
    (Workload::All, "Multiplexer", "try_send_to"),
    (Workload::Feed, "Flusher", "try_feed_to"),
    (Workload::Sparse, "Flusher", "sparse"),
    (Workload::Burst, "Flusher", "burst"),
];

/// One cell.
pub struct Sending {
    workload: Workload,
    sinks: usize,
}

impl Sending {
    pub fn all(sizes: &[usize]) -> Vec<Self> {
        let of = |workload| sizes.iter().map(move |&sinks| Self { workload, sinks });
        WORKLOADS.iter().flat_map(|(workload, ..)| of(*workload)).collect()
    }

    pub fn parse(column: &str, workload: &str, sinks: &str) -> Option<Self> {
        let (workload, ..) = WORKLOADS.iter().find(|(_, of, name)| (*of, *name) == (column, workload))?;
        Some(Self { workload: *workload, sinks: sinks.parse().ok()? })
    }

    pub fn run(&self, rounds: u64) {
        let mut scene = Scene::new(self.sinks);
        match self.workload {
            Workload::One => (0..rounds).for_each(|_| scene.send_to_one()),
            Workload::All => (0..rounds).for_each(|_| scene.send_to_all()),
            Workload::Feed => {
                let mut flusher = scene.multiplexer.flusher();
                (0..rounds).for_each(|_| scene.feed_all(&mut flusher));
            }
            Workload::Sparse | Workload::Burst => {
                let woken = if self.workload == Workload::Sparse { 1 } else { self.sinks };
                let mut flusher = scene.multiplexer.flusher();
                scene.shut_all();
                (0..rounds).for_each(|_| scene.flush(&mut flusher, woken));
            }
        }
    }
}

impl Counted for Sending {
    fn name(&self) -> [String; 3] {
        let (_, column, name) = WORKLOADS.iter().find(|(of, ..)| *of == self.workload).expect("it is there");
        [(*column).to_owned(), (*name).to_owned(), self.sinks.to_string()]
    }

    fn rounds(&self) -> u64 {
        5_000_usize.div_ceil(self.items_per_round()) as u64
    }

    fn items_per_round(&self) -> usize {
        match self.workload {
            Workload::One | Workload::Sparse => 1,
            Workload::All | Workload::Feed | Workload::Burst => self.sinks,
        }
    }
}

type Mux = Multiplexer<Pending<()>, Lazy>;

struct Scene {
    multiplexer: Mux,
    sinks: Vec<Lazy>,
    ids: Vec<StreamId>,
    at: usize,
}

impl Scene {
    /// Creates a scene with open sinks.
    fn new(sinks: usize) -> Self {
        let multiplexer = Mux::new();
        multiplexer.add_channel(0).expect("it is new");
        let sinks: Vec<_> = (0..sinks).map(|_| Lazy::default()).collect();
        let add = |sink: &Lazy| multiplexer.add_stream_pair(sink.clone(), pending(), 0).expect("it is open");
        let ids = sinks.iter().map(add).collect();
        Self { multiplexer, sinks, ids, at: 0 }
    }

    fn next(&mut self) -> usize {
        self.at = (self.at + 7) % self.sinks.len();
        self.at
    }

    fn send_to_one(&mut self) {
        let at = self.next();
        assert_eq!(self.multiplexer.try_send(self.ids[at], 1), Ok(()));
    }

    fn send_to_all(&mut self) {
        let sent = self.multiplexer.try_send_to(0, 1, |_, _| unreachable!());
        assert_eq!(sent, Ok(self.sinks.len()));
    }

    fn feed_all(&mut self, flusher: &mut Flusher<Pending<()>, Lazy, u32>) {
        let reset = |sink: &Lazy| (sink.0.is_open.set(true), sink.0.shuts.set(true));
        self.sinks.iter().for_each(|sink| _ = reset(sink));
        let fed = self.multiplexer.try_feed_to(0, 1, |_, _| unreachable!());
        assert_eq!(fed, Ok(self.sinks.len()));
        poll(flusher, self.sinks.len());
        assert!(self.sinks.iter().all(|sink| !sink.0.is_open.get()), "they were flushed");
    }

    /// Shuts all sinks. Each is unflushed from now on.
    fn shut_all(&mut self) {
        self.sinks.iter().for_each(|sink| sink.0.is_open.set(false));
        self.send_to_all();
    }

    /// Wakes `woken` sinks, flushes them, and sends a new item to each.
    fn flush(&mut self, flusher: &mut Flusher<Pending<()>, Lazy, u32>, woken: usize) {
        let first = self.next();
        let some = (0..woken).map(|nth| (first + nth) % self.sinks.len());
        some.clone().for_each(|at| self.sinks[at].open());
        poll(flusher, woken);
        for at in some {
            assert!(!self.sinks[at].0.is_open.get(), "it was flushed");
            assert_eq!(self.multiplexer.try_send(self.ids[at], 1), Ok(()));
        }
    }
}

/// Polls the flusher until it sleeps, after so many sinks were woken.
fn poll(flusher: &mut Flusher<Pending<()>, Lazy, u32>, woken: usize) {
    let mut cx = Context::from_waker(Waker::noop());
    // The flusher yields after every 64 sinks.
    for _ in 0..=woken / 64 {
        assert!(Pin::new(&mut *flusher).poll_next(&mut cx).is_pending());
    }
}

/// A sink that is always ready. After it was shut, it flushes once each time it is opened.
#[derive(Clone)]
struct Lazy(Rc<State>);

struct State {
    is_open: Cell<bool>,
    shuts: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Default for Lazy {
    fn default() -> Self {
        let [is_open, shuts] = [true, false].map(Cell::new);
        Self(Rc::new(State { is_open, shuts, waker: RefCell::default() }))
    }
}

impl Lazy {
    fn open(&self) {
        self.0.is_open.set(true);
        self.0.shuts.set(true);
        self.0.waker.take().expect("it was flushed in vain").wake();
    }
}

impl Sink<u32> for Lazy {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: u32) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let state = &self.0;
        if state.is_open.get() {
            state.is_open.set(!state.shuts.get());
            return Poll::Ready(Ok(()));
        }
        let mut waker = state.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}
