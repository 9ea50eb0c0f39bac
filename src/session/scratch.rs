//! Read buffers that belong to a thread rather than to a session, so that idle sessions own none.

use std::cell::RefCell;

/// How much is read at a time, in bytes.
const READ: usize = 64 * 1024;

thread_local! {
    static BYTES: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Lends the thread's read buffer; `use_it` must not ask for it again.
pub(super) fn with<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    BYTES.with_borrow_mut(|bytes| use_it(bytes))
}
