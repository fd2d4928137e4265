//! [`StreamMap`]: a [`StreamSlab`] with the user's keys.

use crate::engine::StreamSlab;
use crate::unwind::{Steps, drop_all, on_panic};
use futures_core::Stream;
use futures_core::stream::FusedStream;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A map of streams with your own keys, polled fairly, as one stream.
///
/// The map has the methods of `tokio_stream::StreamMap`; `next_many` is called [`recv_many`](Self::recv_many), and
/// [`iter`](Self::iter) yields `(&K, &St)`. The behaviour differs in two ways. When a stream has ended, this map removes it
/// and yields `(key, None)` once. And this map polls only streams that were woken, while the map of `tokio_stream` polls one
/// stream after another, for each item, until it finds a ready one.
///
/// The streams must be `Unpin`. If a stream is not, for example because it contains an `async` block, insert
/// `Box::pin(stream)`.
///
/// The map contains a [`StreamSlab`], and has its fairness, yielding and cancel safety. If you do not need your own
/// keys, use the slab, which does not hash.
///
/// ```
/// use futures::{StreamExt, executor::block_on, stream};
/// use stream_multiplexer::StreamMap;
///
/// let mut map = StreamMap::new();
/// map.insert("letters", stream::iter(vec!["a", "b"]));
/// map.insert("digits", stream::iter(vec!["1"]));
///
/// block_on(async {
///     assert_eq!(map.next().await, Some(("letters", Some("a"))));
///     assert_eq!(map.next().await, Some(("digits", Some("1"))));
///     assert_eq!(map.next().await, Some(("letters", Some("b"))));
///     assert_eq!(map.next().await, Some(("digits", None)));
///     assert_eq!(map.next().await, Some(("letters", None)));
///     assert_eq!(map.next().await, None);
/// });
/// ```
///
/// # Cost
///
/// An item costs as much as in a [`StreamSlab`], plus a clone of its key. Adding and removing a stream also cost a
/// lookup in a [`HashMap`]. The map keeps two copies of each key.
pub struct StreamMap<K, St> {
    slab: StreamSlab<St>,
    /// The user's keys, by the slab's keys. `Some` from the insertion to the report of the end, or to the removal.
    names: Vec<Option<K>>,
    /// The slab's keys, by the user's keys. The same pairs as in `names`.
    slots: HashMap<K, usize>,
}

impl<K, St> StreamMap<K, St> {
    /// Creates an empty map. Allocates two small blocks, as [`StreamSlab::new`] does.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::new();
    /// map.insert("numbers", stream::iter([1, 2]));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// Creates an empty map with room for `capacity` streams.
    ///
    /// ```
    /// use futures::stream::Pending;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let map = StreamMap::<u8, Pending<()>>::with_capacity(100);
    /// assert!(map.capacity() >= 100);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            slab: StreamSlab::with_capacity(capacity),
            names: Vec::with_capacity(capacity),
            slots: HashMap::with_capacity(capacity),
        }
    }

    /// Returns the number of streams.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let map = StreamMap::from_iter([("a", stream::iter([1])), ("b", stream::iter([2]))]);
    /// assert_eq!(map.len(), 2);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the map has no stream.
    ///
    /// ```
    /// use futures::stream::Pending;
    /// use stream_multiplexer::StreamMap;
    ///
    /// assert!(StreamMap::<u8, Pending<()>>::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns how many streams the map has room for without growing.
    ///
    /// ```
    /// use futures::stream::Pending;
    /// use stream_multiplexer::StreamMap;
    ///
    /// assert!(StreamMap::<u8, Pending<()>>::with_capacity(10).capacity() >= 10);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slab.capacity().min(self.names.capacity()).min(self.slots.capacity())
    }

    /// Returns an iterator over the keys, in no particular order.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let map = StreamMap::from_iter([("a", stream::iter([1]))]);
    /// assert!(map.keys().eq(&["a"]));
    /// ```
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.slots.keys()
    }

    /// Returns an iterator over the keys and their streams, in no particular order.
    ///
    /// ```
    /// use futures::{Stream, stream};
    /// use stream_multiplexer::StreamMap;
    ///
    /// let map = StreamMap::from_iter([("short", stream::iter(0..2)), ("long", stream::iter(0..5))]);
    /// let longest = map.iter().max_by_key(|(_key, stream)| stream.size_hint().0).map(|(key, _)| *key);
    /// assert_eq!(longest, Some("long"));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&K, &St)> {
        self.slab.iter().filter_map(|(slot, stream)| Some((self.names[slot].as_ref()?, stream)))
    }

    /// Returns an iterator over the keys and their streams, in no particular order. A stream that you change must wake its
    /// task; see [`StreamSlab::get_mut`].
    ///
    /// ```
    /// use futures::channel::mpsc;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::new();
    /// let (_sender, receiver) = mpsc::channel::<u8>(8);
    /// map.insert("a", receiver);
    /// for (_key, receiver) in map.iter_mut() {
    ///     receiver.close();
    /// }
    /// ```
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut St)> {
        let Self { slab, names, .. } = self;
        slab.iter_mut().filter_map(|(slot, stream)| Some((names[slot].as_ref()?, stream)))
    }

    /// Returns an iterator over the streams, in no particular order.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let map = StreamMap::from_iter([("a", stream::iter([1]))]);
    /// assert_eq!(map.values().count(), 1);
    /// ```
    pub fn values(&self) -> impl Iterator<Item = &St> {
        self.iter().map(|(_key, stream)| stream)
    }

    /// Returns an iterator over the streams, in no particular order. A stream that you change must wake its task; see
    /// [`StreamSlab::get_mut`].
    ///
    /// ```
    /// use futures::channel::mpsc;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::new();
    /// let (_sender, receiver) = mpsc::channel::<u8>(8);
    /// map.insert("a", receiver);
    /// map.values_mut().for_each(|receiver| receiver.close());
    /// ```
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut St> {
        self.iter_mut().map(|(_key, stream)| stream)
    }

    /// Releases memory that the present streams do not need; see [`StreamSlab::shrink_to_fit`].
    ///
    /// ```
    /// use futures::stream::{self, Pending};
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map: StreamMap<_, Pending<()>> = (0..1_000).map(|key| (key, stream::pending())).collect();
    /// map.clear();
    /// map.shrink_to_fit();
    /// assert!(map.capacity() < 1_000);
    /// ```
    pub fn shrink_to_fit(&mut self)
    where
        K: Hash + Eq,
    {
        self.slab.shrink_to_fit();
        // Names of streams whose end is still to be reported stay, too.
        let used = self.names.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.names.truncate(used);
        self.names.shrink_to_fit();
        self.slots.shrink_to_fit();
    }

    /// Drops all streams, and does not report their ends. The map keeps its memory.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::from_iter([("a", stream::iter([1]))]);
    /// map.clear();
    /// assert!(map.is_empty());
    /// ```
    ///
    /// # Panics
    ///
    /// If the drop of a stream or a key panics. All streams and keys are dropped.
    pub fn clear(&mut self) {
        let mut steps = Steps::default();
        steps.take(|| self.slots.clear());
        steps.take(|| self.names.clear());
        steps.take(|| self.slab.clear());
        steps.finish();
    }
}

