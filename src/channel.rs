//! A channel: a [`Rotation`] of members shared by handles.
//!
//! **No foreign code runs under its lock.** A member is taken out of its slot for its turn, polled with no
//! lock held, and put back. So its poll may call whatever it likes, several receivers may poll one channel
//! at a time, and a move or a removal never waits for a poll: it changes the slot, and the poll's return
//! finds that out. What a slot goes through is in [`slots`], how turns are taken in [`turns`].
//!
//! # Who wakes the receivers
//!
//! A member's waker wakes them if they are parked (see [`Rotation`]).
//! Everything else that makes a slot ready happens under the lock, and whoever did it looks for parked receivers
//! before it unlocks, and wakes them after: the methods that return [`Wake`] leave that to the caller, who may
//! hold the registry's lock.

pub(crate) mod receiver;
pub(crate) mod recv;
pub(crate) mod slots;
pub(crate) mod turns;

pub use receiver::{ChannelReceiver, RecvMany};
pub use recv::Recv;

use crate::channel::slots::{Member, Phase, Removed, State, Unheard, Untold, Wake};
use crate::engine::rotation::Rotation;
use crate::event::Departure;
use crate::id::{ChannelId, StreamId};
use crate::sync::Mutex;
use crate::wait_list::WaitList;
use slab::Slab;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

pub(crate) struct Channel<St> {
    id: ChannelId,
    half_close: bool,
    /// The receivers that wait.
    tasks: Arc<WaitList>,
    state: Mutex<State<St>>,
}

/// What a channel needs of the control plane when a stream leaves in its own poll.
pub(crate) trait Control<St> {
    /// The stream's stay was ended by others while it was polled in `channel`: puts it where it belongs now.
    fn arrive(&self, member: Box<Member<St>>);

    /// The stream is over: it left by `departure` while it was polled in slot `key` of `channel`. Returns
    /// whether its stay there had lasted until now and the departure is still to be told.
    fn finish(
        &self,
        channel: &Channel<St>,
        key: usize,
        member: Box<Member<St>>,
        departure: Departure,
    ) -> bool;
}

/// The control side: each a step of a transition that the registry makes under its own lock.
impl<St> Channel<St> {
    pub(crate) fn new(id: ChannelId, half_close: bool) -> Self {
        let slots = Rotation::with_capacity(0);
        let tasks = Arc::clone(slots.tasks());
        let state = State {
            slots,
            expected: Slab::new(),
            untold: VecDeque::new(),
            held: Vec::new(),
            members: 0,
            phase: Phase::Open,
        };
        Self { id, half_close, tasks, state: Mutex::new(state) }
    }

    pub(crate) fn id(&self) -> ChannelId {
        self.id
    }

    pub(crate) fn half_close(&self) -> bool {
        self.half_close
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().members
    }

    /// The pairs of the streams whose stay here goes on.
    pub(crate) fn pairs(&self) -> Vec<usize> {
        self.state.lock().pairs()
    }

    /// Whether receivers have nothing to expect now.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Removed || state.has_ended()
    }

    /// The receivers that wait.
    pub(crate) fn tasks(&self) -> &WaitList {
        &self.tasks
    }

    /// Pays what a [`Wake`] promised.
    #[inline]
    pub(crate) fn wake(&self, wake: Wake) {
        if wake.0 {
            self.tasks.wake_all();
        }
    }

    /// Gives a stream a slot, ready.
    pub(crate) fn seat(&self, member: Box<Member<St>>) -> (usize, Wake) {
        self.state.lock().seat(member)
    }

    /// Gives a slot to a stream that is being polled elsewhere.
    pub(crate) fn expect(&self, pair: usize) -> usize {
        self.state.lock().expect(pair)
    }

    /// The expected stream comes, ready.
    pub(crate) fn land(&self, key: usize, member: Box<Member<St>>) -> Wake {
        self.state.lock().land(key, member)
    }

    /// Ends the stay of a stream by a move or removal, and takes the stream out if it is here.
    pub(crate) fn depart(
        &self,
        key: usize,
        id: StreamId,
        departure: Departure,
    ) -> (Option<Box<Member<St>>>, Wake) {
        self.state.lock().depart(key, id, departure)
    }

    /// The stream that was taken out of slot `key` to be polled is over. Returns whether its stay here had
    /// lasted until now. If so and it `Ended`, that is the caller's to tell; else the channel will.
    pub(crate) fn retire(&self, key: usize, member: &mut Member<St>, departure: Departure) -> (bool, Wake) {
        self.state.lock().retire(key, member, departure)
    }

    /// Tells a departure that a panic kept from being told.
    pub(crate) fn tell_departure(&self, id: StreamId, departure: Departure) {
        self.tell(Untold::Departed(id, departure));
    }

    fn tell(&self, untold: Untold) {
        let mut state = self.state.lock();
        if state.phase == Phase::Removed {
            return;
        }
        state.untold.push_back(untold);
        let wake = state.wake();
        drop(state);
        self.wake(wake);
    }

    /// Ends when it is empty.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
    }

    /// Ends at once. Gives back the streams whose stay lasted until now, and what nobody will hear, to be
    /// dropped with no lock held.
    pub(crate) fn remove(&self) -> (Vec<Removed<St>>, Unheard) {
        self.state.lock().remove()
    }
}

impl<St> fmt::Debug for Channel<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (members, phase) = (state.members, state.phase);
        drop(state);
        f.debug_struct("Channel")
            .field("id", &self.id)
            .field("members", &members)
            .field("phase", &phase)
            .finish()
    }
}
