//! Receiving, by the handle.

use super::Multiplexer;
use crate::channel::receiver::ChannelReceiver;
use crate::channel::recv::{Recv, try_recv};
use crate::channel::select::ChannelSelect;
use crate::error::{MultiplexerError, TryRecvError};
use crate::id::{ChannelId, StreamId};
use futures_core::Stream;

/// Receiving.
impl<St: Stream, Si> Multiplexer<St, Si> {
    /// The next event of a channel: the stream, and an item or `None` when the stream left this channel.
    ///
    /// Resolves to `Result<(StreamId, Option<St::Item>), MultiplexerError>`. Whether a stream ended, was
    /// moved or was removed is told by a [`receiver`](Self::receiver), which also looks up the channel once
    /// and not for each event.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel) if there is no channel with this id, or it was removed;
    /// [`Closed`](MultiplexerError::Closed) if it is empty and was [closed](Self::close).
    ///
    /// # Panics
    ///
    /// When a stream's poll panics. Its pair is removed; everything else goes on. Also when polled again after
    /// completion.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing, so nothing is lost.
    ///
    /// # One channel first
    ///
    /// The branches of a biased `select!` are asked in their order, and it waits for all of them. While the
    /// first always has something, the second is not asked; a program that does not want that asks the
    /// second one now and then, as the example `line_server` does.
    ///
    /// ```
    /// # use futures::{FutureExt, executor::block_on, select_biased, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(1)?;
    /// # multiplexer.add_channel(2)?;
    /// # multiplexer.add_stream(stream::iter([1]), 1)?;
    /// # block_on(async {
    /// let (id, item) = select_biased! {
    ///     paying = multiplexer.recv(1).fuse() => paying?,
    ///     free = multiplexer.recv(2).fuse() => free?,
    /// };
    /// # assert_eq!(item, Some(1));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// # })?;
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn recv(&self, channel: ChannelId) -> Recv<'_, St, Si> {
        Recv::new(self.registry(), channel)
    }

    /// The next event of a channel, if there is one at once.
    ///
    /// It does not wait: whoever finds nothing and goes to sleep elsewhere is not woken by this channel. To
    /// wait for several channels and favour one see [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// [`Empty`](TryRecvError::Empty) if this call found nothing. There may be more: one call polls a bounded
    /// number of streams ([`ChannelReceiver`] says how many), and a stream may say that it has nothing when
    /// its task has run for long enough, as tokio's do; let the executor run (`yield_now`) and ask again.
    /// [`UnknownChannel`](TryRecvError::UnknownChannel) and [`Closed`](TryRecvError::Closed) as for
    /// [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// When a stream's poll panics. Its pair is removed; everything else goes on.
    pub fn try_recv(&self, channel: ChannelId) -> Result<(StreamId, Option<St::Item>), TryRecvError> {
        try_recv(self.registry(), channel)
    }

    /// A receiver for a channel: a [`Stream`] of its events.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel).
    pub fn receiver(&self, channel: ChannelId) -> Result<ChannelReceiver<St, Si>, MultiplexerError> {
        ChannelReceiver::new(self.registry(), channel)
    }

    /// A receiver for several channels: a [`Stream`] of their events, by priority and weight. There is none in it yet:
    /// [add](ChannelSelect::add) them.
    ///
    /// Cost: it [flushes what is unflushed](ChannelSelect::drive_flushes), so if nobody does that yet it looks at every
    /// sink once.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on, stream};
    /// use stream_multiplexer::{Multiplexer, Share, StreamEvent};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_channel(2)?;
    /// let id = multiplexer.add_stream(stream::iter(["hello"]), 2)?;
    ///
    /// let mut select = multiplexer.select();
    /// select.add(1, Share::new())?;
    /// select.add(2, Share::new().priority(1))?;
    /// assert_eq!(block_on(select.next()), Some((2, id, StreamEvent::Item("hello"))));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn select(&self) -> ChannelSelect<St, Si> {
        ChannelSelect::new(self.registry())
    }
}
