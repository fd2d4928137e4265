//! Auto traits of all public types: `Send`, `Sync`, `Unpin`, `UnwindSafe` and `RefUnwindSafe`, with parts (streams, sinks,
//! items, errors) that have these traits, and with parts that do not.

use futures::{FutureExt, Sink, Stream};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::marker::{PhantomData, PhantomPinned};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use stream_multiplexer::stream_slab::{IntoIter, Iter, IterMut, RecvMany as SlabRecvMany};
use stream_multiplexer::{
    AddStreamError, ChannelOptions, ChannelReceiver, ChannelSelect, ChannelStats, CloseSink, CloseStream,
    Drained, Flusher, Multiplexer, MultiplexerError, Recv, RecvMany, SelectMany, SelectStats, SendError,
    SendMany, SendOne, SenderClosed, Sent, Share, ShareStats, Shutdown, StreamEvent, StreamId, StreamMap,
    StreamPair, StreamSender, StreamSlab, TryRecvError, TrySendError,
};

/// Evaluates, as a constant, whether a type has a trait. The inherent constant has precedence, and exists only if the bound
/// holds.
macro_rules! has {
    ($type:ty: $trait:path) => {{
        #[allow(dead_code, reason = "one of the two constants is not used")]
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Otherwise for T {}
        struct Probe<T: ?Sized>(PhantomData<T>);
        #[allow(dead_code, reason = "one of the two constants is not used")]
        impl<T: ?Sized + $trait> Probe<T> {
            const HAS: bool = true;
        }
        <Probe<$type>>::HAS
    }};
}

/// Asserts, at compile time, whether each type is `Send`, `Sync` and `Unpin`.
macro_rules! assert_auto_traits {
    ($($type:ty => $send:literal $sync:literal $unpin:literal,)*) => {
        $(const _: () = {
            assert!(has!($type: Send) == $send, concat!(stringify!($type), ": Send"));
            assert!(has!($type: Sync) == $sync, concat!(stringify!($type), ": Sync"));
            assert!(has!($type: Unpin) == $unpin, concat!(stringify!($type), ": Unpin"));
        };)*
    };
}

/// Asserts, at compile time, whether each type is `UnwindSafe` and `RefUnwindSafe`.
macro_rules! assert_unwind_safety {
    ($($type:ty => $by_value:literal $by_reference:literal,)*) => {
        $(const _: () = {
            assert!(has!($type: UnwindSafe) == $by_value, concat!(stringify!($type), ": UnwindSafe"));
            assert!(has!($type: RefUnwindSafe) == $by_reference, concat!(stringify!($type), ": RefUnwindSafe"));
        };)*
    };
}

/// A part that is `Send` and `Sync`.
type Free = Part<()>;
/// A part that is `Send` but not `Sync`, as many streams of sockets and channels are, which contain a `Cell` or a boxed
/// future.
type Unshared = Part<Cell<()>>;
/// A part that is not `Send`: it stays in its thread.
type Local = Part<Rc<()>>;
/// A part that is not `Unpin`, and is used in a box.
type Pinned = Part<PhantomPinned>;

/// A stream, a sink, an item or an error.
struct Part<M>(M);

impl<M> Stream for Part<M> {
    type Item = Self;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self>> {
        Poll::Pending
    }
}

/// A sink for any item, that fails with an error of any kind.
struct Outlet<M, E>(M, PhantomData<fn() -> E>);

impl<M: Unpin, E, T> Sink<T> for Outlet<M, E> {
    type Error = E;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Pending
    }

    fn start_send(self: Pin<&mut Self>, _: T) -> Result<(), E> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Pending
    }
}

type Out<M> = Outlet<M, Infallible>;

// Checks the macro itself.
assert_auto_traits! {
    Free => true true true,
    Unshared => true false true,
    Local => false false true,
    Pinned => true true false,
}

