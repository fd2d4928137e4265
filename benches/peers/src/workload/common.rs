//! The common beginnings and ends of workloads.

use crate::member::{Member, all_parked, forget, giver};
use crate::peer::Peer;
use std::future::poll_fn;
use std::task::Poll;

/// Creates a set of `members` members, all parked, with room for one more.
pub async fn filled<P: Peer<Member<PAD>>, const PAD: usize>(members: usize) -> (P, Vec<P::Key>) {
    forget(members + 1);
    let (mut peer, keys) = P::fill(members + 1, (0..members).map(Member::new));
    settle(&mut peer, members).await;
    (peer, keys)
}

/// Polls until there are `members` members, all parked. None may have an item.
pub async fn settle<P: Peer<Member<PAD>>, const PAD: usize>(peer: &mut P, members: usize) {
    poll_fn(|cx| {
        if let Poll::Ready(Some((_, item))) = peer.poll(cx) {
            panic!("member {} has an item", giver(item));
        }
        if all_parked(members) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Receives the next item and the key of its member.
#[inline]
pub async fn next<P: Peer<Member<PAD>>, const PAD: usize>(peer: &mut P) -> (P::Key, u64) {
    poll_fn(|cx| peer.poll(cx)).await.expect("it has members")
}

/// Pushes one item to each member, and checks that the item arrives with the right key. `indices[i]` is the index of the
/// member with `keys[i]`.
pub async fn check_all_there<P: Peer<Member<PAD>>, const PAD: usize>(
    peer: &mut P,
    keys: &[P::Key],
    indices: &[usize],
) {
    for (&key, &index) in keys.iter().zip(indices) {
        let pushed = crate::member::push(index);
        assert_eq!(next(peer).await, (key, pushed));
    }
}

/// Numbers below `end` in an unpredictable order, which is the same in each run.
pub struct Picker {
    state: u32,
    end: u32,
}

impl Picker {
    pub fn below(end: usize) -> Self {
        Self { state: 0x2545_F491, end: u32::try_from(end).expect("some 100,000 members at most") }
    }

    #[inline]
    pub fn pick(&mut self) -> usize {
        // xorshift
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        ((u64::from(self.state) * u64::from(self.end)) >> 32) as usize
    }
}
