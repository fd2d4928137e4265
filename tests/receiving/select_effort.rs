//! How many streams a select polls in vain in one call.

use futures::Stream;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{Multiplexer, Share};

/// What the streams of a test share.
#[derive(Default)]
struct Shared {
    polls_in_vain: Cell<usize>,
    wakers: RefCell<Vec<Waker>>,
}

/// The first stream always has an item, and wakes all others when it yields one. The others never have anything.
struct Member {
    is_first: bool,
    shared: Rc<Shared>,
}

impl Stream for Member {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let shared = &self.shared;
        if self.is_first {
            let wakers = shared.wakers.take();
            wakers.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(()));
        }
        shared.polls_in_vain.set(shared.polls_in_vain.get() + 1);
        shared.wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}

/// Between two events 60 streams are polled in vain. A batch has one measure for all of that, and not one for each event:
/// it ends early, and the events behind it come with the next call.
#[test]
fn a_batch_polls_few_streams_in_vain() {
    // With a cost set, the batch takes the long way for each event.
    for has_cost in [false, true] {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(1).unwrap();
        let shared = Rc::new(Shared::default());
        for nth in 0..61 {
            let member = Member { is_first: nth == 0, shared: Rc::clone(&shared) };
            multiplexer.add_stream(member, 1).unwrap();
        }
        let mut select = multiplexer.select();
        select.add(1, Share::new()).unwrap();
        if has_cost {
            select.cost(|()| 1);
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut events = Vec::new();
        for _ in 0..100 {
            let before = shared.polls_in_vain.get();
            let _ = select.poll_recv_many(&mut cx, &mut events, 64);
            let in_vain = shared.polls_in_vain.get() - before;
            assert!(in_vain <= 3 * 64, "{in_vain} polls in vain in one call");
        }
        assert!(events.len() >= 100, "{}", events.len());
    }
}
