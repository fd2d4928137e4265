//! [`StreamSlab`]: members polled in turn, in exclusive ownership. How it is polled is in [`poll`].

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

/// A set of streams, polled as one, fairly; each has a key, as in a [`slab`].
///
/// **Keys are reused**: once a stream has ended or was removed, a later [`insert`](Self::insert) may return
/// its key.
///
/// As a [`Stream`] it yields `(key, Some(item))`, and `(key, None)` once when that stream has ended (it
/// is gone then). An empty slab yields `None`; it may be filled and polled again.
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
/// The streams are `Unpin`, because the slab stores them inline and hands them back. A stream that awaits
/// something in an `async` block of its own is not `Unpin`: those of `async_stream::stream!`, for example, and of
/// `unfold`, `then` or `once` with such a block. The compiler refuses it where it is inserted. Give the slab a
/// `Pin<Box<_>>` of it, by `Box::pin`:
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
/// # Coming from other sets
///
/// | there | here |
/// |---|---|
/// | `SelectAll::push` | [`insert`](Self::insert), which returns a key |
/// | an item of `SelectAll` or `StreamMap` | `(key, Some(item))` |
/// | the end of a member, which is silent in `SelectAll` | `(key, None)` |
/// | `StreamMap::remove(&key)` | [`remove(key)`](Self::remove); keys are given out, not chosen |
/// | `StreamMap::next_many` | [`recv_many`](Self::recv_many) |
///
/// # Fairness
///
/// Members have their turns round-robin. Between two turns of one member, every member that was ready when the first
/// of them began has one turn. A turn is one poll.
///
/// A member is ready when it was inserted, when its last turn gave an item, and when its wake has returned. (If another
/// thread is in the middle of waking a member whose key is near, a wake that returns meanwhile may count only from when
/// that one has returned, too. It is not lost.)
///
/// # Cost
///
/// Finding the next ready member takes a few loads, whatever their number. A member that is always ready
/// costs no atomic read-modify-write; a wake costs one, or a [few](crate#cost) if another one waits to be
/// received. Nothing is allocated per item, per wake and per wait, nor per
/// [`insert`](Self::insert) and [`remove`](Self::remove) once the slab has grown: a slot keeps its waker
/// for its next member. Memory is given back by [`shrink_to_fit`](Self::shrink_to_fit).
///
/// # Yielding
///
/// One call polls at most 64 members in vain, and at most two in a row that wake themselves in their own
/// poll (as all of them do when tokio's cooperative budget is used up). Then it wakes its task and returns
/// `Pending`, so that the executor can run others.
///
/// Members that were not woken are not polled, but for one case. Foreign I/O may keep the waker of a member that is gone,
/// and wake it later: such a stale wake polls the next member of the same key once, in vain.
///
/// **Items do not make it yield.** A member that always has an item, and does not take part in a cooperative budget,
/// makes every `next()` ready at once. A loop over these never lets the executor go: no other task of that thread has
/// its turn, and a timeout around the loop never fires. Yield every few items:
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
/// When a member's poll panics, or its drop when it has ended, the panic reaches the caller. That member is
/// not polled again; the next call drops it and yields its `(key, None)`, unless its key has another stream
/// by then. All others go on.
///
/// Whatever drops several streams drops all of them, also when the drop of one panics. The first panic goes on after
/// that, the others are swallowed. While the thread unwinds already, all are swallowed.
///
/// A panic of a task's waker reaches whoever woke it, be it a member's I/O, [`insert`](Self::insert) or
/// [`remove`](Self::remove); what was called is done all the same.
///
/// # Cancel safety
///
/// An item that was taken out of a member is returned by the same call, so `next()` loses nothing
/// when it is dropped.
pub struct StreamSlab<St> {
    members: Rotation<Member<St>>,
    waiter: Waiter,
    /// A member that panicked.
    untold: Option<Untold>,
    /// The last poll returned `None`, and nothing was inserted since.
    terminated: bool,
}

/// A member whose end is still to be told.
struct Untold {
    key: usize,
    /// Its poll panicked, and it is to be dropped. Else its drop did.
    is_member: bool,
}

struct Member<St> {
    stream: St,
    waker: Waker,
}

