//! [`Control`]: a stream leaves during its own poll.

use super::{Pair, Registry, has_live_sink, pair_mut};
use crate::channel::member::BoxedMember;
use crate::channel::{Channel, Control};
use crate::event::Departure;
use crate::sink::slot::Phase;
use crate::unwind::{afterwards, on_panic};
use slab::Slab;
use std::sync::Arc;

impl<St, Si> Control<St> for Registry<St, Si> {
    fn arrive(&self, member: BoxedMember<St>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(pair) = pair_mut(&mut state.pairs, member.id) else {
            drop(guard);
            drop(member);
            return;
        };
        let channel = Arc::clone(state.channels.of(pair.seat));
        let wake = channel.land(pair.seat.key(), member);
        drop(guard);
        channel.wake(wake);
    }

    fn finish(&self, channel: &Channel<St>, key: usize, member: BoxedMember<St>, how: Departure) -> bool {
        let id = member.id;
        let mut member = Some(member);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let may_be_kept = how == Departure::Ended && !state.abandoned;
        // Calls that close the sink from now on find that the stream has ended.
        let keeps = |pairs: &Slab<Pair<Si>>, there: &Channel<St>| {
            may_be_kept && there.half_close() && has_live_sink(pairs, id)
        };
        let is_kept_here = keeps(&state.pairs, channel);
        let (lasted, wake) = channel.retire(key, &mut member, how, is_kept_here);
        let mut elsewhere = None;
        let seat = pair_mut(&mut state.pairs, id).map(|pair| pair.seat);
        if let (false, Some(seat)) = (lasted, seat) {
            // The stream was moved during its poll, and never arrives in the other channel.
            let there = Arc::clone(state.channels.of(seat));
            let wake = if keeps(&state.pairs, &there) {
                there.keep_expected(seat.key(), member.take().expect("`retire` did not keep it"))
            } else {
                there.depart(seat.key(), id, how).expect("an expected stream has not ended").wake
            };
            elsewhere = Some((there, wake));
        }
        let mut sink = None;
        if member.is_some() && pair_mut(&mut state.pairs, id).is_some() {
            sink = state.pairs.remove(id.key()).sink;
        }
        let is_over = state.is_over();
        drop(guard);

        // Each of these steps runs foreign code, and all of them must happen.
        let flushers_woken = self.wake_flushers_if(is_over);
        let unreported = on_panic(|| {
            if lasted && how == Departure::Ended {
                channel.report_departure(id, how);
            }
        });
        let stream_dropped = afterwards(|| drop(member));
        let sink_let_go = afterwards(|| {
            let phase = if how == Departure::Ended { Phase::Ending } else { Phase::Gone };
            drop(sink.map(|sink| sink.advance(phase)));
        });
        let woken_elsewhere = afterwards(|| {
            if let Some((channel, wake)) = elsewhere {
                channel.wake(wake);
            }
        });
        drop(afterwards(|| channel.wake(wake)));
        drop(woken_elsewhere);
        drop(sink_let_go);
        drop(stream_dropped);
        drop(flushers_woken);
        unreported.defuse();
        lasted
    }
}
