//! Which tasks are woken, how often, in which order and at what cost.

use super::crowd::moves;
use super::{WaitList, Waiter, Waiting};
use quickcheck::{Arbitrary, Gen, QuickCheck};
use random::below;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Wake, Waker};

#[allow(clippy::duplicate_mod, reason = "the tests of the schedule have it, too")]
#[path = "../../tests/support/random.rs"]
mod random;

/// A list, its waiters, and the order in which they were woken.
struct Scene {
    list: WaitList,
    waiters: Vec<Mutex<Waiter>>,
    woken: Mutex<Vec<usize>>,
}

/// A waiter's waker: records the wake, and then runs an action.
struct Task {
    scene: Weak<Scene>,
    nth: usize,
    then: Action,
}

type Action = Box<dyn Fn(&Arc<Scene>) + Send + Sync>;

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let scene = self.scene.upgrade().expect("the scene is there");
        scene.woken.lock().unwrap().push(self.nth);
        (self.then)(&scene);
    }
}

/// The payload of the panics.
struct Bang;

fn bang<R>(run: impl FnOnce() -> R) {
    let panic = catch_unwind(AssertUnwindSafe(run)).err().expect("the panic reaches the caller");
    assert!(panic.is::<Bang>());
}

impl Scene {
    fn new(waiters: usize) -> Arc<Self> {
        let waiters = (0..waiters).map(|_| Mutex::default()).collect();
        Arc::new(Self { list: WaitList::new(), waiters, woken: Mutex::default() })
    }

    /// Creates a scene in which all waiters wait.
    fn crowd(waiters: usize) -> Arc<Self> {
        let scene = Self::new(waiters);
        (0..waiters).for_each(|nth| scene.wait(nth));
        scene
    }

    fn waker(
        self: &Arc<Self>,
        nth: usize,
        then: impl Fn(&Arc<Self>) + Send + Sync + 'static,
    ) -> (Arc<Task>, Waker) {
        let task = Arc::new(Task { scene: Arc::downgrade(self), nth, then: Box::new(then) });
        (Arc::clone(&task), Waker::from(task))
    }

    fn wait(self: &Arc<Self>, nth: usize) {
        self.wait_and_then(nth, |_| {});
    }

    fn wait_and_then(self: &Arc<Self>, nth: usize, then: impl Fn(&Arc<Self>) + Send + Sync + 'static) {
        self.wait_with(nth, self.waker(nth, then).1);
    }

    fn wait_with(&self, nth: usize, waker: Waker) {
        assert!(self.list.wait(&mut self.waiters[nth].lock().unwrap(), self.list.epoch(), waker));
    }

    /// Waits. The waiter waits again each time it is woken, until it was woken five times.
    fn wait_on_and_on(self: &Arc<Self>, nth: usize) {
        self.wait_and_then(nth, move |scene| {
            let times = scene.woken.lock().unwrap().iter().filter(|woken| **woken == nth).count();
            if times < 5 {
                scene.wait_on_and_on(nth);
            }
        });
    }

    fn miss(self: &Arc<Self>, nth: usize) {
        self.miss_with(nth, self.waker(nth, |_| {}).1);
    }

    fn miss_with(&self, nth: usize, waker: Waker) {
        self.list.miss(&mut self.waiters[nth].lock().unwrap(), waker);
    }

    fn leave(&self, nth: usize) {
        self.list.leave(&mut self.waiters[nth].lock().unwrap());
    }

    fn take_woken(&self) -> Vec<usize> {
        std::mem::take(&mut *self.woken.lock().unwrap())
    }

    /// Calls `wake_all`. Returns the woken waiters, in order.
    fn wake_all(&self) -> Vec<usize> {
        assert_eq!(self.take_woken(), []);
        self.list.wake_all();
        self.take_woken()
    }

    fn wake_missed(&self) -> Vec<usize> {
        assert_eq!(self.take_woken(), []);
        self.list.wake_missed();
        self.take_woken()
    }

    fn assert_nobody_waits(&self) {
        assert_eq!(self.wake_all(), []);
        assert_eq!(self.wake_missed(), []);
    }
}

#[test]
fn who_looked_before_a_wake_does_not_wait() {
    let scene = Scene::new(1);
    let epoch = scene.list.epoch();
    scene.list.wake_all();
    let (task, waker) = scene.waker(0, |_| {});
    assert!(!scene.list.wait(&mut Waiter::default(), epoch, waker));
    assert_eq!(Arc::strong_count(&task), 1);
    scene.assert_nobody_waits();
}

