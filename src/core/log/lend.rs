//! Memory that the log lends, for a stream to be read straight into it.

use super::{Log, Mark, Run, SLAB, Slab};

impl Log {
    /// Lends the memory at the log's end, its free capacity behind what it has, for bytes to be read straight into it; `None`
    /// while slabs are too small to be worth that. Until it is [given back](Self::give_back) nothing but
    /// [`Self::adopt`], [`Self::adopt_run`] and [`Self::commit`] may be called.
    pub fn lend(&mut self) -> Option<Vec<u8>> {
        let (_, largest) = SLAB;
        if self.share() < largest {
            return None;
        }
        let full = |slab: &Slab| slab.bytes.len() == slab.bytes.capacity();
        if self
            .slabs
            .back()
            .is_none_or(|slab| slab.end() < self.tail || full(slab))
        {
            self.grow(largest);
        }
        self.slabs.back_mut().map(|slab| std::mem::take(&mut slab.bytes))
    }

    /// So many more bytes of the memory lent are of the frame being received.
    pub fn adopt(&mut self, bytes: usize) {
        self.tail += bytes as u64;
    }

    /// What follows in the memory lent are these complete messages.
    pub fn adopt_run(&mut self, run: Run<'_>) {
        // the slab has a `first`: a message begins at its end, if none did before
        self.tail += run.bytes.len() as u64;
        self.end = self.tail;
        self.newest = self.end - run.last as u64;
        self.boundary = Mark {
            offset: self.end,
            position: self.boundary.position + run.messages,
        };
    }

    /// Takes back what was lent, and forgets what it has beyond what was adopted.
    pub fn give_back(&mut self, mut memory: Vec<u8>) {
        if let Some(slab) = self.slabs.back_mut() {
            memory.truncate((self.tail - slab.start) as usize);
            slab.bytes = memory;
        }
    }
}
