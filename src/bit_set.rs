//! A set of small numbers, in which the next one is found by a few loads.
//!
//! One bit for each number; above these words, one bit for each word that is not empty; and so on, up to a
//! single word. Plain memory: this is the owner's half of a [`ReadySet`](crate::ready_set::ReadySet).

use crate::sync::WORD_BITS as BITS;

#[derive(Debug, Default)]
pub(crate) struct BitSet {
    words: Vec<usize>,
    /// The levels between: `between[0]` says which of the `words` are not empty, `between[1]` says it of
    /// `between[0]`. There are none while there are no more words than `top` has bits (with 64 bits: up to
    /// 4,096 numbers).
    between: Vec<Vec<usize>>,
    /// Says which words of the level below are not empty.
    top: usize,
}

impl BitSet {
    /// Makes room for one more word, of numbers `BITS * n` to `BITS * (n + 1)`.
    pub(crate) fn add_word(&mut self) {
        self.words.push(0);
        let mut len = self.words.len();
        for words in &mut self.between {
            if len <= words.len() * BITS {
                return;
            }
            words.push(0);
            len = words.len();
        }
        if len > BITS {
            // One bit too many for the top: it goes down a level, and its place is taken by one bit for all
            // of it.
            self.between.push(vec![self.top, 0]);
            self.top = usize::from(self.top != 0);
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

    /// Adds the numbers `BITS * at + b` for the bits `b`, of which there is one at least.
    #[inline]
    pub(crate) fn merge(&mut self, mut at: usize, bits: usize) {
        debug_assert_ne!(bits, 0);
        let word = &mut self.words[at];
        let was_empty = *word == 0;
        *word |= bits;
        if !was_empty {
            return;
        }
        for words in &mut self.between {
            let word = &mut words[at / BITS];
            let was_empty = *word == 0;
            *word |= 1 << (at % BITS);
            if !was_empty {
                return;
            }
            at /= BITS;
        }
        self.top |= 1 << at;
    }

    #[inline]
    pub(crate) fn remove(&mut self, number: usize) {
        let mut at = number / BITS;
        let word = &mut self.words[at];
        *word &= !(1 << (number % BITS));
        if *word != 0 {
            return;
        }
        for words in &mut self.between {
            let word = &mut words[at / BITS];
            *word &= !(1 << (at % BITS));
            if *word != 0 {
                return;
            }
            at /= BITS;
        }
        self.top &= !(1 << at);
    }

    /// The first number that is `from` or greater, or else the first of all.
    ///
    /// Cost: one load if it is in the same word; else three, and up to 4,096 numbers no more; else two for
    /// each level.
    #[inline]
    pub(crate) fn next_from(&self, from: usize) -> Option<usize> {
        let at = from / BITS;
        let found = self.words.get(at).map_or(0, |word| word & (!0 << (from % BITS)));
        if found != 0 {
            return Some(at * BITS + found.trailing_zeros() as usize);
        }
        if self.top == 0 {
            return None;
        }
        let at = if self.between.is_empty() { first_behind(self.top, at) } else { self.word_behind(at) };
        Some(at * BITS + self.words[at].trailing_zeros() as usize)
    }

    /// The first word behind `at` that is not empty, or else the first of all. There is one.
    fn word_behind(&self, at: usize) -> usize {
        // Up, until there is something behind; the top is asked last, and looks from its start if it must.
        let mut found = at;
        let mut level = 0;
        while let Some(words) = self.between.get(level) {
            let bits = words.get(found / BITS).map_or(0, |word| word & (!0 << (found % BITS) << 1));
            found /= BITS;
            if bits != 0 {
                found = found * BITS + bits.trailing_zeros() as usize;
                break;
            }
            level += 1;
        }
        if level == self.between.len() {
            found = first_behind(self.top, found);
        }
        // And down, to the first word below it.
        for words in self.between[..level].iter().rev() {
            found = found * BITS + words[found].trailing_zeros() as usize;
        }
        found
    }
}

/// The first bit behind `bit`, or else the first of all. There is one.
#[inline]
fn first_behind(word: usize, bit: usize) -> usize {
    // Behind the last bit there is none, whatever is asked for.
    let behind = word & (!0 << bit.min(BITS - 1) << 1);
    let bits = if behind != 0 { behind } else { word };
    bits.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Against the standard library's set, over words of all levels.
    #[test]
    fn does_what_a_btree_set_does() {
        let words = BITS * BITS + 3;
        let numbers = words * BITS;
        let (mut set, mut oracle) = (BitSet::default(), BTreeSet::new());
        let mut random = 1_usize;
        for round in 0..words {
            set.add_word();
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
                assert_eq!(set.next_from(0), oracle.first().copied());
                assert_eq!(set.is_empty(), oracle.is_empty());
            }
        }
        while let Some(number) = oracle.pop_first() {
            assert_eq!(set.next_from(0), Some(number));
            set.remove(number);
        }
        assert!(set.is_empty());
    }
}