#[test]
fn all_are_woken_once_in_the_order_in_which_they_first_waited() {
    let scene = Scene::crowd(5);
    assert_eq!(scene.wake_all(), [0, 1, 2, 3, 4]);
    scene.assert_nobody_waits();
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 1, 3]] {
        order.into_iter().for_each(|nth| scene.wait(nth));
        assert_eq!(scene.wake_all(), [0, 1, 2, 3, 4]);
        scene.assert_nobody_waits();
    }
}

#[test]
fn who_leaves_and_comes_back_is_the_last() {
    let scene = Scene::crowd(3);
    scene.leave(0);
    scene.wait(0);
    assert_eq!(scene.wake_all(), [1, 2, 0]);
    scene.leave(1);
    [1, 0, 2].into_iter().for_each(|nth| scene.wait(nth));
    assert_eq!(scene.wake_all(), [2, 0, 1]);
}

/// A waiter, alone and among others, that waits many times, is woken or leaves.
#[test]
fn a_waiter_has_one_waker_in_the_list_the_last() {
    for others in [0, 1, 5] {
        let scene = Scene::new(1 + others);
        let [(first, one), (second, other)] = [(); 2].map(|()| scene.waker(0, |_| {}));
        let in_list = || [&first, &second].map(|task| Arc::strong_count(task) - 2);
        let puts = [Scene::wait_with, Scene::miss_with];
        for _ in 0..2 {
            (1..=others).for_each(|nth| scene.wait(nth));
            for (put, wakes) in puts.into_iter().zip([0, 1]) {
                for _ in 0..1_000 {
                    put(&scene, 0, one.clone());
                    put(&scene, 0, other.clone());
                    assert_eq!(in_list(), [0, 1]);
                }
                let woken = if wakes == 0 { scene.wake_all() } else { scene.wake_missed() };
                assert_eq!(woken.iter().filter(|nth| **nth == 0).count(), 1);
                assert_eq!(in_list(), [0, 0]);
                put(&scene, 0, one.clone());
                assert_eq!(in_list(), [1, 0]);
                scene.leave(0);
                assert_eq!(in_list(), [0, 0]);
            }
            scene.wake_all();
            scene.assert_nobody_waits();
        }
    }
}

/// A single waiter needs no memory beyond the list's own.
#[test]
fn whoever_waits_alone_makes_no_crowd() {
    let scene = Scene::new(2);
    for nth in [0, 1, 1, 0] {
        (0..3).for_each(|_| scene.wait(nth));
        assert!(matches!(scene.list.places.lock().waiting, Waiting::One(..)));
        assert_eq!(scene.wake_all(), [nth]);
        assert!(matches!(scene.list.places.lock().waiting, Waiting::Crowd(None)));
    }
}

#[test]
fn who_misses_something_is_woken_for_that_and_nothing_else() {
    let scene = Scene::new(4);
    scene.miss(3);
    scene.wait(1);
    scene.miss(0);
    scene.wait(2);
    assert_eq!(scene.wake_all(), [1, 2]);
    assert_eq!(scene.wake_missed(), [3, 0]);
    scene.assert_nobody_waits();
}

/// A waiter is in one queue only, whether it waits alone or among others.
#[test]
fn who_waits_for_something_else_waits_no_more_for_the_first() {
    for others in [0, 3] {
        let scene = Scene::new(1 + others);
        let others: Vec<_> = (1..=others).collect();
        for _ in 0..2 {
            scene.wait(0);
            scene.miss(0);
            others.iter().for_each(|nth| scene.wait(*nth));
            assert_eq!(scene.wake_all(), others);
            assert_eq!(scene.wake_missed(), [0]);
            others.iter().for_each(|nth| scene.miss(*nth));
            scene.miss(0);
            scene.wait(0);
            assert_eq!(scene.wake_missed(), others);
            assert_eq!(scene.wake_all(), [0]);
            scene.assert_nobody_waits();
        }
    }
}

#[test]
fn who_waits_again_at_once_is_woken_by_the_next_call() {
    for waiters in [1, 2, 3, 20] {
        let scene = Scene::new(waiters);
        let all: Vec<_> = (0..waiters).collect();
        all.iter().for_each(|nth| scene.wait_on_and_on(*nth));
        for _ in 0..3 {
            assert_eq!(scene.wake_all(), all);
        }
        all.iter().for_each(|nth| scene.wait(*nth));
        assert_eq!(scene.wake_all(), all);
        scene.assert_nobody_waits();
    }
}

