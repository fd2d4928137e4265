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
    /// Waits for the next event of a channel: the stream, and an item, or `None` if the stream left this channel.
    ///
    /// Resolves to `Result<(StreamId, Option<St::Item>), MultiplexerError>`. A [`receiver`](Self::receiver) also reports
    /// why a stream left, and looks up the channel once instead of for each event. To receive from several channels use a
    /// [`select`](Self::select).
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel) if there is no channel with this id, or it was removed;
    /// [`Closed`](MultiplexerError::Closed) if it is empty and was [closed](Self::close).
    ///
    /// # Panics
    ///
    /// If a stream's poll panics. Its pair is removed; everything else goes on. Also if it is polled again after
    /// completion.
    ///
    /// # Cancel safety
    ///
    /// It takes nothing before it completes, so dropping it loses nothing.
    ///
    /// # Several channels
    ///
    /// `select_biased!` over several of these asks them in their order: while the first always has an event, the second is
    /// never asked. A [`select`](Self::select) prefers a channel without starving the others.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    /// assert_eq!(block_on(multiplexer.recv(1))?, (id, Some(5)));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn recv(&self, channel: ChannelId) -> Recv<'_, St, Si> {
        Recv::new(self.registry(), channel)
    }

    /// Returns the next event of a channel, if there is one now. It does not wait, and does not register a waker.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::{Multiplexer, TryRecvError};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// assert_eq!(multiplexer.try_recv(1), Err(TryRecvError::Empty));
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    /// assert_eq!(multiplexer.try_recv(1), Ok((id, Some(5))));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Empty`](TryRecvError::Empty) if this call found nothing. That need not mean that no stream has an item: one
    /// call polls a bounded number of streams ([`ChannelReceiver`] says how many), and tokio's streams return `Pending`
    /// once their task has used up its cooperative budget. Let the executor run (`yield_now`) and try again.
    /// [`UnknownChannel`](TryRecvError::UnknownChannel) and [`Closed`](TryRecvError::Closed) as for
    /// [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// If a stream's poll panics. Its pair is removed; everything else goes on.
    pub fn try_recv(&self, channel: ChannelId) -> Result<(StreamId, Option<St::Item>), TryRecvError> {
        try_recv(self.registry(), channel)
    }

    /// Creates a receiver for a channel: a `Stream` of its events.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on, stream};
    /// use stream_multiplexer::{Multiplexer, StreamEvent};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    /// let mut receiver = multiplexer.receiver(1)?;
    /// assert_eq!(block_on(receiver.next()), Some((id, StreamEvent::Item(5))));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel).
    pub fn receiver(&self, channel: ChannelId) -> Result<ChannelReceiver<St, Si>, MultiplexerError> {
        ChannelReceiver::new(self.registry(), channel)
    }

    /// Creates a receiver for several channels: a `Stream` of their events, by priority and weight. It has no channels
    /// yet: [add](ChannelSelect::add) them.
    ///
    /// Cost: it [flushes unflushed sinks](ChannelSelect::drive_flushes). If no other select or flusher does so yet, this call
    /// looks at every sink once.
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
