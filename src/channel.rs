//! A channel: a [`Rotation`] of members shared by handles.
//!
//! **No foreign code runs under the channel's lock.** A receiver takes a member out of its slot for its turn, polls it with
//! no lock held, and puts it back. The poll may therefore call any method of the multiplexer, several receivers may poll one
//! channel in parallel, and a move or a removal never waits for a poll: it changes the state of the slot, and the receiver
//! finds the new state when the poll returns. [`slots`] describes the states of a slot, [`departures`] the reports besides
//! items, and [`turns`] how turns are taken.
//!
//! # Waking the receivers
//!
//! A member's waker wakes the receivers if they are parked (see [`MemberWaker`](crate::engine::wake_tree::MemberWaker)). Any
//! other operation that makes a slot ready runs under the lock. It checks for parked receivers before it unlocks, and the
//! receivers are woken after that. The methods that return a [`Wake`] leave this wake to their caller, which may still hold
//! the registry's lock.

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
use crate::unwind::{afterwards, unheard};
use crate::wait_list::WaitList;
use std::fmt;
use std::sync::Arc;

pub(crate) struct Channel<St> {
    id: ChannelId,
    half_close: bool,
    /// The waiting receivers.
    tasks: Arc<WaitList>,
    /// Raised when the channel is closed and has no stream.
    drained: Signal,
    state: Mutex<State<St>>,
}

/// Calls from a channel to the control plane, for a stream that leaves during its own poll.
pub(crate) trait Control<St> {
    /// A move or a removal ended the stream's stay while a channel polled it: puts the stream where it belongs now.
    fn arrive(&self, member: BoxedMember<St>);

    /// The stream is over: it left with `departure` while it was polled in slot `key` of `channel`. Returns whether its stay
    /// in that channel lasted until now, so that the departure is still to be reported.
    fn finish(
        &self,
        channel: &Channel<St>,
        key: usize,
        member: BoxedMember<St>,
        departure: Departure,
    ) -> bool;
}

