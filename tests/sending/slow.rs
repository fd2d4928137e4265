//! Slow peers: which ones they are, and what happened to the items for them.

use crate::{pairs, support};
use futures::FutureExt;
use pairs::{CHANNEL, peers};
use stream_multiplexer::{MultiplexerError, SendError};
use support::{Broken, pipe};

#[test]
fn a_send_to_many_lists_the_streams_it_waits_for() {
    let (multiplexer, peers) = peers([1, 0, 1, 0]);
    peers[2].gate.set_flushes(false);
    let ids = [0, 1, 2, 3].map(|nth| peers[nth].id);
    let mut send = multiplexer.send(ids, 5);
    assert_eq!(send.pending().collect::<Vec<_>>(), ids, "nothing was tried");
    assert_eq!((&mut send).now_or_never(), None);
    let mut pending: Vec<_> = send.pending().collect();
    pending.sort_unstable();
    assert_eq!(pending, ids[1..]);
    peers[3].gate.make_room(1);
    assert_eq!((&mut send).now_or_never(), None);
    assert_eq!(send.pending().count(), 2);
    let [quick, slow, unflushed, late] = ids;
    let told = [Ok(quick), Err(SendError::NotReady(slow)), Err(SendError::Unflushed(unflushed)), Ok(late)];
    assert_eq!(send.into_sent().into_vec(), told);
    assert_eq!(peers.map(|peer| peer.gate.take_items().len()), [1, 0, 1, 1]);
}

#[test]
fn a_send_to_one_of_many_lists_the_stream_it_waits_for() {
    let (multiplexer, peers) = peers([0]);
    let mut send = multiplexer.send([peers[0].id], 5);
    assert_eq!((&mut send).now_or_never(), None);
    assert_eq!(send.pending().collect::<Vec<_>>(), [peers[0].id]);
    assert_eq!(send.into_sent().into_vec(), [Err(SendError::NotReady(peers[0].id))]);
    // The same of a sink that does not flush.
    peers[0].gate.make_room(1);
    peers[0].gate.set_flushes(false);
    let mut send = multiplexer.send([peers[0].id], 5);
    assert_eq!((&mut send).now_or_never(), None);
    assert_eq!(send.pending().collect::<Vec<_>>(), [peers[0].id]);
    assert_eq!(send.into_sent().into_vec(), [Err(SendError::Unflushed(peers[0].id))]);
}

#[test]
fn a_send_beyond_what_one_poll_tries() {
    let (multiplexer, peers) = peers([1; 100]);
    let mut send = multiplexer.send(peers.each_ref().map(|peer| peer.id), 5);
    assert_eq!((&mut send).now_or_never(), None);
    assert_eq!(send.pending().count(), 36);
    let sent = send.into_sent();
    assert_eq!(sent.failures().count(), 36);
    for (peer, told) in peers.iter().zip(&sent) {
        assert!(matches!(told, Ok(_) | Err(SendError::NotReady(_))), "{told:?}");
        assert_eq!(peer.gate.take_items().len(), usize::from(told.is_ok()));
    }
}

#[test]
fn a_completed_send_waits_for_no_stream() {
    for (count, has_waited) in [(1, false), (3, false), (1, true), (3, true)] {
        let (multiplexer, peers) = peers([usize::from(!has_waited); 3]);
        let mut send = multiplexer.send(peers[..count].iter().map(|peer| peer.id), 5);
        if has_waited {
            assert_eq!((&mut send).now_or_never(), None);
            peers.iter().for_each(|peer| peer.gate.make_room(1));
        }
        assert!((&mut send).now_or_never().is_some_and(|sent| sent.is_ok() && sent.len() == count));
        assert_eq!(send.pending().count(), 0);
        assert!(send.into_sent().is_empty());
    }
}

#[test]
fn a_send_to_one_gives_back_what_the_sink_does_not_have() {
    let (multiplexer, [slow, unflushed, gone, broken]) = peers([0, 1, 1, 1]);
    unflushed.gate.set_flushes(false);
    multiplexer.discard_stream(gone.id);
    broken.gate.fail();
    let unknown = SendError::UnknownStream(gone.id);
    let failed = SendError::Sink { id: broken.id, error: Broken };
    for (peer, told, back) in [
        (&slow, None, Some(5)),
        (&unflushed, None, None),
        (&gone, Some(Err(unknown)), Some(5)),
        (&broken, Some(Err(failed)), Some(5)),
    ] {
        let mut send = multiplexer.send_one(peer.id, 5);
        assert_eq!((&mut send).now_or_never(), told);
        assert_eq!((send.take_item(), send.take_item()), (back, None));
    }
    assert_eq!(multiplexer.send_one(slow.id, 5).take_item(), Some(5), "it was not polled");
    slow.gate.make_room(1);
    assert_eq!(slow.gate.take_items(), [], "it waits no more");
}

#[test]
fn a_send_to_a_channel_reaches_all_streams_with_a_sink() {
    let (multiplexer, peers) = peers([1, 0]);
    multiplexer.add_stream(pipe().1, CHANNEL).unwrap();
    let send = multiplexer.send_to(CHANNEL, 5).unwrap();
    assert_eq!(send.pending().collect::<Vec<_>>(), [peers[0].id, peers[1].id]);
    peers[1].gate.make_room(1);
    let sent = send.now_or_never().unwrap();
    assert_eq!((sent.len(), sent.is_ok()), (2, true));
    assert_eq!(multiplexer.send_to(9, 5).err(), Some(MultiplexerError::UnknownChannel(9)));
}
