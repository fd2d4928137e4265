//! [`StreamSlab`]: members polled in turn, with one owner. [`poll`] contains the polling.

use crate::engine::rotation::Rotation;
use crate::unwind::{Steps, on_panic};
use crate::wait_list::Waiter;
use futures_core::Stream;
use std::fmt;
use std::mem;
use std::task::Waker;

mod iter;
mod poll;
mod recv_many;

pub use iter::{IntoIter, Iter, IterMut};
pub use recv_many::RecvMany;

/// A set of streams that is polled fairly, as one stream. Each stream has a key, as in a [`slab`](https://docs.rs/slab).
///
/// **Keys are reused**: after a stream has ended or was removed, a later [`insert`](Self::insert) may return its key. Use
/// [`StreamMap`](crate::StreamMap) if you need your own keys.
///
/// The slab yields `(key, Some(item))` for each item. When a stream has ended, the slab drops it and yields `(key, None)`
/// once. An empty slab yields `None`. You can insert streams and poll it again.
///
/// ```
/// use futures::{StreamExt, executor::block_on, stream};
/// use stream_multiplexer::StreamSlab;
///
/// let mut slab = StreamSlab::new();
/// let letters = slab.insert(stream::iter(vec!["a", "b"]));
/// let digits = slab.insert(stream::iter(vec!["1"]));
///
/// block_on(async {
///     assert_eq!(slab.next().await, Some((letters, Some("a"))));
///     assert_eq!(slab.next().await, Some((digits, Some("1"))));
///     assert_eq!(slab.next().await, Some((letters, Some("b"))));
///     assert_eq!(slab.next().await, Some((digits, None)));
///     assert_eq!(slab.next().await, Some((letters, None)));
///     assert_eq!(slab.next().await, None);
/// });
/// ```
///
/// The streams must be `Unpin`, because the slab stores them inline and returns them. A stream that contains an `async`
/// block is not `Unpin`: for example the streams of `async_stream::stream!`, and of `unfold`, `then` or `once` with an
/// `async` block. The compiler rejects such a stream in `insert`. Insert `Box::pin(stream)` instead:
///
/// ```
/// use futures::stream;
/// use stream_multiplexer::StreamSlab;
///
/// let mut slab = StreamSlab::new();
/// slab.insert(Box::pin(stream::unfold(0, |n| async move { Some((n, n + 1)) })));
/// ```
///
/// ```compile_fail,E0277
/// # use futures::stream;
/// # use stream_multiplexer::StreamSlab;
/// # let mut slab = StreamSlab::new();
/// slab.insert(stream::unfold(0, |n| async move { Some((n, n + 1)) })); // cannot be unpinned
/// ```
///
/// # Migrating from other sets
///
/// | other set | `StreamSlab` |
/// |---|---|
/// | `SelectAll::push` | [`insert`](Self::insert), which returns a key |
/// | an item of `SelectAll` or `StreamMap` | `(key, Some(item))` |
/// | the end of a stream, which other sets do not report | `(key, None)` |
/// | `StreamMap::remove(&key)` | [`remove(key)`](Self::remove), with a key that the slab assigned. [`StreamMap`](crate::StreamMap) has your own keys |
/// | `StreamMap::next_many` | [`recv_many`](Self::recv_many) |
///
/// # Fairness
///
/// Members have round-robin turns. A turn is one poll. After a stream was polled, every other stream of the slab that was
/// ready at that moment is polled before it is polled again.
///
/// A member is ready after it was inserted, after a turn that yielded an item, and after a call of its waker has returned.
/// (While another thread is in the middle of waking a member with a nearby key, a woken member may be passed over until that
/// thread continues. No wake is lost.)
///
/// # Cost
///
/// The slab finds the next ready member with a few loads, for any number of members. It polls only members that were
/// woken, were inserted, or yielded an item. A member that is always ready costs no atomic operation. A wake costs one,
/// or a [few](crate::guide::costs) if other wakes are waiting. The slab allocates nothing per item, wake or wait. Once
/// it has grown, it also allocates nothing per [`insert`](Self::insert) and [`remove`](Self::remove), because a slot
/// keeps its waker for its next member. [`shrink_to_fit`](Self::shrink_to_fit) releases memory.
///
/// # Yielding
///
/// One call polls at most 64 members in vain, and at most two consecutive members that wake themselves in their own poll (as
/// all members do when tokio's cooperative budget is used up). After that, it wakes its task and returns `Poll::Pending`, so
/// that the executor can run other tasks.
///
/// A member that was not woken is not polled, with one exception. Foreign I/O may keep the waker of a removed member
/// and call it later. Such a stale wake causes one poll of the next member with the same key.
///
/// **Items do not make the slab yield.** If a member always has an item, and takes no part in a cooperative budget,
/// every `next()` is ready immediately. A loop over these items never yields: no other task on the thread runs, and a
/// timeout around the loop never fires. Yield every few items:
///
/// ```
/// use futures::{StreamExt, stream};
/// use std::time::Duration;
/// use stream_multiplexer::StreamSlab;
///
/// let mut slab = StreamSlab::from_iter([stream::repeat("always ready")]);
/// let receive = async {
///     let mut received = 0;
///     while let Some((_key, _item)) = slab.next().await {
///         received += 1;
///         if received % 16 == 0 {
///             smol::future::yield_now().await;
///         }
///     }
/// };
/// let timeout = async {
///     smol::Timer::after(Duration::from_millis(10)).await;
/// };
/// smol::block_on(smol::future::or(receive, timeout));
/// ```
///
/// # Panics
///
/// A panic in a member's poll, or in its drop after it has ended, propagates to the caller. The member is not polled again.
/// The next call drops it and yields `(key, None)`, unless its key has another stream by then. All other members continue.
///
/// A method that drops several streams drops all of them, even if a drop panics. After that the first panic continues, and
/// the others are suppressed. While the thread is already unwinding, all panics are suppressed.
///
/// A panic of a task's waker propagates to the code that woke the task: a member's I/O, [`insert`](Self::insert) or
/// [`remove`](Self::remove). The method has completed its work by then.
///
/// # Cancel safety
///
/// The call that takes an item from a member returns it. Dropping a `next()` loses no item.
pub struct StreamSlab<St> {
    members: Rotation<Member<St>>,
    waiter: Waiter,
    /// A member that panicked.
    untold: Option<Untold>,
    /// The last poll returned `None`, and no stream was inserted since.
    terminated: bool,
}

