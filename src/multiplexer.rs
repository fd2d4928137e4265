//! [`Multiplexer`]: the handle. Its methods are in the modules below, by topic.

// The documentation shows the methods in this order.
mod lifecycle;

mod channels;
mod pairs;

mod receiving;
mod sending;

mod limits;
mod pausing;

#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
mod blocking;

use crate::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// Stream pairs in channels. Receive from one channel or several; send to one pair or many.
///
/// It is a handle. Clones are cheap and refer to the same multiplexer, every method takes `&self`, and any thread may use it
/// if the streams and sinks are `Send`. When the last clone is dropped, the multiplexer is
/// [closed](Self::close).
///
/// `St` is the type of the streams and `Si` that of the sinks. Mind the order: type parameters are stream, then sink;
/// arguments are sink, then stream. A stream need not be `Unpin`, except for methods that return
/// it (a `Pin<Box<_>>` always is). A sink must be `Unpin`, or boxed. For streams of several types use
/// `Pin<Box<dyn Stream<Item = ...> + Send>>`. [`add_stream`](Multiplexer::add_stream) adds a stream without a sink; if
/// no stream has one, create the multiplexer by [`without_sinks`](Multiplexer::without_sinks).
///
/// ```
/// use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
/// use stream_multiplexer::Multiplexer;
///
/// const GUESTS: usize = 1;
/// const MEMBERS: usize = 2;
///
/// let multiplexer = Multiplexer::new();
/// multiplexer.add_channel(GUESTS)?;
/// multiplexer.add_channel(MEMBERS)?;
///
/// let (sink, mut peer) = mpsc::unbounded();
/// let id = multiplexer.add_stream_pair(sink, stream::iter(["let me in", "thanks"]), GUESTS)?;
///
/// block_on(async {
///     assert_eq!(multiplexer.recv(GUESTS).await?, (id, Some("let me in")));
///     assert!(multiplexer.send([id], "welcome").await.is_ok());
///     multiplexer.change_stream_channel(id, MEMBERS)?;
///     assert_eq!(multiplexer.recv(GUESTS).await?, (id, None));
///     assert_eq!(multiplexer.recv(MEMBERS).await?, (id, Some("thanks")));
///     assert_eq!(peer.next().await, Some("welcome"));
///     Ok::<(), stream_multiplexer::MultiplexerError>(())
/// })?;
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
pub struct Multiplexer<St, Si = ()> {
    handle: Arc<Handle<St, Si>>,
}

/// Shared by the clones of a handle. Closes the multiplexer when the last clone is dropped.
struct Handle<St, Si> {
    registry: Arc<Registry<St, Si>>,
}

impl<St, Si> Drop for Handle<St, Si> {
    fn drop(&mut self) {
        self.registry.abandon();
    }
}

impl<St, Si> Multiplexer<St, Si> {
    fn over(registry: Registry<St, Si>) -> Self {
        Self { handle: Arc::new(Handle { registry: Arc::new(registry) }) }
    }

    fn registry(&self) -> &Arc<Registry<St, Si>> {
        &self.handle.registry
    }
}

impl<St, Si> Clone for Multiplexer<St, Si> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<St, Si> Default for Multiplexer<St, Si> {
    fn default() -> Self {
        Self::new()
    }
}

impl<St, Si> fmt::Debug for Multiplexer<St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (channels, pairs) = self.registry().len();
        f.debug_struct("Multiplexer")
            .field("channels", &channels)
            .field("pairs", &pairs)
            .finish_non_exhaustive()
    }
}
