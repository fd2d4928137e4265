//! A channel: a [`Rotation`] of members shared by handles.
//!
//! **No foreign code runs under its lock.** A member is taken out of its slot for its turn, polled with no
//! lock held, and put back. So its poll may call whatever it likes, several receivers may poll one channel
//! at a time, and a move or a removal never waits for a poll: it changes the slot, and the poll's return
//! finds that out. What a slot goes through is in [`slots`], what it has to report
//! besides items in [`departures`], how turns are taken in [`turns`].
//!
//! # Who wakes the receivers
//!
//! A member's waker wakes them if they are parked (see [`MemberWaker`](crate::engine::wake_tree::MemberWaker)).
//! Everything else that makes a slot ready happens under the lock, and whoever did it looks for parked receivers
//! before it unlocks, and wakes them after: the methods that return [`Wake`] leave that to the caller, who may
//! hold the registry's lock.

pub(crate) mod departures;
pub(crate) mod drained;
pub(crate) mod member;
pub(crate) mod pace;
pub(crate) mod receiver;
pub(crate) mod recv;
pub(crate) mod schedule;
pub(crate) mod select;
pub(crate) mod share;
pub(crate) mod slots;
pub(crate) mod turns;

pub use drained::Drained;
pub use receiver::{ChannelReceiver, RecvMany};
pub use recv::Recv;
pub use select::{ChannelSelect, SelectMany, SelectStats, ShareStats};
pub use share::Share;

use crate::channel::departures::{Panic, Spent};
use crate::channel::member::BoxedMember;
use crate::channel::slots::{Absent, Left, Phase, Slot, State, Surplus, Taken, Wake, Which};
use crate::engine::rotation::Rotation;
use crate::event::Departure;
use crate::id::{ChannelId, StreamId};
use crate::options::ChannelOptions;
use crate::signal::Signal;
use crate::stats::ChannelStats;
use crate::sync::Mutex;
use crate::unwind::afterwards;
use crate::wait_list::WaitList;
use std::fmt;
use std::sync::Arc;

pub(crate) struct Channel<St> {
    id: ChannelId,
    half_close: bool,
    /// The receivers that wait.
    tasks: Arc<WaitList>,
    /// No stream is here, and none will come.
    drained: Signal,
    state: Mutex<State<St>>,
}

/// What a channel needs of the control plane when a stream leaves in its own poll.
pub(crate) trait Control<St> {
    /// The stream's stay was ended by others while it was polled in a channel: puts it where it belongs now.
    fn arrive(&self, member: BoxedMember<St>);

    /// The stream is over: it left by `departure` while it was polled in slot `key` of `channel`. Returns
    /// whether its stay there had lasted until now and the departure is still to be reported.
    fn finish(
        &self,
        channel: &Channel<St>,
        key: usize,
        member: BoxedMember<St>,
        departure: Departure,
    ) -> bool;
}

/// The control side: each a step of a transition that the registry makes under its own lock.
impl<St> Channel<St> {
    pub(crate) fn new(id: ChannelId, options: ChannelOptions) -> Self {
        let state = State::new(options.report_departures);
        let tasks = Arc::clone(state.tasks());
        Self { id, half_close: options.half_close, tasks, drained: Signal::new(), state: Mutex::new(state) }
    }

    pub(crate) fn id(&self) -> ChannelId {
        self.id
    }

    pub(crate) fn half_close(&self) -> bool {
        self.half_close
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().len()
    }

    /// Whether no more streams fit in; see [`State::is_full`]. Exact for who holds the registry's lock: nobody else adds
    /// streams, and no departure comes without one leaving.
    pub(crate) fn is_full(&self, max_streams: usize) -> bool {
        self.state.lock().is_full(max_streams)
    }

    /// What is and was here; see [`State::stats`].
    pub(crate) fn stats(&self) -> ChannelStats {
        self.state.lock().stats()
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.state.lock().phase() == Phase::Removed
    }

    /// Whether no stream is here, and none will come.
    pub(crate) fn is_drained(&self) -> bool {
        self.state.lock().is_drained()
    }

    /// Calls `tell` with the pairs that are here; see [`State::pairs`].
    pub(crate) fn pairs(&self, from: usize, limit: usize, tell: impl FnMut(usize)) -> Option<usize> {
        self.state.lock().pairs(from, limit, tell)
    }

    /// Takes out pairs that are here; see [`State::take_pairs`]. The last of them may be who others wait for.
    pub(crate) fn take_pairs(
        &self,
        from: usize,
        limit: usize,
        which: Which,
        tell: impl FnMut(Taken<St>),
    ) -> Option<usize> {
        self.state.lock().take_pairs(from, limit, which, tell)
    }

    /// The receivers that wait.
    pub(crate) fn tasks(&self) -> &WaitList {
        &self.tasks
    }

    /// Who waits for the last stream to leave.
    pub(crate) fn drained(&self) -> &Signal {
        &self.drained
    }

    /// Pays what a [`Wake`] promised.
    #[inline]
    pub(crate) fn wake(&self, wake: Wake) {
        if wake.is_for_drained() {
            self.wake_all(wake);
        } else if wake.is_for_receivers() {
            self.tasks.wake_all();
        }
    }

    #[cold]
    fn wake_all(&self, wake: Wake) {
        let receivers_woken = afterwards(|| {
            if wake.is_for_receivers() {
                self.tasks.wake_all();
            }
        });
        self.drained.raise();
        drop(receivers_woken);
    }