// A handle is as its parts. It lends a part to one thread at a time, so that parts need not be `Sync`.
assert_auto_traits! {
    Multiplexer<Free, Out<()>> => true true true,
    Multiplexer<Free> => true true true,
    Multiplexer<Unshared, Out<Cell<()>>> => true true true,
    Multiplexer<Local, Out<()>> => false false true,
    Multiplexer<Free, Out<Rc<()>>> => false false true,
    Multiplexer<Local> => false false true,
    Multiplexer<Pinned, Pinned> => true true true,
    Multiplexer<Pin<Box<Pinned>>> => true true true,
}

assert_auto_traits! {
    ChannelReceiver<Free, Out<()>> => true true true,
    ChannelReceiver<Unshared, Out<Cell<()>>> => true true true,
    ChannelReceiver<Local, Out<()>> => false false true,
    ChannelReceiver<Free, Out<Rc<()>>> => false false true,
    ChannelReceiver<Pinned, Out<()>> => true true true,
    ChannelSelect<Free, Out<()>> => true true true,
    ChannelSelect<Unshared, Out<Cell<()>>> => true true true,
    ChannelSelect<Local, Out<()>> => false false true,
    ChannelSelect<Free, Out<Rc<()>>> => false false true,
    ChannelSelect<Pinned, Out<()>> => true true true,
    Recv<'static, Free, Out<()>> => true true true,
    Recv<'static, Unshared, Out<Cell<()>>> => true true true,
    Recv<'static, Local, Out<()>> => false false true,
    Recv<'static, Free, Out<Rc<()>>> => false false true,
    Recv<'static, Pinned, Out<()>> => true true true,
    Drained<'static, Free, Out<()>> => true true true,
    Drained<'static, Unshared, Out<Cell<()>>> => true true true,
    Drained<'static, Local, Out<()>> => false false true,
    Drained<'static, Free, Out<Rc<()>>> => false false true,
    Drained<'static, Pinned, Out<()>> => true true true,
    RecvMany<'static, Free, Out<()>> => true true true,
    RecvMany<'static, Pinned, Out<()>> => true true true,
    // The future contains the buffer, and therefore the items.
    RecvMany<'static, Unshared, Out<Cell<()>>> => true false true,
    RecvMany<'static, Local, Out<()>> => false false true,
    SelectMany<'static, Free, Out<()>> => true true true,
    SelectMany<'static, Pinned, Out<()>> => true true true,
    SelectMany<'static, Unshared, Out<Cell<()>>> => true false true,
    SelectMany<'static, Local, Out<()>> => false false true,
}

// A future that sends contains the item; an error, its payload.
assert_auto_traits! {
    SendMany<'static, Free, Out<()>, Free> => true true true,
    SendMany<'static, Unshared, Out<Cell<()>>, Unshared> => true false true,
    SendMany<'static, Local, Out<()>, Free> => false false true,
    SendMany<'static, Free, Out<Rc<()>>, Free> => false false true,
    SendMany<'static, Free, Out<()>, Local> => false false true,
    SendMany<'static, Free, Outlet<(), Rc<()>>, Free> => false false true,
    SendOne<'static, Free, Out<()>, Free> => true true true,
    SendOne<'static, Unshared, Out<Cell<()>>, Unshared> => true false true,
    SendOne<'static, Local, Out<()>, Free> => false false true,
    SendOne<'static, Free, Out<Rc<()>>, Free> => false false true,
    SendOne<'static, Free, Out<()>, Local> => false false true,
    SendOne<'static, Free, Out<()>, Pinned> => true true true,
    StreamSender<Free, Out<()>, Free> => true true true,
    StreamSender<Unshared, Out<Cell<()>>, Unshared> => true false true,
    StreamSender<Local, Out<()>, Free> => false false true,
    StreamSender<Free, Out<Rc<()>>, Free> => false false true,
    StreamSender<Free, Out<()>, Local> => false false true,
    StreamSender<Free, Out<()>, Pinned> => true true true,
    // The future contains no item, whatever the item's type.
    CloseSink<'static, Free, Out<()>, Local> => true true true,
    CloseSink<'static, Local, Out<()>, Free> => false false true,
    Flusher<Free, Out<()>, Local> => true true true,
    Flusher<Local, Out<()>, Free> => false false true,
    Flusher<Free, Out<Rc<()>>, Free> => false false true,
    SenderClosed<'static, Out<()>> => true true true,
    SenderClosed<'static, Out<Rc<()>>> => false false true,
    TrySendError<Free, ()> => true true true,
    TrySendError<Unshared, ()> => true false true,
    TrySendError<Free, Rc<()>> => false false true,
    CloseStream<'static, Free, Out<()>, Local> => true true true,
    CloseStream<'static, Local, Out<()>, Free> => false false true,
    CloseStream<'static, Free, Out<Rc<()>>, Free> => false false true,
    Shutdown<'static, Free, Out<()>, Local> => true true true,
    Shutdown<'static, Unshared, Out<Cell<()>>, Free> => true true true,
    Shutdown<'static, Local, Out<()>, Free> => false false true,
    Shutdown<'static, Free, Out<Rc<()>>, Free> => false false true,
    Shutdown<'static, Free, Outlet<(), Rc<()>>, Free> => false false true,
}

