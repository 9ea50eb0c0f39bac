//! Buffers that belong to a thread rather than to a session, so that idle sessions own none.

use std::cell::{Cell, RefCell};

/// How much is read at a time, in bytes. Whoever is read wakes up for each read: a quarter of this costs a saturated
/// stream of messages of 16 KiB a fifth more CPU (benches/peers).
const READ: usize = 256 * 1024;
/// A queue of more is not kept.
const QUEUED: usize = 64 * 1024;

thread_local! {
    static QUEUE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static BYTES: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Lends the thread's read buffer; `use_it` must not ask for it again.
pub(super) fn with<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    BYTES.with_borrow_mut(|bytes| use_it(bytes))
}

/// An empty queue: the thread's, where that is free.
pub(super) fn queue() -> Vec<u8> {
    QUEUE.take()
}

/// Gives a queue that is used up back to the thread, unless it grew large.
pub(super) fn give_back(mut queue: Vec<u8>) {
    if queue.capacity() <= QUEUED {
        queue.clear();
        QUEUE.set(queue);
    }
}
