//! The iterators over a [`StreamSlab`](super::StreamSlab)'s members.

use super::Member;
use std::fmt;

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

impl<St> ExactSizeIterator for Iter<'_, St> {}

impl<St> ExactSizeIterator for IterMut<'_, St> {}

impl<St> Clone for Iter<'_, St> {
    fn clone(&self) -> Self {
        Self { members: self.members.clone() }
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