// A slab owns its members, as a `Vec` does.
assert_auto_traits! {
    StreamSlab<Free> => true true true,
    StreamSlab<Unshared> => true false true,
    StreamSlab<Local> => false false true,
    StreamSlab<Pinned> => true true false,
    StreamSlab<Pin<Box<Pinned>>> => true true true,
    StreamMap<u8, Free> => true true true,
    StreamMap<u8, Unshared> => true false true,
    StreamMap<Rc<u8>, Free> => false false true,
    Iter<'static, Free> => true true true,
    Iter<'static, Unshared> => false false true,
    IterMut<'static, Free> => true true true,
    IterMut<'static, Unshared> => true false true,
    IterMut<'static, Local> => false false true,
    SlabRecvMany<'static, Free> => true true true,
    SlabRecvMany<'static, Unshared> => true false true,
    SlabRecvMany<'static, Local> => false false true,
    IntoIter<Free> => true true true,
    IntoIter<Unshared> => true false true,
    IntoIter<Local> => false false true,
}

// Values are as their contents.
assert_auto_traits! {
    StreamId => true true true,
    ChannelOptions => true true true,
    Share => true true true,
    SelectStats => true true true,
    ShareStats => true true true,
    ChannelStats => true true true,
    MultiplexerError => true true true,
    TryRecvError => true true true,
    StreamEvent<Free> => true true true,
    StreamEvent<Unshared> => true false true,
    StreamEvent<Local> => false false true,
    StreamPair<Free, Free> => true true true,
    StreamPair<Free, Unshared> => true false true,
    StreamPair<Local, Free> => false false true,
    StreamPair<Free, Pinned> => true true false,
    AddStreamError<Free, Free> => true true true,
    AddStreamError<Local, Free> => false false true,
    Sent<Free> => true true true,
    Sent<Local> => false false true,
    SendError<Free> => true true true,
    SendError<Local> => false false true,
}

/// A part that a panic may leave half changed, and that is visible through a reference.
type Changing = Unshared;
/// A part through which a panic may leave a value of its owner half changed.
type Lent = Part<&'static mut ()>;
/// A part of unknown type, which may be either.
type Opaque = Pin<Box<dyn Stream<Item = ()>>>;

