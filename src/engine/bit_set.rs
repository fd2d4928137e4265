//! A set of small numbers that finds its next element with a few loads.
//!
//! The set has one bit for each number. The level above has one bit for each word that is not empty, and so on up to a
//! single word, the top. The set is plain memory: it is the owner's half of a
//! [`ReadySet`](crate::engine::ready_set::ReadySet).

use crate::sync::WORD_BITS as BITS;
use std::mem;
use std::ops::Range;

#[derive(Debug, Default)]
pub(crate) struct BitSet {
    words: Vec<usize>,
    /// The level between, if the top has too few bits for all `words` (with 64 bits: above 4,096 numbers). It marks the
    /// words that are not empty. Otherwise this level is empty.
    between: Vec<usize>,
    /// Marks the words of the level below that are not empty. Bit `b` stands for `1 << share` words, beginning with
    /// `b << share`.
    top: usize,
    /// 0, unless the level between has more words than the top has bits (above 262,144 numbers).
    share: u32,
}

impl BitSet {
    /// Makes room for a number, if it is the first number without room.
    pub(crate) fn make_room(&mut self, number: usize) {
        if number / BITS == self.words.len() {
            self.add_word();
        }
    }

    /// Adds the next word, with the numbers from `BITS * n` up to, but not including, `BITS * (n + 1)`.
    fn add_word(&mut self) {
        self.words.push(0);
        let words = self.words.len();
        if words <= BITS {
            return;
        }
        if self.between.is_empty() {
            self.between.push(mem::take(&mut self.top));
            self.top = usize::from(self.between[0] != 0);
        }
        if words > self.between.len() * BITS {
            self.between.push(0);
        }
        if self.between.len() > BITS << self.share {
            self.share += 1;
            let marked = self.between.iter().enumerate().filter(|(_, word)| **word != 0);
            self.top = marked.fold(0, |top, (at, _)| top | 1 << (at >> self.share));
        }
    }

    /// Inserts a number, and makes room for it if it belongs to the next word.
    pub(crate) fn insert_with_room(&mut self, number: usize) {
        if number / BITS == self.words.len() {
            self.add_word();
        }
        self.insert(number);
    }

