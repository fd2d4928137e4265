//! What happened in a channel, counted under its lock.

use super::State;
use crate::event::Departure;
use crate::stats::ChannelStats;

#[derive(Default)]
pub(in crate::channel) struct Counts {
    /// Polls that returned an item, each of which is received. The one counter that an item pays for.
    pub(in crate::channel) items: u64,
    /// Polls that returned `Pending`.
    pub(in crate::channel) in_vain: u64,
    /// Polls that returned the end.
    pub(super) ends: u64,
    /// Departures that were received.
    pub(super) told: u64,
    ended: u64,
    moved: u64,
    removed: u64,
}

impl Counts {
    /// A stay here has ended.
    pub(super) fn note(&mut self, departure: Departure) {
        match departure {
            Departure::Ended => self.ended += 1,
            Departure::Moved(_) => self.moved += 1,
            Departure::Removed => self.removed += 1,
        }
    }
}

impl<St> State<St> {
    /// All but what was refused, which the registry knows.
    pub(in crate::channel) fn stats(&self) -> ChannelStats {
        let &Counts { items, in_vain, ends, told, ended, moved, removed } = &self.counts;
        ChannelStats {
            members: self.members,
            half_closed: self.ended,
            paused: self.paused,
            unread_departures: self.departures.unread(),
            events: items + told,
            items,
            polls: items + in_vain + ends,
            polls_in_vain: in_vain,
            ended,
            moved,
            removed,
            refused: 0,
        }
    }
}