impl<K: Hash + Eq, St> StreamMap<K, St> {
    /// Whether there is a stream under this key.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let map = StreamMap::from_iter([("a", stream::iter([1]))]);
    /// assert!(map.contains_key("a") && !map.contains_key("b"));
    /// ```
    #[must_use]
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.slots.contains_key(key)
    }

    /// Returns the stream under this key.
    ///
    /// ```
    /// use futures::{Stream, stream};
    /// use stream_multiplexer::StreamMap;
    ///
    /// let map = StreamMap::from_iter([("a", stream::iter([1]))]);
    /// assert_eq!(map.get("a").map(Stream::size_hint), Some((1, Some(1))));
    /// ```
    #[must_use]
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&St>
    where
        K: Borrow<Q>,
    {
        self.slab.get(*self.slots.get(key)?)
    }

    /// Returns the stream under this key. A stream that you change must wake its task; see [`StreamSlab::get_mut`].
    ///
    /// ```
    /// use futures::channel::mpsc;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::new();
    /// let (_sender, receiver) = mpsc::channel::<u8>(8);
    /// map.insert("a", receiver);
    /// if let Some(receiver) = map.get_mut("a") {
    ///     receiver.close();
    /// }
    /// ```
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut St>
    where
        K: Borrow<Q>,
    {
        self.slab.get_mut(*self.slots.get(key)?)
    }

    /// Removes the stream under this key and returns it. The map does not report its end.
    ///
    /// Returns `None` for a stream that has ended and whose drop panicked, because that stream no longer exists.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::new();
    /// map.insert("letters".to_owned(), stream::pending::<u8>());
    /// assert!(map.remove("letters").is_some());
    /// assert!(map.remove("letters").is_none());
    /// ```
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<St>
    where
        K: Borrow<Q>,
    {
        let mut removed = self.take(key);
        if removed.is_some() && self.slab.is_empty() {
            let in_hand = on_panic(|| drop(removed.take()));
            self.slab.wake();
            in_hand.defuse();
        }
        removed
    }

    /// [`remove`](Self::remove), without a wake.
    fn take<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<St>
    where
        K: Borrow<Q>,
    {
        let (key, slot) = self.slots.remove_entry(key)?;
        let name = self.names[slot].take();
        let mut stream = self.slab.take(slot);
        // The stream is dropped after the maps are consistent again.
        let in_hand = on_panic(|| drop(stream.take()));
        drop_all([Some(key), name]);
        in_hand.defuse();
        stream
    }
}

