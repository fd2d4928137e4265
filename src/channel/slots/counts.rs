//! Counts of a channel's polls and departures, kept under its lock.

use super::State;
use crate::event::Departure;
use crate::stats::ChannelStats;

#[derive(Default)]
pub(in crate::channel) struct Counts {
    /// Polls that returned an item. Every such item is received. This is the only counter that an item increments.
    pub(in crate::channel) items: u64,
    /// Polls that returned `Pending`.
    pub(in crate::channel) in_vain: u64,
    /// Polls that returned `None`.
    pub(super) ends: u64,
    /// Departures that were received.
    pub(super) departed: u64,
    ended: u64,
    moved: u64,
    removed: u64,
}

impl Counts {
    /// Counts the end of a stay.
    pub(super) fn note(&mut self, departure: Departure) {
        match departure {
            Departure::Ended => self.ended += 1,
            Departure::Moved(_) => self.moved += 1,
            Departure::Removed => self.removed += 1,
        }
    }
}

impl<St> State<St> {
    /// Returns all statistics except `refused`, which the registry counts.
    pub(in crate::channel) fn stats(&self) -> ChannelStats {
        let &Counts { items, in_vain, ends, departed, ended, moved, removed } = &self.counts;
        ChannelStats {
            members: self.members,
            half_closed: self.ended,
            paused: self.paused,
            unread_departures: self.departures.unread(),
            events: items + departed,
            items,
            polls: items + in_vain + ends,
            polls_in_vain: in_vain,
            ended,
            moved,
            removed,
            refused: 0,
            longest_wait: self.slots.longest_wait(),
        }
    }
}