/// A member whose end is still to be reported.
struct Untold {
    key: usize,
    /// The poll of the member panicked, and the member is still to be dropped. Otherwise its drop panicked.
    is_member: bool,
}

struct Member<St> {
    stream: St,
    waker: Waker,
}

impl<St> StreamSlab<St> {
    /// Creates an empty slab. Allocates two small blocks.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::new();
    /// slab.insert(stream::iter([1, 2]));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// Creates an empty slab with room for `capacity` members. The first use of each slot still allocates a waker.
    ///
    /// ```
    /// use futures::stream::Pending;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let slab = StreamSlab::<Pending<()>>::with_capacity(1_000);
    /// assert!(slab.capacity() >= 1_000);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            members: Rotation::with_capacity(capacity),
            waiter: Waiter::default(),
            untold: None,
            terminated: false,
        }
    }

    /// Inserts a stream and returns its key. The stream is ready. If a task waits for the slab, the task is woken. Wrap a
    /// stream that is not `Unpin` in [`Box::pin`]; see [above](Self).
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::new();
    /// let key = slab.insert(stream::iter([1, 2]));
    /// assert!(slab.contains(key));
    /// ```
    ///
    /// # Panics
    ///
    /// If the slab would hold more than about 1.1 billion members (34 million on a 32-bit machine).
    pub fn insert(&mut self, stream: St) -> usize
    where
        St: Stream + Unpin,
    {
        let key = self.add(stream);
        self.wake();
        key
    }

    /// The key that the next [`insert`](Self::insert) returns.
    pub(crate) fn vacant_key(&self) -> usize {
        self.members.slots().vacant_key()
    }

    fn add(&mut self, stream: St) -> usize {
        let key = self.members.fill_with(|waker| Member { stream, waker });
        self.terminated = false;
        // The key belongs to the new stream now.
        self.untold.take_if(|untold| untold.key == key);
        self.members.set_ready(key);
        key
    }

    /// Removes a stream and returns it. The slab yields nothing more for this stream. If it was the last stream, the
    /// task that waits for the slab is woken and receives `None`.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::new();
    /// let key = slab.insert(stream::pending::<u8>());
    /// assert!(slab.remove(key).is_some());
    /// assert!(slab.remove(key).is_none());
    /// ```
    pub fn remove(&mut self, key: usize) -> Option<St> {
        let mut stream = self.take(key);
        if stream.is_some() && self.is_empty() {
            // If the task's waker panics, the stream is dropped here, and a panic of that drop is suppressed.
            let in_hand = on_panic(|| drop(stream.take()));
            self.wake();
            in_hand.defuse();
        }
        stream
    }

    /// [`remove`](Self::remove), without a wake. If the stream was dropped with a panic, its end is not reported any more.
    pub(crate) fn take(&mut self, key: usize) -> Option<St> {
        self.untold.take_if(|untold| untold.key == key);
        self.members.vacate(key, |Member { stream, waker }| (waker, stream))
    }

    /// Returns the stream at `key`.
    ///
    /// ```
    /// use futures::{Stream, stream};
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::new();
    /// let key = slab.insert(stream::iter([1, 2]));
    /// assert_eq!(slab.get(key).map(Stream::size_hint), Some((2, Some(2))));
    /// assert!(slab.get(key + 1).is_none());
    /// ```
    #[must_use]
    pub fn get(&self, key: usize) -> Option<&St> {
        self.members.slots().get(key).map(|member| &member.stream)
    }

    /// Returns the stream at `key`. If you change the stream so that it may have an item now, it must wake its task, as
    /// after any other change. Otherwise remove the stream and insert it again.
    ///
    /// ```
    /// use futures::channel::mpsc;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::new();
    /// let (_sender, receiver) = mpsc::channel::<u8>(8);
    /// let key = slab.insert(receiver);
    /// if let Some(receiver) = slab.get_mut(key) {
    ///     receiver.close(); // wakes the task
    /// }
    /// ```
    pub fn get_mut(&mut self, key: usize) -> Option<&mut St> {
        self.members.slots_mut().get_mut(key).map(|member| &mut member.stream)
    }

    /// Whether there is a stream at `key`.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::new();
    /// let key = slab.insert(stream::pending::<()>());
    /// assert!(slab.contains(key));
    /// ```
    #[must_use]
    pub fn contains(&self, key: usize) -> bool {
        self.members.slots().contains(key)
    }

    /// Returns the number of streams.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let slab: StreamSlab<_> = (0..3).map(|_| stream::pending::<()>()).collect();
    /// assert_eq!(slab.len(), 3);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.slots().len()
    }

    /// Whether the slab has no stream.
    ///
    /// ```
    /// use futures::stream::Pending;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// assert!(StreamSlab::<Pending<()>>::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.slots().is_empty()
    }

    /// Returns how many streams the slab has room for without growing.
    ///
    /// ```
    /// use futures::stream::Pending;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// assert!(StreamSlab::<Pending<()>>::with_capacity(10).capacity() >= 10);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.members.slots().capacity()
    }

    /// Drops all streams. The slab keeps its memory; [`shrink_to_fit`](Self::shrink_to_fit) releases it.
    ///
    /// Cost: a walk through the slots.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab: StreamSlab<_> = (0..3).map(|_| stream::pending::<()>()).collect();
    /// slab.clear();
    /// assert!(slab.is_empty());
    /// ```
    ///
    /// # Panics
    ///
    /// If the drop of a stream panics. All streams are dropped.
    pub fn clear(&mut self) {
        self.untold = None;
        let was_empty = self.is_empty();
        let mut steps = Steps::default();
        steps.for_each((0..self.members.end()).filter_map(|key| self.take(key)), drop);
        if !was_empty {
            steps.take(|| self.wake());
        }
        steps.finish();
    }

    /// Releases memory. The remaining memory is proportional to the highest key in use; an empty slab keeps what
    /// [`new`](Self::new) allocates. Keys do not change.
    ///
    /// A slab never shrinks automatically, so that streams can come and go without an allocation. Vacant slots below the
    /// highest key in use stay, without their wakers; the next use of such a slot allocates a waker.
    ///
    /// Wakers of former streams that foreign I/O still holds stay valid, and keep the memory that they need.
    ///
    /// Cost: a walk through the slots.
    ///
    /// ```
    /// use futures::stream::{self, Pending};
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab: StreamSlab<Pending<()>> = (0..1_000).map(|_| stream::pending()).collect();
    /// slab.retain(|key, _| key < 10);
    /// slab.shrink_to_fit();
    /// assert!(slab.capacity() < 1_000);
    /// ```
    pub fn shrink_to_fit(&mut self) {
        drop(self.members.shrink_to_fit());
    }

    /// Drops the streams for which `keep` returns `false`, in the order of the keys. If no stream is left, the task that
    /// waits for the slab is woken and receives `None`.
    ///
    /// Cost: a walk through the slots.
    ///
    /// ```
    /// use futures::{Stream, stream};
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::from_iter([stream::iter(vec![1]), stream::iter(vec![])]);
    /// slab.retain(|_, stream| stream.size_hint().0 > 0);
    /// assert!(slab.contains(0) && !slab.contains(1));
    /// ```
    ///
    /// # Panics
    ///
    /// If `keep` panics. It is then not called again, and the remaining streams are kept. If the drop of a stream
    /// panics; the panic continues after `keep` was called for all streams.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &mut St) -> bool) {
        let was_empty = self.is_empty();
        let mut steps = Steps::default();
        for key in 0..self.members.end() {
            let Some(stream) = self.get_mut(key) else { continue };
            match steps.take(|| keep(key, stream)) {
                Some(true) => {}
                Some(false) => _ = steps.take(|| drop(self.take(key))),
                None => break,
            }
        }
        if self.is_empty() && !was_empty {
            steps.take(|| self.wake());
        }
        steps.finish();
    }

    /// Returns an iterator over the keys and their streams, in the order of the keys.
    ///
    /// ```
    /// use futures::{Stream, stream};
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let slab = StreamSlab::from_iter([stream::iter(0..2), stream::iter(0..5)]);
    /// let longest = slab.iter().max_by_key(|(_key, stream)| stream.size_hint().0).map(|(key, _)| key);
    /// assert_eq!(longest, Some(1));
    /// ```
    #[must_use]
    pub fn iter(&self) -> Iter<'_, St> {
        Iter::new(self.members.slots().iter())
    }

    /// Returns an iterator over the keys and their streams, in the order of the keys. See [`get_mut`](Self::get_mut) before
    /// you change a stream.
    ///
    /// ```
    /// use futures::channel::mpsc;
    /// use stream_multiplexer::StreamSlab;
    ///
    /// let mut slab = StreamSlab::new();
    /// let (_sender, receiver) = mpsc::channel::<u8>(8);
    /// slab.insert(receiver);
    /// for (_key, receiver) in slab.iter_mut() {
    ///     receiver.close();
    /// }
    /// ```
    pub fn iter_mut(&mut self) -> IterMut<'_, St> {
        IterMut::new(self.members.slots_mut().iter_mut())
    }

    /// Wakes the task that waits for the slab, if any.
    pub(crate) fn wake(&mut self) {
        if self.members.unpark() {
            self.members.tasks().wake_all();
        }
    }
}

impl<St> Drop for StreamSlab<St> {
    fn drop(&mut self) {
        let members = mem::take(self.members.slots_mut());
        let mut steps = Steps::default();
        // The members' wakers may outlive the slab, and would keep the task's waker alive.
        steps.take(|| self.members.tasks().leave(&mut self.waiter));
        steps.for_each(members.into_iter().map(|(_, member)| member.stream), drop);
        steps.finish();
    }
}

impl<St> Default for StreamSlab<St> {
    fn default() -> Self {
        Self::new()
    }
}

impl<St: fmt::Debug> fmt::Debug for StreamSlab<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