impl<K: Hash + Eq + Clone, St: Stream + Unpin> StreamMap<K, St> {
    /// Inserts a stream under a key. Returns the previous stream under this key, if any, which has not ended.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::new();
    /// assert!(map.insert("letters", stream::iter(["a"])).is_none());
    /// assert!(map.insert("letters", stream::iter(["b"])).is_some());
    /// assert_eq!(map.len(), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If the waker of the task that waits for this map panics. In this case the stream is inserted, and the previous
    /// stream is dropped.
    pub fn insert(&mut self, key: K, stream: St) -> Option<St> {
        let name = key.clone();
        // Without a wake, because the map is not empty after this call.
        let mut before = self.take(&key);
        // The name is entered before the stream is inserted, because the insertion ends with a wake, which may panic.
        let slot = self.slab.vacant_key();
        if slot >= self.names.len() {
            self.names.resize_with(slot + 1, || None);
        }
        // If the drop of a stream panicked, the slab does not report its end any more once its slot is filled again.
        if let Some(forgotten) = self.names[slot].replace(name) {
            self.slots.remove(&forgotten);
        }
        self.slots.insert(key, slot);
        let in_hand = on_panic(|| drop(before.take()));
        let inserted = self.slab.insert(stream);
        debug_assert_eq!(inserted, slot);
        in_hand.defuse();
        before
    }

    /// Waits for items and ends, and appends up to `limit` of them to `buffer`. Returns how many it appended. The
    /// future waits for the first one only. It returns 0 if the map is empty or `limit` is 0.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::from_iter([("numbers", stream::iter(0..10))]);
    /// let mut items = Vec::new();
    /// assert_eq!(block_on(map.recv_many(&mut items, 2)), 2);
    /// assert_eq!(items, [("numbers", Some(0)), ("numbers", Some(1))]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the poll of a stream panics. The items and ends that were received before are in `buffer`.
    ///
    /// # Cancel safety
    ///
    /// The future takes no item before it completes. Dropping it loses no item.
    pub async fn recv_many(&mut self, buffer: &mut Vec<(K, Option<St::Item>)>, limit: usize) -> usize {
        poll_fn(|cx| self.poll_recv_many(cx, buffer, limit)).await
    }

    /// Polls for items and ends, and appends up to `limit` of them to `buffer`, as [`recv_many`](Self::recv_many) does.
    ///
    /// - `Pending`: there is no item and no end now. The task is woken when there is one.
    /// - `Ready(n)`: `n` were appended. `n` is 0 if the map is empty or `limit` is 0.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use std::future::poll_fn;
    /// use stream_multiplexer::StreamMap;
    ///
    /// let mut map = StreamMap::from_iter([("numbers", stream::iter(0..10))]);
    /// let mut items = Vec::new();
    /// block_on(poll_fn(|cx| map.poll_recv_many(cx, &mut items, 2)));
    /// assert_eq!(items, [("numbers", Some(0)), ("numbers", Some(1))]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the poll of a stream panics. The items and ends that were received before are in `buffer`.
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<(K, Option<St::Item>)>,
        limit: usize,
    ) -> Poll<usize> {
        let Self { slab, names, slots } = self;
        slab.poll_many(cx, limit, |(slot, item)| buffer.push(named(names, slots, slot, item)))
    }
}

/// The event of the stream in this slot, with its name. The name of a stream that has ended is given up.
#[inline]
fn named<K: Hash + Eq + Clone, T>(
    names: &mut [Option<K>],
    slots: &mut HashMap<K, usize>,
    slot: usize,
    item: Option<T>,
) -> (K, Option<T>) {
    let name = &mut names[slot];
    let key = if item.is_some() {
        name.clone().expect("each stream has a name")
    } else {
        let key = name.take().expect("each stream has a name until its end is reported");
        slots.remove(&key);
        key
    };
    (key, item)
}

impl<K: Hash + Eq + Clone + Unpin, St: Stream + Unpin> Stream for StreamMap<K, St> {
    type Item = (K, Option<St::Item>);

    /// # Panics
    ///
    /// If the poll of a stream panics. The next poll yields `(key, None)` for this stream; all other streams continue.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { slab, names, slots } = self.get_mut();
        let polled = ready!(Pin::new(slab).poll_next(cx));
        Poll::Ready(polled.map(|(slot, item)| named(names, slots, slot, item)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slab.size_hint()
    }
}

impl<K: Hash + Eq + Clone + Unpin, St: Stream + Unpin> FusedStream for StreamMap<K, St> {
    /// Whether the map has yielded `None` and is still empty.
    fn is_terminated(&self) -> bool {
        self.slab.is_terminated()
    }
}

impl<K: Hash + Eq + Clone, St: Stream + Unpin> Extend<(K, St)> for StreamMap<K, St> {
    /// Inserts all streams. A previous stream under one of the keys is dropped.
    fn extend<I: IntoIterator<Item = (K, St)>>(&mut self, streams: I) {
        for (key, stream) in streams {
            drop(self.insert(key, stream));
        }
    }
}

impl<K: Hash + Eq + Clone, St: Stream + Unpin> FromIterator<(K, St)> for StreamMap<K, St> {
    fn from_iter<I: IntoIterator<Item = (K, St)>>(streams: I) -> Self {
        let mut map = Self::new();
        map.extend(streams);
        map
    }
}

impl<K, St> Default for StreamMap<K, St> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, St: fmt::Debug> fmt::Debug for StreamMap<K, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
