//! [`Sent`]: the results of a send to many streams.

use crate::error::SendError;
use crate::id::StreamId;
use std::{slice, vec};

/// The results of a send to many streams, one for each, in the order of the ids. Returned by
/// [`Multiplexer::send`](crate::Multiplexer::send).
///
/// ```
/// # use futures::{channel::mpsc, executor::block_on, stream};
/// # use stream_multiplexer::Multiplexer;
/// # let multiplexer = Multiplexer::new();
/// # multiplexer.add_channel(1)?;
/// # let (sink, _peer) = mpsc::unbounded();
/// # let alice = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
/// # let (sink, _) = mpsc::unbounded();
/// # let bob = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
/// # block_on(async {
/// // Bob's peer is gone.
/// let sent = multiplexer.send([alice, bob], "hello").await;
/// assert!(!sent.is_ok());
/// for failure in sent.failures() {
///     assert_eq!(failure.stream_id(), bob);
///     multiplexer.remove_stream(bob);
/// }
/// # });
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "some of the streams may not have received the item"]
pub struct Sent<E> {
    results: Vec<Result<StreamId, SendError<E>>>,
}

impl<E> Sent<E> {
    pub(crate) fn new(results: Vec<Result<StreamId, SendError<E>>>) -> Self {
        Self { results }
    }

    /// Whether every sink has the item and was flushed.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = block_on(multiplexer.send([id], 5));
    /// assert!(sent.is_ok());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Returns the errors: for streams that did not get the item, or whose sinks were not flushed.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = block_on(multiplexer.send([id], 5));
    /// assert_eq!(sent.failures().count(), 0);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn failures(&self) -> impl Iterator<Item = &SendError<E>> {
        self.iter().filter_map(|result| result.as_ref().err())
    }

    /// Returns `Ok` if every sink has the item and was flushed.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = block_on(multiplexer.send([id], 5));
    /// assert!(sent.into_result().is_ok());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first of the [failures](Self::failures).
    pub fn into_result(self) -> Result<(), SendError<E>> {
        self.into_iter().try_for_each(|result| result.map(drop))
    }

    /// Returns an iterator over the results, in the order of the ids.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = block_on(multiplexer.send([id], 5));
    /// assert_eq!(sent.iter().filter(|result| result.is_ok()).count(), 1);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn iter(&self) -> slice::Iter<'_, Result<StreamId, SendError<E>>> {
        self.results.iter()
    }

    /// How many results there are: one for each id.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = block_on(multiplexer.send([id], 5));
    /// assert_eq!(sent.len(), 1);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Whether there were no ids.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = block_on(multiplexer.send([id], 5));
    /// assert!(!sent.is_empty());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// Each result, in the order of the ids.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = block_on(multiplexer.send([id], 5));
    /// assert_eq!(sent.as_slice(), [Ok(id)]);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn as_slice(&self) -> &[Result<StreamId, SendError<E>>] {
        &self.results
    }

    /// Returns the results, in the order of the ids.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = block_on(multiplexer.send([id], 5));
    /// assert_eq!(sent.into_vec(), [Ok(id)]);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn into_vec(self) -> Vec<Result<StreamId, SendError<E>>> {
        self.results
    }
}

impl<E> IntoIterator for Sent<E> {
    type Item = Result<StreamId, SendError<E>>;
    type IntoIter = vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.into_iter()
    }
}

impl<'a, E> IntoIterator for &'a Sent<E> {
    type Item = &'a Result<StreamId, SendError<E>>;
    type IntoIter = slice::Iter<'a, Result<StreamId, SendError<E>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The compiler warns about the first program, which drops the results unseen, and not about the second.
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # use stream_multiplexer::{Multiplexer, StreamId};
/// # type Sink = futures::channel::mpsc::Sender<u8>;
/// async fn unseen(multiplexer: &Multiplexer<futures::stream::Pending<()>, Sink>, id: StreamId) {
///     multiplexer.send([id], 5).await;
/// }
/// ```
///
/// ```
/// #![deny(unused_must_use)]
/// # use stream_multiplexer::{Multiplexer, StreamId};
/// # type Sink = futures::channel::mpsc::Sender<u8>;
/// async fn seen(multiplexer: &Multiplexer<futures::stream::Pending<()>, Sink>, id: StreamId) -> bool {
///     multiplexer.send([id], 5).await.is_ok()
/// }
/// ```
#[cfg(doctest)]
struct TheCompiler;
