//! Errors: each is `Error + Send + Sync`, describes what happened, has a source, and returns what the caller passed in.

use crate::support;
use futures::stream::BoxStream;
use futures::{FutureExt, Sink, SinkExt, StreamExt, stream};
use std::error::Error;
use std::rc::Rc;
use stream_multiplexer::{AddStreamError, Multiplexer, MultiplexerError, SendError, StreamId, TryRecvError};
use support::{Broken, Feed, Gate, Gatekeeper, Pipe, gate, pipe};

const CHANNEL: usize = 7;
const UNKNOWN: usize = 99;

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;

fn multiplexer() -> Pairs {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    multiplexer
}

fn add(multiplexer: &Pairs) -> (StreamId, Feed<u32>, Gatekeeper<u32>) {
    let (feed, pipe) = pipe();
    let (keeper, gate) = gate(1);
    (multiplexer.add_stream_pair(gate, pipe, CHANNEL).unwrap(), feed, keeper)
}

/// The output of a future that is ready immediately.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("it is ready")
}

fn any_id() -> StreamId {
    add(&multiplexer()).0
}

fn assert_error<E: Error + Send + Sync + 'static>() {}

#[test]
fn all_are_errors_that_may_be_sent_and_shared() {
    assert_error::<MultiplexerError>();
    assert_error::<TryRecvError>();
    assert_error::<SendError<Broken>>();
    assert_error::<SendError<std::io::Error>>();
    assert_error::<AddStreamError<Pipe<u32>, Gate<u32>>>();
}

/// With `?`, in a `main` that returns a boxed error.
#[test]
fn all_can_be_boxed() {
    fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
        let multiplexer = multiplexer();
        multiplexer.add_channel(CHANNEL + 1)?;
        let id = multiplexer.add_stream_pair(gate(1).1, pipe().1, CHANNEL)?;
        now(multiplexer.send_one(id, 1))?;
        multiplexer.try_recv(UNKNOWN)?;
        Ok(())
    }
    assert_eq!(run().unwrap_err().to_string(), "channel 99 is unknown");
}

/// Also with streams that are `Send` but not `Sync`, as boxed streams are. The boxed error still contains the pair.
#[test]
fn a_pair_that_was_not_added_can_be_boxed() {
    type BoxSink = Box<dyn Sink<u32, Error = Broken> + Send + Unpin>;
    type Refused<Si> = AddStreamError<BoxStream<'static, u32>, Si>;

    fn run(stream: BoxStream<'static, u32>) -> Result<StreamId, Box<dyn Error + Send + Sync>> {
        Ok(Multiplexer::<_, Gate<u32>>::new().add_stream(stream, UNKNOWN)?)
    }
    fn run_pair(stream: BoxStream<'static, u32>) -> Result<StreamId, Box<dyn Error + Send + Sync>> {
        let sink: BoxSink = Box::new(gate(1).1);
        Ok(Multiplexer::new().add_stream_pair(sink, stream, UNKNOWN)?)
    }
    let error = run(stream::iter([5]).boxed()).unwrap_err();
    assert_eq!(error.to_string(), "stream pair not added: channel 99 is unknown");
    let ((), mut stream) = error.downcast::<Refused<()>>().unwrap().into_parts();
    assert_eq!(now(stream.next()), Some(5));

    let error = run_pair(stream::iter([5]).boxed()).unwrap_err();
    let (mut sink, mut stream) = error.downcast::<Refused<BoxSink>>().unwrap().into_parts();
    assert_eq!((now(sink.send(6)), now(stream.next())), (Ok(()), Some(5)));
}

#[test]
fn each_describes_what_happened() {
    let id = any_id();
    let told = [
        (MultiplexerError::DuplicateChannel(3).to_string(), "channel 3 already exists"),
        (MultiplexerError::UnknownChannel(3).to_string(), "channel 3 is unknown"),
        (MultiplexerError::UnknownStream(id).to_string(), "stream 1 is unknown"),
        (MultiplexerError::ChannelFull(3).to_string(), "channel 3 is full"),
        (MultiplexerError::Closed.to_string(), "the multiplexer or the channel is closed"),
        (MultiplexerError::Ended(id).to_string(), "stream 1 has ended"),
        (MultiplexerError::Busy(id).to_string(), "stream 1 is being polled"),
        (TryRecvError::Empty.to_string(), "nothing to receive now"),
        (TryRecvError::UnknownChannel(3).to_string(), "channel 3 is unknown"),
        (TryRecvError::Closed.to_string(), "the channel is closed and empty"),
        (SendError::<Broken>::UnknownStream(id).to_string(), "stream 1 is unknown"),
        (SendError::<Broken>::Closed(id).to_string(), "stream 1 is closed"),
        (SendError::<Broken>::Unflushed(id).to_string(), "the sink of stream 1 was not flushed"),
        (SendError::Sink { id, error: Broken }.to_string(), "the sink of stream 1 failed"),
    ];
    for (said, words) in told {
        assert_eq!(said, words);
    }
}

