//! futures-buffered's `MergeBounded`.

use super::Peer;
use futures::Stream;
use futures_buffered::MergeBounded;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub struct Adapter<St>(MergeBounded<St>);

impl<St: Stream<Item = u64> + Unpin + Default> Peer<St> for Adapter<St> {
    const NAME: &'static str = "futures-buffered MergeBounded";
    const CAN_GROW: bool = false;
    type Key = ();

    fn new(capacity: usize) -> Self {
        // The set has room for as many streams as it is collected from. These streams have ended, and a poll removes them.
        let mut merge: MergeBounded<St> = (0..capacity).map(|_| St::default()).collect();
        // The set sometimes returns `Pending` to yield.
        while Pin::new(&mut merge).poll_next(&mut Context::from_waker(Waker::noop())).is_pending() {}
        Self(merge)
    }

    fn insert(&mut self, stream: St) {
        self.0.push(stream);
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<((), u64)>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| Some(((), item?)))
    }
}