// A panic in a part removes that part. The rest stays consistent, whatever the parts are like. The same holds for a future
// or a sender, except for the items and errors that it contains.
assert_unwind_safety! {
    Multiplexer<Free, Out<()>> => true true,
    Multiplexer<Changing, Out<Cell<()>>> => true true,
    Multiplexer<Lent, Lent> => true true,
    Multiplexer<Opaque> => true true,
    Multiplexer<Pinned> => true true,
    ChannelReceiver<Free, Out<()>> => true true,
    ChannelReceiver<Changing, Out<Cell<()>>> => true true,
    ChannelReceiver<Opaque, Lent> => true true,
    // The cost function may look at values of the caller.
    ChannelSelect<Free, Out<()>> => true true,
    ChannelSelect<Changing, Out<Cell<()>>> => true true,
    ChannelSelect<Opaque, Lent> => true true,
    Recv<'static, Free, Out<()>> => true true,
    Recv<'static, Changing, Out<Cell<()>>> => true true,
    Recv<'static, Opaque, Lent> => true true,
    Drained<'static, Free, Out<()>> => true true,
    Drained<'static, Changing, Out<Cell<()>>> => true true,
    Drained<'static, Opaque, Lent> => true true,
    CloseStream<'static, Free, Out<()>, Free> => true true,
    CloseStream<'static, Changing, Out<Cell<()>>, Unshared> => true true,
    CloseSink<'static, Free, Out<()>, Free> => true true,
    CloseSink<'static, Changing, Out<Cell<()>>, Unshared> => true true,
    Shutdown<'static, Free, Out<()>, Free> => true true,
    Shutdown<'static, Changing, Out<Cell<()>>, Unshared> => true true,
    Shutdown<'static, Free, Outlet<(), Cell<()>>, Free> => true false,
    SenderClosed<'static, Out<()>> => true true,
    SenderClosed<'static, Out<Cell<()>>> => true true,
    Flusher<Free, Out<()>, Free> => true true,
    Flusher<Opaque, Out<Cell<()>>, Changing> => true true,
    SendMany<'static, Free, Out<()>, Free> => true true,
    SendMany<'static, Opaque, Out<()>, Free> => true true,
    SendMany<'static, Free, Out<()>, Changing> => true false,
    SendMany<'static, Free, Out<()>, Lent> => false true,
    SendMany<'static, Free, Outlet<(), Cell<()>>, Free> => true false,
    SendOne<'static, Free, Out<()>, Free> => true true,
    SendOne<'static, Opaque, Out<Cell<()>>, Free> => true true,
    SendOne<'static, Free, Out<()>, Changing> => true false,
    SendOne<'static, Free, Out<()>, Lent> => false true,
    StreamSender<Free, Out<()>, Free> => true true,
    StreamSender<Opaque, Out<Cell<()>>, Free> => true true,
    StreamSender<Free, Out<()>, Changing> => true false,
    StreamSender<Free, Out<()>, Lent> => false true,
}

// These types borrow a value of the caller to change it (a buffer, a slab), as a `&mut` does, which is not `UnwindSafe`
// either: after a caught panic, the borrowed value may contain a part of the result.
assert_unwind_safety! {
    RecvMany<'static, Free, Out<()>> => false true,
    RecvMany<'static, Changing, Out<()>> => false false,
    SelectMany<'static, Free, Out<()>> => false true,
    SelectMany<'static, Changing, Out<()>> => false false,
    SlabRecvMany<'static, Free> => false true,
    IterMut<'static, Free> => false true,
    IterMut<'static, Changing> => false false,
}

// A slab gives out references to its members, and is as they are. So is a reference to a slab.
assert_unwind_safety! {
    StreamSlab<Free> => true true,
    StreamSlab<Pinned> => true true,
    StreamSlab<Changing> => true false,
    StreamSlab<Lent> => false true,
    StreamMap<u8, Free> => true true,
    StreamMap<u8, Changing> => true false,
    StreamSlab<Opaque> => false false,
    Iter<'static, Free> => true true,
    Iter<'static, Changing> => false false,
    // With `Changing`, the result depends on the version of the standard library, whose iterator it contains.
    IntoIter<Free> => true true,
}