/// The inner call wakes the waiters that the outer call has not woken yet, and then the waiters that wait again.
#[test]
fn a_call_within_a_call() {
    let scene = Scene::new(4);
    scene.wait_on_and_on(0);
    scene.wait_and_then(1, |scene| {
        scene.wait(1);
        scene.list.wake_all();
    });
    scene.wait(2);
    scene.wait_on_and_on(3);
    assert_eq!(scene.wake_all(), [0, 1, 2, 3, 0, 1]);
    assert_eq!(scene.wake_all(), [0, 3]);
}

#[test]
fn wakers_that_panic_keep_nobody_from_being_woken() {
    let scene = Scene::new(6);
    for nth in 0..6 {
        match nth {
            1 | 3 | 4 => scene.wait_and_then(nth, |_| panic_any(Bang)),
            _ => scene.wait_on_and_on(nth),
        }
    }
    bang(|| scene.list.wake_all());
    assert_eq!(scene.take_woken(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(scene.wake_all(), [0, 2, 5]);
}

#[test]
fn who_leaves_while_others_are_woken_is_not_woken() {
    let scene = Scene::new(5);
    scene.wait_and_then(0, |scene| [0, 2, 4].into_iter().for_each(|nth| scene.leave(nth)));
    (1..5).for_each(|nth| scene.wait(nth));
    assert_eq!(scene.wake_all(), [0, 1, 3]);
    scene.assert_nobody_waits();
}

#[test]
fn who_comes_while_others_are_woken_is_woken_by_the_next_call() {
    let scene = Scene::new(5);
    scene.wait_and_then(0, |scene| (2..5).for_each(|nth| scene.wait(nth)));
    scene.wait(1);
    assert_eq!(scene.wake_all(), [0, 1]);
    assert_eq!(scene.wake_all(), [2, 3, 4]);
}

/// A waiter that waits again after the crowd was released may be the only one, or may get its former key in a new crowd.
#[test]
fn memory_is_given_back_when_nobody_waits_and_had_again() {
    let scene = Scene::crowd(40);
    assert!(scene.list.shrink_to_fit().is_none(), "they wait");
    assert_eq!(scene.wake_all().len(), 40);
    for again in [[39, 38], [5, 0], [0, 5]] {
        assert!(scene.list.shrink_to_fit().is_some());
        assert!(scene.list.shrink_to_fit().is_none());
        again.into_iter().for_each(|nth| scene.wait(nth));
        again.into_iter().for_each(|nth| scene.wait(nth));
        let mut in_order = again;
        in_order.sort_unstable();
        assert_eq!(scene.wake_all(), in_order);
        scene.assert_nobody_waits();
        again.into_iter().for_each(|nth| scene.wait(nth));
        scene.leave(again[0]);
        assert_eq!(scene.wake_all(), [again[1]]);
        // A waiter that has left draws a new ticket, as all do in the next round.
        (0..40).for_each(|nth| scene.leave(nth));
        (0..40).for_each(|nth| scene.wait(nth));
        scene.wake_all();
    }
}

#[test]
fn who_waits_keeps_the_place_when_memory_is_given_back() {
    let scene = Scene::crowd(40);
    (0..40).filter(|nth| ![3, 7].contains(nth)).for_each(|nth| scene.leave(nth));
    assert!(scene.list.shrink_to_fit().is_none());
    scene.wait(1);
    scene.wait(7);
    assert_eq!(scene.wake_all(), [3, 7, 1]);
}

/// The crowd is released and created again during a call. The call nevertheless wakes only the waiters that it began with.
#[test]
fn memory_is_given_back_while_the_last_is_woken() {
    let scene = Scene::new(3);
    scene.wait(0);
    scene.wait_and_then(1, |scene| {
        assert!(scene.list.shrink_to_fit().is_some());
        (0..3).for_each(|nth| scene.wait_on_and_on(nth));
    });
    assert_eq!(scene.wake_all(), [0, 1]);
    assert_eq!(scene.wake_all(), [0, 1, 2]);
}

/// A task that panics when it is dropped.
struct Grenade(Arc<Mutex<usize>>);

impl Wake for Grenade {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Grenade {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
        panic_any(Bang);
    }
}

#[test]
fn a_list_drops_all_its_wakers_though_that_panics() {
    for waiters in [1, 2, 5] {
        let dropped = Arc::new(Mutex::new(0));
        let list = || {
            let list = WaitList::new();
            for nth in 0..waiters {
                let waker = Waker::from(Arc::new(Grenade(Arc::clone(&dropped))));
                if nth == 3 {
                    list.miss(&mut Waiter::default(), waker);
                } else {
                    assert!(list.wait(&mut Waiter::default(), list.epoch(), waker));
                }
            }
            list
        };
        bang(|| drop(list()));
        assert_eq!(std::mem::take(&mut *dropped.lock().unwrap()), waiters);
        bang(|| {
            let _list = list();
            panic_any(Bang);
        });
        assert_eq!(*dropped.lock().unwrap(), waiters);
    }
}

/// The numbers below `n`, in pseudorandom order.
fn shuffled(n: usize) -> impl Iterator<Item = usize> {
    // An odd factor permutes the numbers below a power of two.
    assert!(n.is_power_of_two());
    (0..n).map(move |nth| nth * 0x9E37_79B1 % n)
}

/// Counts the moves of entries when all waiters leave, or are woken and wait again. In ticket order no entry moves.
#[test]
fn leaving_and_waiting_again_in_any_order_costs_a_logarithm_each() {
    for bits in [8, 12] {
        let n = 1 << bits;
        let counted = |work: &dyn Fn(&Arc<Scene>)| {
            let scene = Scene::crowd(n);
            let before = moves();
            work(&scene);
            scene.wake_all();
            moves() - before
        };
        assert_eq!(counted(&|_| {}), 0);
        assert_eq!(counted(&|scene| (0..n).for_each(|nth| scene.leave(nth))), 0);
        let most = n * (bits + 3);
        assert!(counted(&|scene| shuffled(n).for_each(|nth| scene.leave(nth))) < most);
        let wait_again = |scene: &Arc<Scene>, order: &mut dyn Iterator<Item = usize>| {
            scene.wake_all();
            order.for_each(|nth| scene.wait(nth));
        };
        assert_eq!(counted(&|scene| wait_again(scene, &mut (0..n))), 0);
        assert!(counted(&|scene| wait_again(scene, &mut (0..n).rev())) < 2 * most);
        assert!(counted(&|scene| wait_again(scene, &mut shuffled(n))) < 2 * most);
        let in_place = counted(&|scene| {
            (0..n).for_each(|nth| scene.wait_on_and_on(nth));
            scene.wake_all();
            scene.wake_all();
        });
        assert_eq!(in_place, 0);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(usize),
    Miss(usize),
    Leave(usize),
    WakeAll,
    WakeMissed,
    Shrink,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match below(g, 21) {
            0..8 => Self::Wait(below(g, WAITERS)),
            8..12 => Self::Miss(below(g, WAITERS)),
            12..18 => Self::Leave(below(g, WAITERS)),
            18 => Self::WakeAll,
            19 => Self::WakeMissed,
            _ => Self::Shrink,
        }
    }
}

const WAITERS: usize = 24;

#[test]
fn any_steps_wake_whom_they_should() {
    QuickCheck::new().rng(Gen::new(400)).quickcheck(any_steps as fn(Vec<Step>));
}

/// Compares the list with a naive model, which stores for each waiter its ticket and the call that it waits for.
fn any_steps(steps: Vec<Step>) {
    let scene = Scene::new(WAITERS);
    let mut tickets = [None; WAITERS];
    let mut waits = [None; WAITERS];
    let mut drawn = 0;
    let mut come = |nth: usize, tickets: &mut [Option<usize>; WAITERS]| {
        drawn += 1;
        tickets[nth].get_or_insert(drawn);
    };
    let called = |waits: &mut [Option<bool>; WAITERS], tickets: &[Option<usize>; WAITERS], missed| {
        let mut called: Vec<_> = (0..WAITERS).filter(|nth| waits[*nth] == Some(missed)).collect();
        called.sort_by_key(|nth| tickets[*nth]);
        called.iter().for_each(|nth| waits[*nth] = None);
        called
    };
    for step in steps {
        match step {
            Step::Wait(nth) => {
                come(nth, &mut tickets);
                waits[nth] = Some(false);
                scene.wait(nth);
            }
            Step::Miss(nth) => {
                come(nth, &mut tickets);
                waits[nth] = Some(true);
                scene.miss(nth);
            }
            Step::Leave(nth) => {
                (tickets[nth], waits[nth]) = (None, None);
                scene.leave(nth);
            }
            Step::WakeAll => assert_eq!(scene.wake_all(), called(&mut waits, &tickets, false)),
            Step::WakeMissed => assert_eq!(scene.wake_missed(), called(&mut waits, &tickets, true)),
            Step::Shrink => drop(scene.list.shrink_to_fit()),
        }
    }
    assert_eq!(scene.wake_all(), called(&mut waits, &tickets, false));
    assert_eq!(scene.wake_missed(), called(&mut waits, &tickets, true));
}
