//! The ready channels in the order of their turns.
//!
//! A channel that had its turn often comes after all others, as it always does among equals. Then its next entry goes to
//! the end of a `line`, at O(1). All other entries go to a heap.
//!
//! An entry is *over* when its channel has left, or has another entry. It cannot be taken out of the middle; so it stays
//! until it comes to the front, or until more than half of the entries are over. Neither the first of the line nor the top
//! of the heap is over.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// A channel's key: its slot in the select.
pub(super) type Key = usize;

/// Virtual time in units of 2^-63 turns of weight 1. At one unit of cost per nanosecond it lasts for a thousand years.
pub(super) type Time = u128;

/// A channel that is ready, and what decides whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) time: Time,
    pub(super) ticket: u64,
    pub(super) priority: u32,
    /// Short, so that this is not larger.
    key: u32,
}

const _: () = assert!(size_of::<Entry>() == 32);

impl Entry {
    #[inline]
    pub(super) fn new(key: Key, priority: u32, time: Time, ticket: u64) -> Self {
        Self { time, ticket, priority, key: u32::try_from(key).expect("there are fewer channels") }
    }

    #[inline]
    pub(super) fn key(&self) -> Key {
        self.key as Key
    }
}

/// The greatest is next.
impl Ord for Entry {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        (other.priority, other.time, other.ticket).cmp(&(self.priority, self.time, self.ticket))
    }
}

impl PartialOrd for Entry {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    // Field by field: a third of what the tuples take.
    #[inline]
    fn lt(&self, other: &Self) -> bool {
        if self.priority != other.priority {
            self.priority > other.priority
        } else if self.time != other.time {
            self.time > other.time
        } else {
            self.ticket > other.ticket
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) line: VecDeque<Entry>,
    pub(super) heap: BinaryHeap<Entry>,
    /// How many entries are not over.
    len: usize,
}

impl Queue {
    /// Makes room for so many that are not over, and as many that are.
    pub(super) fn reserve(&mut self, entries: usize) {
        self.line.reserve((2 * entries).saturating_sub(self.line.len()));
        self.heap.reserve((2 * entries).saturating_sub(self.heap.len()));
    }

    /// How many are not over.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) fn first(&self) -> Option<&Entry> {
        self.line.front().max(self.heap.peek())
    }

    /// All entries, in any order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.line.iter().chain(&self.heap)
    }

    /// Cost: O(log n).
    pub(super) fn push(&mut self, entry: Entry) {
        self.len += 1;
        self.heap.push(entry);
    }

    /// The entry of `key` is over.
    ///
    /// Cost: O(log n), or O(1) if it is the first of the line; once for each, O(1) more.
    #[inline]
    pub(super) fn end(&mut self, key: Key, is_over: impl Fn(&Entry) -> bool) {
        self.len -= 1;
        self.take_out(key);
        self.trim(is_over);
    }

    /// The entry of a channel is over, and this is its next one.
    ///
    /// Cost: O(log n), or O(1) if it is the first of the line and comes after all that are there.
    #[inline(always)]
    pub(super) fn replace(&mut self, next: Entry, is_over: impl Fn(&Entry) -> bool) {
        self.take_out(next.key());
        if self.line.back().is_none_or(|last| next < *last) {
            self.line.push_back(next);
        } else {
            self.heap.push(next);
        }
        self.trim(is_over);
    }

    /// Takes out an entry that is over, if it comes first.
    #[inline(always)]
    fn take_out(&mut self, key: Key) {
        if self.line.front().is_some_and(|first| first.key() == key) {
            self.line.pop_front();
        } else if self.heap.peek().is_some_and(|first| first.key() == key) {
            self.heap.pop();
        }
    }

    #[inline(always)]
    fn trim(&mut self, is_over: impl Fn(&Entry) -> bool) {
        if self.line.len() + self.heap.len() != self.len {
            self.trim_some(is_over);
        }
    }

    #[inline(never)]
    fn trim_some(&mut self, is_over: impl Fn(&Entry) -> bool) {
        while self.line.front().is_some_and(&is_over) {
            self.line.pop_front();
        }
        while self.heap.peek().is_some_and(&is_over) {
            self.heap.pop();
        }
        if self.line.len() + self.heap.len() > 2 * self.len {
            self.drop_over(is_over);
        }
    }

    /// Drops all that are over.
    #[cold]
    pub(super) fn drop_over(&mut self, is_over: impl Fn(&Entry) -> bool) {
        self.line.retain(|entry| !is_over(entry));
        self.heap.retain(|entry| !is_over(entry));
        debug_assert_eq!(self.line.len() + self.heap.len(), self.len);
    }
}
