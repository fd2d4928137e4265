//! Counts allocations per thread, because another thread may free memory that a peer left behind.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counter = Counter;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

/// The number of allocations that this thread has made.
pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// The number of bytes that this thread has allocated and not freed.
pub fn bytes() -> i64 {
    BYTES.get()
}

struct Counter;

fn note_allocation(size: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    BYTES.set(BYTES.get() + size as i64);
}

fn note_free(size: usize) {
    BYTES.set(BYTES.get() - size as i64);
}

// SAFETY: every call is passed unchanged to the system's allocator. Counting does not allocate.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_allocation(layout.size());
        // SAFETY: the caller upholds the contract of `GlobalAlloc`, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note_free(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_allocation(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note_free(layout.size());
        note_allocation(new_size);
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(memory, layout, new_size) }
    }
}
