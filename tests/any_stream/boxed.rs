//! Streams of several types in one channel, and streams that stay in their thread.

use crate::{A, as_member, multiplexer};
use futures::stream::{BoxStream, LocalBoxStream};
use futures::{FutureExt, Stream, StreamExt, stream};
use pollster::block_on;
use smol::future::yield_now;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use stream_multiplexer::{Multiplexer, StreamId};

/// Returns the items of each stream of channel `A`, after all streams have ended.
fn received<St: Stream>(multiplexer: &Multiplexer<St>) -> BTreeMap<StreamId, Vec<St::Item>> {
    let mut received = BTreeMap::<_, Vec<_>>::new();
    multiplexer.close();
    while let Ok((id, item)) = block_on(multiplexer.recv(A)) {
        received.entry(id).or_default().extend(item);
    }
    received
}

#[test]
fn box_stream() {
    let multiplexer = multiplexer::<BoxStream<'static, u32>, ()>();
    let once = multiplexer.add_stream(stream::once(async { 1 }).boxed(), A).unwrap();
    let many = multiplexer.add_stream(stream::iter([2, 3]).boxed(), A).unwrap();
    assert_eq!(received(&multiplexer), BTreeMap::from([(once, vec![1]), (many, vec![2, 3])]));
}

/// The stream need not be `'static`, either.
#[test]
fn local_box_stream() {
    let (count, shared) = (Cell::new(0), Rc::new(5));
    let counted = stream::once(async {
        yield_now().await;
        count.set(count.get() + 1);
        1
    });
    let multiplexer = multiplexer::<LocalBoxStream<'_, u32>, ()>();
    let first = multiplexer.add_stream(counted.boxed_local(), A).unwrap();
    let owner = stream::repeat_with(move || *shared).take(2).boxed_local();
    let second = multiplexer.add_stream(owner, A).unwrap();
    assert_eq!(received(&multiplexer), BTreeMap::from([(first, vec![1]), (second, vec![5, 5])]));
    assert_eq!(count.get(), 1);
}

#[test]
fn trait_objects() {
    type Object = Box<dyn Stream<Item = u32> + Send + Unpin>;
    let multiplexer = multiplexer::<Object, ()>();
    let iter = multiplexer.add_stream(Box::new(stream::iter([1, 2])), A).unwrap();
    let ready = multiplexer.add_stream(Box::new(async { 3 }.boxed().into_stream()), A).unwrap();
    assert_eq!(received(&multiplexer), BTreeMap::from([(iter, vec![1, 2]), (ready, vec![3])]));
}

/// A stream that is neither `Send` nor `Unpin`; tasks of its thread receive from it.
#[tokio::test]
async fn in_a_local_set() {
    let local = tokio::task::LocalSet::new();
    let items = local.run_until(async {
        let shared = Rc::new(Cell::new(0));
        let writes = Rc::clone(&shared);
        let numbers = stream::iter(0..3).then(move |_| {
            let shared = Rc::clone(&shared);
            async {
                tokio::task::yield_now().await;
                shared
            }
        });
        let receives = tokio::task::spawn_local(as_member(numbers));
        tokio::task::spawn_local(async move { writes.set(7) }).await.unwrap();
        receives.await.unwrap()
    });
    assert_eq!(items.await.iter().map(|item| item.get()).collect::<Vec<_>>(), [7, 7, 7]);
}
