//! Polling a [`StreamSlab`]: the turns of its members.

use super::{Member, RecvMany, StreamSlab, Untold};
use crate::engine::patience::Patience;
use crate::unwind::on_panic;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl<St: Stream + Unpin> Stream for StreamSlab<St> {
    type Item = (usize, Option<St::Item>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(Some(cx), &mut Patience::default())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Each member yields at least its end. Adding up the size hints of all members would cost a walk through all
        // members.
        let untold = self.untold.as_ref().map_or(0, |untold| usize::from(!untold.is_member));
        (self.len() + untold, if self.is_empty() { Some(untold) } else { None })
    }
}

impl<St: Stream + Unpin> FusedStream for StreamSlab<St> {
    /// Whether the slab was polled while it was empty, and no stream was inserted since.
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

impl<St: Stream + Unpin> StreamSlab<St> {
    /// Waits for events and appends up to `limit` of them to `buffer`. Returns how many events it appended.
    ///
    /// The future waits for the first event only, and then takes further events that are available immediately. (A
    /// stream that always has an item fills any `limit`.) It returns 0 if the slab is empty or `limit` is 0. `buffer`
    /// grows only as far as needed.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::from_iter([stream::iter(0..10), stream::iter(0..10)]);
    /// let mut events = Vec::new();
    /// assert_eq!(block_on(slab.recv_many(&mut events, 3)), 3);
    /// assert_eq!(events, [(0, Some(0)), (1, Some(0)), (0, Some(1))]);
    /// ```
    ///
    /// # Panics
    ///
    /// If a stream's poll panics, or its drop after it has ended. The events that were received before are in `buffer`; see
    /// [above](Self#panics). Also if the future is polled again after it has completed.
    ///
    /// # Cancel safety
    ///
    /// The future takes no event before it completes. Dropping it loses no event.
    pub fn recv_many<'a>(
        &'a mut self,
        buffer: &'a mut Vec<(usize, Option<St::Item>)>,
        limit: usize,
    ) -> RecvMany<'a, St> {
        RecvMany::new(self, buffer, limit)
    }

    /// Polls for events and appends up to `limit` of them to `buffer`, as [`recv_many`](Self::recv_many)
    /// does.
    ///
    /// - `Pending`: there is no event now. The task is woken when there is one.
    /// - `Ready(n)`: `n` events were appended. `n` is 0 if the slab is empty or `limit` is 0.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use std::future::poll_fn;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::from_iter([stream::iter(0..10)]);
    /// let mut events = Vec::new();
    /// assert_eq!(block_on(poll_fn(|cx| slab.poll_recv_many(cx, &mut events, 2))), 2);
    /// assert_eq!(events, [(0, Some(0)), (0, Some(1))]);
    /// ```
    ///
    /// # Panics
    ///
    /// If a stream's poll panics, or its drop after it has ended. The events that were received before are in `buffer`.
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<(usize, Option<St::Item>)>,
        limit: usize,
    ) -> Poll<usize> {
        self.poll_many(cx, limit, |event| buffer.push(event))
    }

    /// [`poll_recv_many`](Self::poll_recv_many), which passes each event to `report`.
    #[inline]
    pub(crate) fn poll_many(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        mut report: impl FnMut((usize, Option<St::Item>)),
    ) -> Poll<usize> {
        if limit == 0 {
            return Poll::Ready(0);
        }
        let mut patience = Patience::default();
        let Some(first) = ready!(self.poll_event(Some(cx), &mut patience)) else { return Poll::Ready(0) };
        report(first);
        let mut received = 1;
        while received < limit {
            patience.note_event();
            let Poll::Ready(Some(event)) = self.poll_event(None, &mut patience) else { break };
            report(event);
            received += 1;
        }
        Poll::Ready(received)
    }
}

impl<St: Stream + Unpin> StreamSlab<St> {
    /// Takes turns until one yields an event. Returns `Ready(None)` if the slab is empty. If no member is ready,
    /// registers the waker of `cx` and returns `Pending`; without a `cx`, only returns `Pending`.
    // The event is returned in the shape in which `poll_next` returns it. Passing it to a closure, or in an enum with the
    // other outcomes, costs up to 20 instructions more per item.
    #[inline]
    fn poll_event(
        &mut self,
        mut cx: Option<&mut Context<'_>>,
        patience: &mut Patience,
    ) -> Poll<Option<(usize, Option<St::Item>)>> {
        if self.untold.is_some() {
            return self.tell_untold();
        }
        loop {
            let Some(key) = self.members.next_turn() else {
                let Some(cx) = &mut cx else { return Poll::Pending };
                if self.is_empty() {
                    self.terminated = true;
                    return Poll::Ready(None);
                }
                if let Some(epoch) = self.members.park() {
                    let waker = cx.waker().clone();
                    if self.members.tasks().wait(&mut self.waiter, epoch, waker) {
                        return Poll::Pending;
                    }
                }
                continue;
            };
            match self.poll_member(key) {
                Some(Poll::Ready(Some(item))) => {
                    self.members.keep_ready(key);
                    return Poll::Ready(Some((key, Some(item))));
                }
                Some(Poll::Ready(None)) => {
                    self.drop_member(key);
                    return Poll::Ready(Some((key, None)));
                }
                Some(Poll::Pending) => {
                    self.members.clear_ready(key);
                    patience.note(self.members.was_woken(key));
                }
                // A stale wake of a vacant slot.
                None => {
                    self.members.clear_ready(key);
                    patience.fruitless += 1;
                }
            }
            if patience.is_exhausted() {
                if let Some(cx) = cx {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    /// Reports the end of a member that panicked.
    #[cold]
    fn tell_untold(&mut self) -> Poll<Option<(usize, Option<St::Item>)>> {
        let Untold { key, is_member } = self.untold.take().expect("the caller has checked it");
        if is_member {
            self.drop_member(key);
        }
        Poll::Ready(Some((key, None)))
    }

    #[inline]
    fn poll_member(&mut self, key: usize) -> Option<Poll<Option<St::Item>>> {
        let Member { stream, waker } = self.members.slots_mut().get_mut(key)?;
        let untold = &mut self.untold;
        let note = on_panic(move || *untold = Some(Untold { key, is_member: true }));
        let poll = Pin::new(stream).poll_next(&mut Context::from_waker(waker));
        note.defuse();
        Some(poll)
    }

    /// Drops a member that has ended. The caller reports the end, or the next poll if the drop panics.
    fn drop_member(&mut self, key: usize) {
        let member = self.take(key);
        let untold = &mut self.untold;
        let note = on_panic(move || *untold = Some(Untold { key, is_member: false }));
        drop(member);
        note.defuse();
    }
}