    /// Keeps only the first `words` words.
    ///
    /// Cost: a walk through these words.
    pub(crate) fn truncate(&mut self, words: usize) {
        let before = mem::take(self);
        self.words.reserve_exact(words);
        for (at, word) in before.words.into_iter().take(words).enumerate() {
            self.add_word();
            if word != 0 {
                self.merge(at, word);
            }
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.top == 0
    }

    #[inline]
    pub(crate) fn insert(&mut self, number: usize) {
        self.merge(number / BITS, 1 << (number % BITS));
    }

    /// Adds the numbers `BITS * at + b` for each set bit `b`. At least one bit must be set. Does nothing if there is no room
    /// for the numbers.
    #[inline]
    pub(crate) fn merge(&mut self, at: usize, bits: usize) {
        debug_assert_ne!(bits, 0);
        let Some(word) = self.words.get_mut(at) else { return };
        let was_empty = *word == 0;
        *word |= bits;
        if !was_empty {
            return;
        }
        match self.between.get_mut(at / BITS) {
            None => self.top |= 1 << at,
            Some(word) => {
                *word |= 1 << (at % BITS);
                self.top |= 1 << ((at / BITS) >> self.share);
            }
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, number: usize) {
        let at = number / BITS;
        let Some(word) = self.words.get_mut(at) else { return };
        *word &= !(1 << (number % BITS));
        if *word != 0 {
            return;
        }
        match self.between.get_mut(at / BITS) {
            None => self.top &= !(1 << at),
            Some(word) => {
                *word &= !(1 << (at % BITS));
                if *word == 0 {
                    self.emptied_between(at / BITS);
                }
            }
        }
    }

    /// A word of the level between became empty: clears its bit of the top, unless another word shares the bit and is not
    /// empty.
    #[inline]
    fn emptied_between(&mut self, at: usize) {
        let bit = at >> self.share;
        if self.share == 0 || self.between[self.sharing(bit)].iter().all(|&word| word == 0) {
            self.top &= !(1 << bit);
        }
    }

    /// The words of the level between that share a bit of the top.
    fn sharing(&self, bit: usize) -> Range<usize> {
        let first = bit << self.share;
        first..self.between.len().min(first + (1 << self.share))
    }

    /// Returns the number, if the set has exactly one. May return `None` instead above 262,144 numbers, where words share a
    /// bit.
    #[inline]
    pub(crate) fn only(&self) -> Option<usize> {
        let mut at = only_bit(self.top)?;
        if !self.between.is_empty() {
            at = at * BITS + only_bit(*self.between.get(at).filter(|_| self.share == 0)?)?;
        }
        Some(at * BITS + only_bit(self.words[at])?)
    }

    /// Returns the first number that is `from` or greater, or else the first number of all.
    ///
    /// Cost: three loads up to 4,096 numbers, five up to 262,144, and one more for each further 262,144.
    #[inline(always)]
    pub(crate) fn next_from(&self, from: usize) -> Option<usize> {
        let at = from / BITS;
        let found = self.words.get(at).map_or(0, |word| word >> (from % BITS));
        if found != 0 {
            return Some(from + found.trailing_zeros() as usize);
        }
        if self.top == 0 {
            return None;
        }
        let at = if self.between.is_empty() { first_behind(self.top, at) } else { self.word_behind(at) };
        Some(at * BITS + self.words[at].trailing_zeros() as usize)
    }

    /// Returns the last number that is less than `from`, or else the last number of all.
    ///
    /// Cost: as [`next_from`](Self::next_from).
    pub(crate) fn last_before(&self, from: usize) -> Option<usize> {
        let at = from / BITS;
        let found = self.words.get(at).map_or(0, |word| below(*word, from % BITS));
        if found != 0 {
            return Some(at * BITS + last_bit(found));
        }
        if self.top == 0 {
            return None;
        }
        let at = if self.between.is_empty() { last_ahead(self.top, at) } else { self.word_ahead(at) };
        Some(at * BITS + last_bit(self.words[at]))
    }

    /// Returns the last word ahead of `at` that is not empty, or else the last non-empty word of all, by the level between.
    /// There must be one.
    fn word_ahead(&self, at: usize) -> usize {
        let (up, bit) = (at / BITS, at % BITS);
        let here = self.between.get(up).map_or(0, |word| below(*word, bit));
        if here != 0 {
            return up * BITS + last_bit(here);
        }
        let up = if self.share == 0 { last_ahead(self.top, up) } else { self.shared_ahead(up) };
        up * BITS + last_bit(self.between[up])
    }

    /// As [`shared_behind`](Self::shared_behind), in the other direction.
    #[cold]
    fn shared_ahead(&self, at: usize) -> usize {
        let is_marked = |at: &usize| self.between[*at] != 0;
        let bit = at >> self.share;
        let sharing = self.sharing(bit);
        let here = (sharing.start..sharing.end.min(at)).rev().find(is_marked);
        let there = || self.sharing(last_ahead(self.top, bit)).rev().find(is_marked);
        here.or_else(there).expect("the top marks a non-empty word")
    }

    /// Returns the first word behind `at` that is not empty, or else the first non-empty word of all, by the level between.
    /// There must be one.
    #[inline]
    fn word_behind(&self, at: usize) -> usize {
        let (up, bit) = (at / BITS, at % BITS);
        let here = self.between.get(up).map_or(0, |word| word & (!0 << bit << 1));
        if here != 0 {
            return up * BITS + here.trailing_zeros() as usize;
        }
        let up = if self.share == 0 { first_behind(self.top, up) } else { self.shared_behind(up) };
        up * BITS + self.between[up].trailing_zeros() as usize
    }

    /// Returns the first word of the level between that is behind `at` and not empty, or else the first non-empty word
    /// of all. There must be one.
    #[cold]
    fn shared_behind(&self, at: usize) -> usize {
        let is_marked = |at: &usize| self.between[*at] != 0;
        let bit = at >> self.share;
        let here = (at + 1..self.sharing(bit).end).find(is_marked);
        let there = || self.sharing(first_behind(self.top, bit)).find(is_marked);
        here.or_else(there).expect("the top marks a non-empty word")
    }
}

/// Returns the bit, if exactly one is set.
#[inline]
fn only_bit(word: usize) -> Option<usize> {
    word.is_power_of_two().then(|| word.trailing_zeros() as usize)
}

/// Returns the first set bit behind `bit`, or else the first set bit of all. There must be one.
#[inline]
fn first_behind(word: usize, bit: usize) -> usize {
    // `bit` may be beyond the last bit: no bit is behind it.
    let behind = word & (!0 << bit.min(BITS - 1) << 1);
    let bits = if behind != 0 { behind } else { word };
    bits.trailing_zeros() as usize
}

/// Returns the last set bit ahead of `bit`, or else the last set bit of all. There must be one.
fn last_ahead(word: usize, bit: usize) -> usize {
    // `bit` may be beyond the last bit: all bits are ahead of it.
    let ahead = if bit < BITS { below(word, bit) } else { word };
    last_bit(if ahead != 0 { ahead } else { word })
}

/// The bits below `bit`.
fn below(word: usize, bit: usize) -> usize {
    word & !(!0 << bit)
}

/// Returns the last set bit. There must be one.
fn last_bit(word: usize) -> usize {
    word.ilog2() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Compares with the standard library's set, with words of all levels.
    #[test]
    fn does_what_a_btree_set_does() {
        let words = 2 * BITS * BITS + 3;
        let numbers = words * BITS;
        let (mut set, mut oracle) = (BitSet::default(), BTreeSet::new());
        let mut random = 1_usize;
        for round in 0..words {
            (0..3).for_each(|number| set.make_room(round * BITS + number));
            let room = (round + 1) * BITS;
            for _ in 0..4 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let number = (random >> 20) % room;
                if random >> 63 == 0 {
                    set.insert(number);
                    oracle.insert(number);
                } else {
                    set.remove(number);
                    oracle.remove(&number);
                }
                let from = (random >> 7) % (numbers + BITS);
                let next = oracle.range(from..).next().or(oracle.first());
                assert_eq!(set.next_from(from), next.copied());
                let last = oracle.range(..from).next_back().or(oracle.last());
                assert_eq!(set.last_before(from), last.copied());
                assert_eq!(set.next_from(0), oracle.first().copied());
                assert_eq!(set.is_empty(), oracle.is_empty());
                if set.share == 0 {
                    assert_eq!(set.only(), oracle.first().copied().filter(|_| oracle.len() == 1));
                }
            }
        }
        while let Some(number) = oracle.pop_first() {
            assert_eq!(set.next_from(0), Some(number));
            assert!(set.only().is_none_or(|only| only == number && oracle.is_empty()));
            set.remove(number);
        }
        assert!(set.is_empty());

        assert_ne!(set.share, 0);
        set.insert(3);
        set.insert(BITS * BITS + 3);
        assert_eq!(set.only(), None, "these share a bit of the top");
    }
}