// Values are as their contents, except the error that contains a pair, which shows the pair to no one before it returns it.
assert_unwind_safety! {
    StreamId => true true,
    ChannelOptions => true true,
    Share => true true,
    SelectStats => true true,
    ShareStats => true true,
    ChannelStats => true true,
    MultiplexerError => true true,
    TryRecvError => true true,
    StreamEvent<Free> => true true,
    StreamEvent<Changing> => true false,
    StreamEvent<Lent> => false true,
    StreamPair<Free, Free> => true true,
    StreamPair<Free, Changing> => true false,
    StreamPair<Lent, Free> => false true,
    AddStreamError<Free, Free> => true true,
    AddStreamError<Changing, Lent> => true true,
    AddStreamError<Opaque, Free> => true true,
    Sent<Free> => true true,
    Sent<Changing> => true false,
    Sent<Lent> => false true,
    SendError<Free> => true true,
    SendError<Changing> => true false,
    SendError<Lent> => false true,
    TrySendError<Free, Free> => true true,
    TrySendError<Changing, Free> => true false,
    TrySendError<Free, Lent> => false true,
}

/// The tables above contain all public types.
#[test]
fn none_is_left_out() {
    const LIB: &str = include_str!("../src/lib.rs");
    const HERE: &str = include_str!("auto_traits.rs");
    let exported = LIB.split("pub use ").skip(1).map(|rest| rest.split(';').next().unwrap());
    let named = exported.flat_map(|path| {
        let names = path.rsplit("::").next().unwrap().trim_matches(['{', '}']);
        names.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "ChannelId")
    });
    let mut count = 0;
    for name in named {
        // A type that is imported under another name.
        let renamed =
            HERE.split(&format!(" {name} as ")).nth(1).map(|rest| rest.split([',', '}']).next().unwrap());
        let name = renamed.unwrap_or(name);
        for table in ["assert_auto_traits! {", "assert_unwind_safety! {"] {
            let rows = HERE.split(table).skip(1).flat_map(|rest| rest.split('}').next().unwrap().lines());
            let is_row = |row: &str| row.trim().split(['<', ' ']).next() == Some(name);
            assert!(rows.into_iter().any(is_row), "{name} is not in {table}");
        }
        count += 1;
    }
    assert!(count > 15, "{count}");
}

/// A stream and a sink that stay in their thread.
#[derive(Clone, Default)]
struct LocalQueue(Rc<RefCell<VecDeque<u32>>>);

impl Stream for LocalQueue {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        self.0.borrow_mut().pop_front().map_or(Poll::Pending, |item| Poll::Ready(Some(item)))
    }
}

impl Sink<u32> for LocalQueue {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, item: u32) -> Result<(), Infallible> {
        self.0.borrow_mut().push_back(item);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn streams_that_stay_in_their_thread_can_be_used_there() {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(1).unwrap();
    multiplexer.add_channel(2).unwrap();
    let (incoming, outgoing) = (LocalQueue::default(), LocalQueue::default());
    let id = multiplexer.add_stream_pair(outgoing.clone(), incoming.clone(), 1).unwrap();
    incoming.0.borrow_mut().extend([1, 2]);

    let used = async {
        assert_eq!(multiplexer.recv(1).await, Ok((id, Some(1))));
        multiplexer.change_stream_channel(id, 2).unwrap();
        assert_eq!(multiplexer.recv(2).await, Ok((id, Some(2))));
        assert_eq!(multiplexer.send([id], 3).map(Sent::into_vec).await, [Ok(id)]);
        assert_eq!(multiplexer.close_stream::<u32>(id).await, Ok(()));
    };
    used.now_or_never().expect("nothing waits");
    assert_eq!(outgoing.0.take(), [3]);
}

/// A stream that is not `Unpin` is used as `Pin<Box<_>>`, of one type or of several.
#[test]
fn streams_that_are_not_unpin_come_boxed() {
    let multiplexer = Multiplexer::<Pin<Box<dyn Stream<Item = u32>>>>::new();
    multiplexer.add_channel(1).unwrap();
    let once = multiplexer.add_stream(Box::pin(futures::stream::once(async { 1 })), 1).unwrap();
    let many = multiplexer.add_stream(Box::pin(futures::stream::iter([2])), 1).unwrap();
    assert_eq!(multiplexer.try_recv(1), Ok((once, Some(1))));
    assert_eq!(multiplexer.try_recv(1), Ok((many, Some(2))));
}