    /// Gives a new stream a slot, ready.
    pub(crate) fn seat(&self, member: BoxedMember<St>) -> (usize, Wake) {
        self.state.lock().seat(member)
    }

    /// Gives a slot to a stream that was moved here.
    pub(crate) fn seat_moved(&self, member: BoxedMember<St>, paused: bool) -> (usize, Wake) {
        self.state.lock().seat_moved(member, paused)
    }

    /// Gives a slot to a stream that is being polled elsewhere.
    pub(crate) fn expect(&self, pair: usize, paused: bool) -> usize {
        self.state.lock().expect(pair, paused)
    }

    /// The expected stream comes.
    pub(crate) fn land(&self, key: usize, member: BoxedMember<St>) -> Wake {
        self.state.lock().land(key, member)
    }

    /// Ends the stay of a stream by a move or removal, and takes the stream out if it is here.
    pub(crate) fn depart(&self, key: usize, id: StreamId, departure: Departure) -> Result<Left<St>, Absent> {
        self.state.lock().depart(key, id, departure)
    }

    /// The stream that was taken out of slot `key` to be polled is over; see [`State::retire`].
    pub(crate) fn retire(
        &self,
        key: usize,
        member: &mut Option<BoxedMember<St>>,
        departure: Departure,
        is_kept: bool,
    ) -> (bool, Wake) {
        self.state.lock().retire(key, member, departure, is_kept)
    }

    /// Takes a stream out as for a poll, for [`with_stream`](Self::with_stream).
    pub(crate) fn take_out(&self, key: usize) -> Result<BoxedMember<St>, Absent> {
        self.state.lock().take_out(key)
    }

    /// Whether the stream in slot `key` has ended and is kept for its sink.
    pub(crate) fn is_kept(&self, key: usize) -> bool {
        self.state.lock().is_kept(key)
    }

    /// The expected stream has ended in its last poll elsewhere, and is kept.
    pub(crate) fn keep_expected(&self, key: usize, member: BoxedMember<St>) -> Wake {
        self.state.lock().keep_expected(key, member)
    }

    /// Reports a departure that a panic kept from being reported.
    pub(crate) fn report_departure(&self, id: StreamId, departure: Departure) {
        let wake = self.state.lock().push_departure(id, departure);
        self.wake(wake);
    }

    /// A panic is reported after the event that is at hand.
    fn report_panic(&self, panic: Panic) {
        let pushed = self.state.lock().push_panic(panic);
        match pushed {
            Ok(wake) => self.wake(wake),
            Err(panic) => drop(panic),
        }
    }

    /// Whether the stream in slot `key` is paused.
    pub(crate) fn is_stream_paused(&self, key: usize) -> bool {
        self.state.lock().is_paused(key)
    }

    /// The stream in slot `key` has no turns from now on.
    pub(crate) fn pause_stream(&self, key: usize) -> Result<(), Absent> {
        self.state.lock().pause(key)
    }

    /// The stream in slot `key` has turns again.
    pub(crate) fn resume_stream(&self, key: usize) -> Result<Wake, Absent> {
        self.state.lock().resume(key)
    }

    /// Whether nothing is received from here until that is resumed.
    pub(crate) fn is_paused(&self) -> bool {
        self.state.lock().phase().is_paused()
    }

    /// Nothing is received from here, from now on.
    pub(crate) fn pause(&self) {
        self.state.lock().pause_turns();
    }

    /// It is received from again.
    pub(crate) fn resume(&self) -> Wake {
        self.state.lock().resume_turns()
    }

    /// Resumes all that is paused here, the channel and its streams.
    pub(crate) fn resume_all(&self) -> Wake {
        self.state.lock().resume_all()
    }

    /// Admits nobody from now on, and ends when it is empty.
    pub(crate) fn close(&self) -> Wake {
        self.state.lock().close()
    }

    /// Ends at once. Gives back what nobody will receive, to be dropped with no lock held.
    pub(crate) fn remove(&self) -> Unheard {
        Unheard(self.state.lock().remove())
    }

    /// Wakes those for whom that was the end.
    pub(crate) fn wake_if_over(&self) {
        let wake = self.state.lock().wake_if_ended();
        self.wake(wake);
    }

    /// Gives back memory, and tells where each pair is now; see [`State::compact`].
    pub(crate) fn compact(
        &self,
        compact: Rotation<Slot<St>>,
        tell: impl FnMut(usize, usize),
    ) -> (Wake, Surplus<St>) {
        self.state.lock().compact(compact, tell)
    }

    /// A rotation to compact this channel to, as it is now.
    pub(crate) fn new_rotation(&self) -> Rotation<Slot<St>> {
        Rotation::replacing(Arc::clone(&self.tasks), self.len())
    }

    /// Counts a receiver.
    pub(crate) fn attach(&self) {
        self.state.lock().receivers += 1;
    }

    /// Counts a receiver no more. Returns how many there are.
    pub(crate) fn detach(&self) -> usize {
        let mut state = self.state.lock();
        state.receivers -= 1;
        state.receivers
    }

    pub(crate) fn receivers(&self) -> usize {
        self.state.lock().receivers
    }
}

/// What a channel that was removed had still to report.
#[must_use]
pub(crate) struct Unheard(Spent);

impl Unheard {
    pub(crate) fn drop_all(self) {
        self.0.drop_all();
    }
}

impl<St> fmt::Debug for Channel<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (len, phase) = (state.len(), state.phase());
        drop(state);
        f.debug_struct("Channel").field("id", &self.id).field("streams", &len).field("phase", &phase).finish()
    }
}
