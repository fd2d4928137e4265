//! The iterators over a [`StreamSlab`](super::StreamSlab)'s members.

use super::Member;
use crate::unwind::drop_all;
use std::fmt;
use std::iter::FusedIterator;

/// The streams of a [`StreamSlab`](super::StreamSlab) with their keys; from
/// [`iter`](super::StreamSlab::iter).
pub struct Iter<'a, St> {
    members: slab::Iter<'a, Member<St>>,
}

/// The streams of a [`StreamSlab`](super::StreamSlab) with their keys; from
/// [`iter_mut`](super::StreamSlab::iter_mut).
pub struct IterMut<'a, St> {
    members: slab::IterMut<'a, Member<St>>,
}

/// The streams that a [`StreamSlab`](super::StreamSlab) owned, with the keys that they had; from its `into_iter`.
///
/// What is left in it when it is dropped is dropped as a slab does; see [Panics](super::StreamSlab#panics).
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
