//! futures-buffered's `MergeUnbounded`.

use super::Peer;
use futures::Stream;
use futures_buffered::MergeUnbounded;
use std::pin::Pin;
use std::task::{Context, Poll};

pub struct Adapter<St>(MergeUnbounded<St>);

impl<St: Stream<Item = u64> + Unpin> Peer<St> for Adapter<St> {
    const NAME: &'static str = "futures-buffered MergeUnbounded";
    type Key = ();

    fn new(_: usize) -> Self {
        Self(MergeUnbounded::new())
    }

    fn insert(&mut self, stream: St) {
        self.0.push(stream);
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<((), u64)>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| Some(((), item?)))
    }
}