/// The message does not repeat the source's message, so that reports which print the whole chain read well.
#[test]
fn a_failed_sink_is_the_source() {
    let multiplexer = multiplexer();
    let (id, _, keeper) = add(&multiplexer);
    keeper.fail();
    let error = now(multiplexer.send_one(id, 1)).unwrap_err();
    assert_eq!(error, SendError::Sink { id, error: Broken });
    assert_eq!(error.source().unwrap().downcast_ref::<Broken>(), Some(&Broken));
    assert!(!error.to_string().contains(&Broken.to_string()));
    assert!(SendError::<Broken>::UnknownStream(id).source().is_none());
}

#[test]
fn the_reason_why_a_pair_was_not_added_is_the_source() {
    let multiplexer = multiplexer();
    let error = multiplexer.add_stream_pair(gate(1).1, pipe().1, UNKNOWN).unwrap_err();
    let reason = MultiplexerError::UnknownChannel(UNKNOWN);
    assert_eq!(error.source().unwrap().downcast_ref::<MultiplexerError>(), Some(&reason));
    assert_eq!(error.to_string(), "stream pair not added: channel 99 is unknown");
    assert_eq!(MultiplexerError::from(error), reason);
    assert!(reason.source().is_none() && TryRecvError::Empty.source().is_none());
}

#[test]
fn a_pair_that_was_not_added_comes_back() {
    let multiplexer = multiplexer();
    let (feed, stream) = pipe();
    let (keeper, sink) = gate(1);
    let refused = multiplexer.add_stream_pair(sink, stream, UNKNOWN).unwrap_err();
    assert_eq!(refused.reason(), MultiplexerError::UnknownChannel(UNKNOWN));
    let (sink, stream) = refused.into_parts();

    multiplexer.close();
    let refused = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap_err();
    assert_eq!(refused.reason(), MultiplexerError::Closed);
    assert!(!feed.is_dropped() && !keeper.is_dropped());
    let (sink, mut stream) = refused.into_parts();
    feed.push(1);
    assert_eq!(now(stream.next()), Some(1));
    drop(sink);
    assert!(keeper.is_dropped());
}

#[test]
fn a_stream_that_was_not_added_comes_back() {
    let multiplexer = Multiplexer::<Pipe<u32>>::new();
    let (feed, stream) = pipe();
    let refused = multiplexer.add_stream(stream, UNKNOWN).unwrap_err();
    assert_eq!(refused.reason(), MultiplexerError::UnknownChannel(UNKNOWN));
    feed.push(1);
    assert_eq!(now(refused.into_parts().1.next()), Some(1));
}

#[test]
fn a_refused_pair_leaves_nothing_behind() {
    let multiplexer = multiplexer();
    let before = format!("{multiplexer:?}");
    drop(multiplexer.add_stream_pair(gate(1).1, pipe().1, UNKNOWN));
    assert_eq!(format!("{multiplexer:?}"), before);
}

/// Any pair can be unwrapped from the error; its `Debug` output does not show the pair.
#[test]
fn a_pair_that_was_not_added_need_not_be_printable() {
    struct Opaque;
    let stream = stream::pending::<Opaque>();
    let refused = Multiplexer::new().add_stream_pair(Rc::new(Opaque), stream, 5).unwrap_err();
    assert_eq!(format!("{refused:?}"), "AddStreamError { reason: UnknownChannel(5), .. }");
    assert_eq!(refused.to_string(), "stream pair not added: channel 5 is unknown");
}

#[test]
fn a_send_error_knows_its_stream() {
    let id = any_id();
    let errors = [
        SendError::UnknownStream(id),
        SendError::Closed(id),
        SendError::Unflushed(id),
        SendError::Sink { id, error: Broken },
    ];
    assert!(errors.iter().all(|error| error.stream_id() == id));
}

/// Errors can be compared, to distinguish refused operations.
#[test]
fn errors_compare() {
    assert_eq!(MultiplexerError::Closed, MultiplexerError::Closed);
    assert_ne!(MultiplexerError::UnknownChannel(1), MultiplexerError::UnknownChannel(2));
    assert_ne!(MultiplexerError::UnknownChannel(1), MultiplexerError::DuplicateChannel(1));
    assert_ne!(TryRecvError::Empty, TryRecvError::UnknownChannel(1));
}
