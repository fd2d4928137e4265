//! A task's waker that runs an action at a chosen moment, including its clone.
#![allow(unsafe_code, reason = "a waker whose clone is ours can be had in no other way")]

use super::hooked::{Hooks, Moment};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// A waker with hooks for `Clone`, `Wake`, and `Drop` of its last clone.
pub(crate) fn hooked_waker(hooks: &Hooks) -> Waker {
    let data = Arc::into_raw(Arc::new(hooks.clone()));
    // SAFETY: the functions of the table uphold the contract of `RawWaker`: `data` is an `Arc` that came from
    // `into_raw`, each waker owns one reference, and `Hooks` is `Send` and `Sync`.
    unsafe { Waker::from_raw(RawWaker::new(data.cast(), &TABLE)) }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// # Safety
///
/// `data` must belong to a live waker.
unsafe fn borrow(data: *const ()) -> ManuallyDrop<Arc<Hooks>> {
    // SAFETY: the pointer came from `into_raw`, and the reference is not given up here.
    ManuallyDrop::new(unsafe { Arc::from_raw(data.cast()) })
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the caller is a live waker.
    let hooks = unsafe { borrow(data) };
    hooks.run(Moment::Clone);
    RawWaker::new(Arc::into_raw(Arc::clone(&hooks)).cast(), &TABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the caller is a waker that gives up its reference.
    let hooks: Arc<Hooks> = unsafe { Arc::from_raw(data.cast()) };
    hooks.run(Moment::Wake);
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller is a live waker.
    unsafe { borrow(data) }.run(Moment::Wake);
}

unsafe fn drop(data: *const ()) {
    // SAFETY: the caller is a waker that gives up its reference.
    let hooks: Arc<Hooks> = unsafe { Arc::from_raw(data.cast()) };
    if Arc::strong_count(&hooks) == 1 {
        hooks.run(Moment::Drop);
    }
}
