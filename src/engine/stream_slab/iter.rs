//! Iterators over the members of a [`StreamSlab`], and collecting into it.

use super::{Member, StreamSlab};
use crate::unwind::{Steps, drop_all};
use futures_core::Stream;
use std::fmt;
use std::iter::FusedIterator;
use std::mem;

impl<St: Stream + Unpin> Extend<St> for StreamSlab<St> {
    fn extend<I: IntoIterator<Item = St>>(&mut self, streams: I) {
        let mut any = false;
        let mut steps = Steps::default();
        steps.take(|| {
            for stream in streams {
                self.add(stream);
                any = true;
            }
        });
        // Only now: if the task's waker panics, all streams have been inserted.
        if any {
            steps.take(|| self.wake());
        }
        steps.finish();
    }
}

impl<St: Stream + Unpin> FromIterator<St> for StreamSlab<St> {
    fn from_iter<I: IntoIterator<Item = St>>(streams: I) -> Self {
        let streams = streams.into_iter();
        let mut slab = Self::with_capacity(streams.size_hint().0);
        slab.extend(streams);
        slab
    }
}

impl<St> IntoIterator for StreamSlab<St> {
    type Item = (usize, St);
    type IntoIter = IntoIter<St>;

    /// Returns the streams with their keys, in the order of the keys.
    fn into_iter(mut self) -> IntoIter<St> {
        let members = IntoIter::new(mem::take(self.members.slots_mut()).into_iter());
        // Drops the task's waker, which may panic. In that case `members` is dropped here; a value that is being returned
        // would be leaked.
        drop(self);
        members
    }
}

impl<'a, St> IntoIterator for &'a StreamSlab<St> {
    type Item = (usize, &'a St);
    type IntoIter = Iter<'a, St>;

    fn into_iter(self) -> Iter<'a, St> {
        self.iter()
    }
}

impl<'a, St> IntoIterator for &'a mut StreamSlab<St> {
    type Item = (usize, &'a mut St);
    type IntoIter = IterMut<'a, St>;

    fn into_iter(self) -> IterMut<'a, St> {
        self.iter_mut()
    }
}

/// An iterator over the keys and the streams of a [`StreamSlab`]. Returned by [`iter`](StreamSlab::iter).
///
/// ```
/// use futures::stream;
/// use stream_multiplexer::{StreamSlab, stream_slab};
///
/// let slab = StreamSlab::from_iter([stream::pending::<()>()]);
/// let mut streams: stream_slab::Iter<'_, _> = slab.iter();
/// assert_eq!(streams.next().map(|(key, _stream)| key), Some(0));
/// ```
pub struct Iter<'a, St> {
    members: slab::Iter<'a, Member<St>>,
}

/// An iterator over the keys and the streams of a [`StreamSlab`]. Returned by [`iter_mut`](StreamSlab::iter_mut).
///
/// ```
/// use futures::stream;
/// use stream_multiplexer::{StreamSlab, stream_slab};
///
/// let mut slab = StreamSlab::from_iter([stream::pending::<()>()]);
/// let mut streams: stream_slab::IterMut<'_, _> = slab.iter_mut();
/// assert_eq!(streams.next().map(|(key, _stream)| key), Some(0));
/// ```
pub struct IterMut<'a, St> {
    members: slab::IterMut<'a, Member<St>>,
}

/// An owning iterator over the keys and the streams of a [`StreamSlab`]. Returned by `into_iter`.
///
/// When the iterator is dropped, it drops the remaining streams as a slab does; see [Panics](StreamSlab#panics).
///
/// ```
/// use futures::stream;
/// use stream_multiplexer::{StreamSlab, stream_slab};
///
/// let slab = StreamSlab::from_iter([stream::pending::<()>()]);
/// let mut streams: stream_slab::IntoIter<_> = slab.into_iter();
/// assert_eq!(streams.next().map(|(key, _stream)| key), Some(0));
/// ```
pub struct IntoIter<St> {
    members: slab::IntoIter<Member<St>>,
}

impl<'a, St> Iter<'a, St> {
    pub(super) fn new(members: slab::Iter<'a, Member<St>>) -> Self {
        Self { members }
    }
}

impl<'a, St> IterMut<'a, St> {
    pub(super) fn new(members: slab::IterMut<'a, Member<St>>) -> Self {
        Self { members }
    }
}

impl<St> IntoIter<St> {
    pub(super) fn new(members: slab::IntoIter<Member<St>>) -> Self {
        Self { members }
    }
}

impl<'a, St> Iterator for Iter<'a, St> {
    type Item = (usize, &'a St);

    fn next(&mut self) -> Option<Self::Item> {
        self.members.next().map(|(key, member)| (key, &member.stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.members.size_hint()
    }
}

impl<'a, St> Iterator for IterMut<'a, St> {
    type Item = (usize, &'a mut St);

    fn next(&mut self) -> Option<Self::Item> {
        self.members.next().map(|(key, member)| (key, &mut member.stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.members.size_hint()
    }
}

impl<St> Iterator for IntoIter<St> {
    type Item = (usize, St);

    fn next(&mut self) -> Option<Self::Item> {
        self.members.next().map(|(key, member)| (key, member.stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.members.size_hint()
    }
}

impl<St> DoubleEndedIterator for Iter<'_, St> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.members.next_back().map(|(key, member)| (key, &member.stream))
    }
}

impl<St> DoubleEndedIterator for IterMut<'_, St> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.members.next_back().map(|(key, member)| (key, &mut member.stream))
    }
}

impl<St> DoubleEndedIterator for IntoIter<St> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.members.next_back().map(|(key, member)| (key, member.stream))
    }
}

impl<St> ExactSizeIterator for Iter<'_, St> {}

impl<St> ExactSizeIterator for IterMut<'_, St> {}

impl<St> ExactSizeIterator for IntoIter<St> {}

impl<St> FusedIterator for Iter<'_, St> {}

impl<St> FusedIterator for IterMut<'_, St> {}

impl<St> FusedIterator for IntoIter<St> {}

impl<St> Clone for Iter<'_, St> {
    fn clone(&self) -> Self {
        Self { members: self.members.clone() }
    }
}

impl<St> Drop for IntoIter<St> {
    fn drop(&mut self) {
        drop_all(self);
    }
}

impl<St: fmt::Debug> fmt::Debug for Iter<'_, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}

impl<St> fmt::Debug for IterMut<'_, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterMut").field("len", &self.len()).finish()
    }
}

impl<St> fmt::Debug for IntoIter<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter").field("len", &self.len()).finish()
    }
}
