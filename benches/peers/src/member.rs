//! The members: streams that the workloads drive by hand.
//!
//! A member is a pointer to a slot. The slot stores the number of items that the member may yield, and the member's waker.
//! A member needs no atomic operation and no allocation, so that only the set is measured. All slots belong to one thread
//! and are created in advance, so that a workload can push to a member by its index.

use futures::Stream;
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Larger than the number of members that any workload has at the same time.
const SLOTS: usize = 1 << 17;

/// The bits of an item from this one on are the index of its member. The lower bits are its number among the items of this
/// member.
const NUMBER_BITS: u32 = 40;

/// More items than any measurement takes.
const PLENTY: u64 = 1 << (NUMBER_BITS - 1);

/// The era of members that are not counted.
const NO_ERA: u32 = u32::MAX;

thread_local! {
    /// Never freed, because it is needed until the end.
    static SLOT: &'static [Slot] = Box::leak((0..SLOTS).map(Slot::new).collect());
    /// The number of calls of [`forget`].
    static ERA: Cell<u32> = const { Cell::new(0) };
    /// The number of members of this era.
    static LIVE: Cell<usize> = const { Cell::new(0) };
    /// The number of members that wait for a wake.
    static PARKED: Cell<usize> = const { Cell::new(0) };
}

struct Slot {
    index: u32,
    /// Whether the stream ends when all pushed items are taken.
    ends: Cell<bool>,
    /// The number of items pushed so far.
    pushed: Cell<u64>,
    /// The number of items taken so far.
    taken: Cell<u64>,
    waker: Cell<Option<Waker>>,
}

impl Slot {
    fn new(index: usize) -> Self {
        Self {
            index: u32::try_from(index).expect("there are fewer slots"),
            ends: Cell::new(false),
            pushed: Cell::new(0),
            taken: Cell::new(0),
            waker: Cell::new(None),
        }
    }

    fn register(&self, waker: &Waker) {
        let waker = match self.waker.take() {
            Some(registered) if registered.will_wake(waker) => registered,
            Some(_) => waker.clone(),
            None => {
                PARKED.set(PARKED.get() + 1);
                waker.clone()
            }
        };
        self.waker.set(Some(waker));
    }

    fn take_waker(&self) -> Option<Waker> {
        let waker = self.waker.take()?;
        PARKED.set(PARKED.get() - 1);
        Some(waker)
    }

    fn wake(&self) {
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }
}

fn slot(index: usize) -> &'static Slot {
    SLOT.with(|slots| &slots[index])
}

fn first_slots(members: usize) -> &'static [Slot] {
    SLOT.with(|slots| &slots[..members])
}

/// A stream of the items that are pushed to it, with `PAD` additional bytes.
pub struct Member<const PAD: usize> {
    slot: &'static Slot,
    era: u32,
    _pad: [u8; PAD],
}

/// As small as a boxed stream.
pub type Small = Member<0>;

/// 1 KiB, as a framed socket may be.
pub type Large = Member<1008>;

impl<const PAD: usize> Member<PAD> {
    /// Creates a member without items.
    pub fn new(index: usize) -> Self {
        let slot = slot(index);
        slot.pushed.set(0);
        slot.taken.set(0);
        slot.ends.set(false);
        LIVE.set(LIVE.get() + 1);
        Self { slot, era: ERA.get(), _pad: [0; PAD] }
    }

    /// Creates a member that yields one item and ends.
    pub fn with_last_item(index: usize) -> Self {
        let member = Self::new(index);
        push(index);
        member.slot.ends.set(true);
        member
    }
}

impl<const PAD: usize> Default for Member<PAD> {
    /// Creates a stream that has ended.
    fn default() -> Self {
        let slot = slot(SLOTS - 1);
        slot.ends.set(true);
        Self { slot, era: NO_ERA, _pad: [0; PAD] }
    }
}

impl<const PAD: usize> Stream for Member<PAD> {
    type Item = u64;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let slot = self.slot;
        let taken = slot.taken.get();
        if taken < slot.pushed.get() {
            slot.taken.set(taken + 1);
            return Poll::Ready(Some(item(slot.index as usize, taken)));
        }
        if slot.ends.get() {
            return Poll::Ready(None);
        }
        slot.register(cx.waker());
        Poll::Pending
    }
}

impl<const PAD: usize> Drop for Member<PAD> {
    fn drop(&mut self) {
        if self.era == ERA.get() {
            drop(self.slot.take_waker());
            LIVE.set(LIVE.get() - 1);
        }
    }
}

/// The item that a member yields after `number` others.
#[inline]
pub fn item(index: usize, number: u64) -> u64 {
    (index as u64) << NUMBER_BITS | number
}

/// The index of the member that yielded an item.
#[inline]
pub fn giver(item: u64) -> usize {
    (item >> NUMBER_BITS) as usize
}

/// Pushes one item to a member and wakes it. Returns the item that the member will yield.
#[inline]
pub fn push(index: usize) -> u64 {
    let slot = slot(index);
    let pushed = slot.pushed.get();
    slot.pushed.set(pushed + 1);
    slot.wake();
    item(index, pushed)
}

/// Makes the first `members` always ready.
pub fn push_plenty(members: usize) {
    for slot in first_slots(members) {
        slot.pushed.set(slot.taken.get() + PLENTY);
        slot.wake();
    }
}

/// Withdraws all items that were not taken.
pub fn withdraw(members: usize) {
    for slot in first_slots(members) {
        slot.pushed.set(slot.taken.get());
    }
}

/// The number of items that the first `members` members yielded, and the (wrapping) sum of these items.
pub fn given(members: usize) -> (u64, u64) {
    let (mut count, mut sum) = (0, 0_u64);
    for slot in first_slots(members) {
        let taken = slot.taken.get();
        count += taken;
        // The taken items have the numbers 0 to taken - 1.
        let numbers = taken * taken.saturating_sub(1) / 2;
        sum = sum.wrapping_add(taken.wrapping_mul(item(slot.index as usize, 0)).wrapping_add(numbers));
    }
    (count, sum)
}

/// Returns whether there are `members` members, and all wait for a wake.
#[inline]
pub fn all_parked(members: usize) -> bool {
    LIVE.get() == members && PARKED.get() == members
}

/// Forgets the first `members` members, of a set that was dropped. Some sets drop their members later, or never.
pub fn forget(members: usize) {
    for slot in first_slots(members) {
        drop(slot.waker.take());
    }
    ERA.set(ERA.get() + 1);
    LIVE.set(0);
    PARKED.set(0);
}

/// Measures the cost, in nanoseconds, of the poll of a member that has an item: two members are polled in turn, without a
/// set.
pub fn own_cost() -> f64 {
    const ROUNDS: u64 = 5_000_000;
    forget(2);
    let mut members = [Small::new(0), Small::new(1)];
    push_plenty(2);
    let mut cx = Context::from_waker(Waker::noop());
    let mut sum = 0_u64;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for member in std::hint::black_box(&mut members) {
            if let Poll::Ready(Some(item)) = Pin::new(member).poll_next(&mut cx) {
                sum = sum.wrapping_add(item);
            }
        }
    }
    let ns = start.elapsed().as_nanos() as f64 / (2 * ROUNDS) as f64;
    assert_eq!((2 * ROUNDS, sum), given(2));
    ns
}
