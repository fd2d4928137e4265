//! The memory that stays when all have gone, in bytes for each.

use crate::bytes::held;
use crate::parts::{
    CHANNEL, Control, Member, Mux, OTHER, add, add_idle, drain, idle_members, multiplexer, poll, poll_future,
    settle,
};
use crate::receiving::move_to_and_fro;
use crate::table::{Case, Unit};
use stream_multiplexer::StreamSlab;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, measure| Case { name, unit: Unit::Bytes, should: "0", measure };
    vec![
        case("kept per pair after n came and went", pairs),
        case("the same, after `shrink_to_fit`", shrunk_pairs),
        case("kept per pair after n came, went and were not told", untold),
        case("kept per departure after n were told", told),
        case("kept per waiter of a sink after n went", waiters),
        case("the same, after `shrink_to_fit`", shrunk_waiters),
        case("kept per poll of a sender while its sink was away", missed),
        case("kept per move of a stream in its own poll", moves),
        case("kept per member of a `StreamSlab` after n were removed", slab_members),
        case("the same, after `shrink_to_fit`", shrunk_slab),
    ]
}

/// All members were present together.
fn pairs(n: usize) -> f64 {
    pairs_and(n, |_| {})
}

fn shrunk_pairs(n: usize) -> f64 {
    pairs_and(n, |multiplexer| multiplexer.shrink_to_fit())
}

fn pairs_and(n: usize, then: fn(&Mux)) -> f64 {
    let multiplexer = multiplexer();
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    kept(n, || {
        let members: Vec<_> = (0..n).map(|_| add_idle(&multiplexer, CHANNEL)).collect();
        settle(&mut receiver, &members);
        for (id, _) in members {
            multiplexer.remove_stream(id).unwrap();
        }
        assert_eq!(drain(&mut receiver), n);
        then(&multiplexer);
    })
}

/// One member at a time, and no task receives.
fn untold(n: usize) -> f64 {
    let multiplexer = multiplexer();
    kept(n, || {
        for _ in 0..n {
            multiplexer.remove_stream(add_idle(&multiplexer, CHANNEL).0).unwrap();
        }
    })
}

/// One member at a time. All departures are read at the end.
fn told(n: usize) -> f64 {
    let multiplexer = multiplexer();
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    kept(n, || {
        for _ in 0..n {
            multiplexer.remove_stream(add_idle(&multiplexer, CHANNEL).0).unwrap();
        }
        assert_eq!(drain(&mut receiver), n);
    })
}

fn waiters(n: usize) -> f64 {
    waiters_and(n, |_| {})
}

fn shrunk_waiters(n: usize) -> f64 {
    waiters_and(n, |multiplexer| multiplexer.shrink_to_fit())
}

fn waiters_and(n: usize, then: fn(&Mux)) -> f64 {
    let multiplexer = multiplexer();
    let (id, _) = add_idle(&multiplexer, CHANNEL);
    kept(n, || {
        let mut sends: Vec<_> = (0..n).map(|_| multiplexer.send_one(id, ())).collect();
        for send in &mut sends {
            assert!(poll_future(send).is_pending());
        }
        drop(sends);
        then(&multiplexer);
    })
}

/// One sender, which is polled n times while another poll uses the sink.
fn missed(n: usize) -> f64 {
    let multiplexer = multiplexer();
    let sink = Control::ready(0);
    let id = add(&multiplexer, &Control::ready(0), &sink, CHANNEL);
    kept(n, || {
        let inside = multiplexer.clone();
        sink.act(move || {
            let mut send = inside.send_one(id, ());
            (0..n).for_each(|_| assert!(poll_future(&mut send).is_pending()));
        });
        assert!(poll_future(&mut multiplexer.send_one(id, ())).is_pending());
    })
}

/// A stream is moved n times in its own poll. All departures are read.
fn moves(n: usize) -> f64 {
    let (multiplexer, mut receiver, members) = idle_members(1);
    let mut other = multiplexer.receiver(OTHER).unwrap();
    let (id, stream) = &members[0];
    kept(n, || {
        let (inside, id) = (multiplexer.clone(), *id);
        stream.act(move || move_to_and_fro(&inside, id, n));
        stream.wake();
        drain(&mut receiver);
        drain(&mut other);
    })
}

fn slab_members(n: usize) -> f64 {
    slab_members_and(n, |_| {})
}

fn shrunk_slab(n: usize) -> f64 {
    slab_members_and(n, StreamSlab::shrink_to_fit)
}

fn slab_members_and(n: usize, then: fn(&mut StreamSlab<Member>)) -> f64 {
    let mut slab = StreamSlab::new();
    kept(n, || {
        slab.extend((0..n).map(|_| Member(Control::ready(0))));
        (0..n / 64 + 1).for_each(|_| assert!(poll(&mut slab).is_pending()));
        slab.clear();
        then(&mut slab);
    })
}

/// The bytes that `work` leaves allocated, divided by n.
fn kept(n: usize, work: impl FnOnce()) -> f64 {
    let before = held();
    work();
    (held() - before) as f64 / n as f64
}