impl<St> StreamSlab<St> {
    /// Makes an empty slab. Allocates one small block, for the tasks that will wait.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// Makes an empty slab with room for `capacity` members. Their wakers are still allocated one by
    /// one when a slot is first used.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            members: Rotation::with_capacity(capacity),
            waiter: Waiter::default(),
            untold: None,
            terminated: false,
        }
    }

    /// Adds a stream and returns its key. It is ready at once, and the task that waits for the slab, if
    /// any, is woken. A stream that is not `Unpin` comes by [`Box::pin`]; see [above](Self).
    ///
    /// # Panics
    ///
    /// If the slab would hold more than some 1.1 billion members (34 million on a 32-bit machine).
    pub fn insert(&mut self, stream: St) -> usize
    where
        St: Stream + Unpin,
    {
        let key = self.add(stream);
        self.wake();
        key
    }

    fn add(&mut self, stream: St) -> usize {
        let key = self.members.fill_with(|waker| Member { stream, waker });
        self.terminated = false;
        // Its key has another owner now.
        self.untold.take_if(|untold| untold.key == key);
        self.members.set_ready(key);
        key
    }

    /// Removes a stream and hands it back. Nothing more is yielded for it. If it was the last, the task that
    /// waits for the slab is woken, for `None`.
    pub fn remove(&mut self, key: usize) -> Option<St> {
        let mut stream = self.take(key);
        if stream.is_some() && self.is_empty() {
            // As in all that drops: if the task's waker panics, the stream's drop must not panic as well.
            let in_hand = on_panic(|| drop(stream.take()));
            self.wake();
            in_hand.defuse();
        }
        stream
    }

    fn take(&mut self, key: usize) -> Option<St> {
        let stream = self.members.vacate(key, |Member { stream, waker }| (waker, stream))?;
        self.untold.take_if(|untold| untold.is_member && untold.key == key);
        Some(stream)
    }

    /// The stream at `key`.
    #[must_use]
    pub fn get(&self, key: usize) -> Option<&St> {
        self.members.slots().get(key).map(|member| &member.stream)
    }

    /// The stream at `key`. If it was changed so that it may have an item now, it must wake its task
    /// itself, as on any other change; or remove it and insert it again.
    pub fn get_mut(&mut self, key: usize) -> Option<&mut St> {
        self.members.slots_mut().get_mut(key).map(|member| &mut member.stream)
    }

    /// Whether there is a stream at `key`.
    #[must_use]
    pub fn contains(&self, key: usize) -> bool {
        self.members.slots().contains(key)
    }

    /// How many streams there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.slots().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.slots().is_empty()
    }

    /// How many streams fit before the storage grows.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.members.slots().capacity()
    }

    /// Drops all streams. All memory is kept for the next ones; [`shrink_to_fit`](Self::shrink_to_fit) gives it back.
    ///
    /// Cost: a walk through the slots.
    ///
    /// # Panics
    ///
    /// When the drop of a stream panics, after all are dropped.
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

    /// Gives memory back. What is kept is in proportion to the highest key in use; for an empty slab that is what
    /// [`new`](Self::new) allocates. Keys stay as they are.
    ///
    /// A slab does not shrink by itself, so that streams may come and go without an allocation. Vacant slots below the
    /// highest key in use stay, but without their wakers: one is allocated when such a slot is used again.
    ///
    /// Wakers that foreign I/O still holds of streams that are gone stay valid, and keep what they need.
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

    /// Drops the streams for which `keep` returns `false`, in the order of the keys. If none is left, the task that
    /// waits for the slab is woken, for `None`.
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
    /// When `keep` panics: it is not asked again, and the streams that it was not asked for are kept. When the drop of
    /// a stream panics, after `keep` was asked for all.
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

    /// The streams with their keys, in the order of the keys.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, St> {
        Iter::new(self.members.slots().iter())
    }

    /// The streams with their keys, in the order of the keys. See [`get_mut`](Self::get_mut) on changing
    /// them.
    pub fn iter_mut(&mut self) -> IterMut<'_, St> {
        IterMut::new(self.members.slots_mut().iter_mut())
    }

    /// There is something to tell: wakes the task, if it waits.
    fn wake(&mut self) {
        if self.members.unpark() {
            self.members.tasks().wake_all();
        }
    }
}

impl<St> Drop for StreamSlab<St> {
    fn drop(&mut self) {
        let members = mem::take(self.members.slots_mut());
        let mut steps = Steps::default();
        // Members' wakers may live on, and would keep the task.
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