/// The control side: steps of transitions that the registry makes under its own lock.
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

    /// Whether the channel admits no more streams; see [`State::is_full`]. The result stays valid while the caller holds the
    /// registry's lock: no other thread adds streams, and each new departure is that of a stream that leaves.
    pub(crate) fn is_full(&self, max_streams: usize) -> bool {
        self.state.lock().is_full(max_streams)
    }

    /// See [`State::stats`].
    pub(crate) fn stats(&self) -> ChannelStats {
        self.state.lock().stats()
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.state.lock().phase() == Phase::Removed
    }

    /// Whether the channel is closed and has no stream.
    pub(crate) fn is_drained(&self) -> bool {
        self.state.lock().is_drained()
    }

    /// Calls `tell` with the pairs in this channel; see [`State::pairs`].
    pub(crate) fn pairs(&self, from: usize, limit: usize, tell: impl FnMut(usize)) -> Option<usize> {
        self.state.lock().pairs(from, limit, tell)
    }

    /// Takes pairs out of this channel; see [`State::take_pairs`]. Tasks may be waiting for the last pair to leave: the
    /// caller wakes them.
    pub(crate) fn take_pairs(
        &self,
        from: usize,
        limit: usize,
        which: Which,
        tell: impl FnMut(Taken<St>),
    ) -> Option<usize> {
        self.state.lock().take_pairs(from, limit, which, tell)
    }

    /// The waiting receivers.
    pub(crate) fn tasks(&self) -> &WaitList {
        &self.tasks
    }

    /// The tasks and threads that wait for the last stream to leave.
    pub(crate) fn drained(&self) -> &Signal {
        &self.drained
    }

    /// Performs a [`Wake`].
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

    /// Gives a slot to a new stream, which is ready.
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

    /// Puts the expected stream into its slot.
    pub(crate) fn land(&self, key: usize, member: BoxedMember<St>) -> Wake {
        self.state.lock().land(key, member)
    }

    /// Ends the stay of a stream with a move or removal, and takes the stream out if it is in its slot.
    pub(crate) fn depart(&self, key: usize, id: StreamId, departure: Departure) -> Result<Left<St>, Absent> {
        self.state.lock().depart(key, id, departure)
    }

    /// The stream that was taken out of slot `key` for a poll is over; see [`State::retire`].
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

    /// Whether the stream in slot `key` has ended, and is kept for its sink.
    pub(crate) fn is_kept(&self, key: usize) -> bool {
        self.state.lock().is_kept(key)
    }

    /// The expected stream ended in its last poll in another channel, and is kept here.
    pub(crate) fn keep_expected(&self, key: usize, member: BoxedMember<St>) -> Wake {
        self.state.lock().keep_expected(key, member)
    }

    /// Reports a departure whose report a panic prevented.
    pub(crate) fn report_departure(&self, id: StreamId, departure: Departure) {
        let wake = self.state.lock().push_departure(id, departure);
        self.wake(wake);
    }

    /// Reports a panic after the current event. If a waker panics here, that panic is suppressed. Otherwise it would end the call,
    /// and the event would be lost.
    fn report_panic(&self, panic: Panic) {
        let pushed = self.state.lock().push_panic(panic);
        unheard(|| match pushed {
            Ok(wake) => self.wake(wake),
            Err(panic) => drop(panic),
        });
    }

    /// Whether the stream in slot `key` is paused.
    pub(crate) fn is_stream_paused(&self, key: usize) -> bool {
        self.state.lock().is_paused(key)
    }

    /// Stops the turns of the stream in slot `key`.
    pub(crate) fn pause_stream(&self, key: usize) -> Result<(), Absent> {
        self.state.lock().pause(key)
    }

    /// Restarts the turns of the stream in slot `key`.
    pub(crate) fn resume_stream(&self, key: usize) -> Result<Wake, Absent> {
        self.state.lock().resume(key)
    }

    /// Whether the channel is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.state.lock().phase().is_paused()
    }

    /// Pauses the channel: receivers receive nothing from it.
    pub(crate) fn pause(&self) {
        self.state.lock().pause_turns();
    }

    /// Resumes the channel.
    pub(crate) fn resume(&self) -> Wake {
        self.state.lock().resume_turns()
    }

    /// Resumes the channel and all its streams.
    pub(crate) fn resume_all(&self) -> Wake {
        self.state.lock().resume_all()
    }

    /// Closes the channel: it admits no more streams, and ends when it is empty.
    pub(crate) fn close(&self) -> Wake {
        self.state.lock().close()
    }

    /// Ends the channel immediately. Returns the unread departures, to be dropped with no lock held.
    pub(crate) fn remove(&self) -> Unheard {
        Unheard(self.state.lock().remove())
    }

    /// If the channel has ended, wakes all waiting receivers and the tasks that wait for the end.
    pub(crate) fn wake_if_over(&self) {
        let wake = self.state.lock().wake_if_ended();
        self.wake(wake);
    }

    /// Releases memory, and calls `tell` with the new slot of each pair; see [`State::compact`].
    pub(crate) fn compact(
        &self,
        compact: Rotation<Slot<St>>,
        tell: impl FnMut(usize, usize),
    ) -> (Wake, Surplus<St>) {
        self.state.lock().compact(compact, tell)
    }

    /// Creates a rotation for [`compact`](Self::compact), of this channel's current size.
    pub(crate) fn new_rotation(&self) -> Rotation<Slot<St>> {
        Rotation::replacing(Arc::clone(&self.tasks), self.len())
    }

    /// Counts a receiver.
    pub(crate) fn attach(&self) {
        self.state.lock().receivers += 1;
    }

    /// Uncounts a receiver. Returns how many are left.
    pub(crate) fn detach(&self) -> usize {
        let mut state = self.state.lock();
        state.receivers -= 1;
        state.receivers
    }

    pub(crate) fn receivers(&self) -> usize {
        self.state.lock().receivers
    }
}

/// The unread departures of a removed channel.
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
