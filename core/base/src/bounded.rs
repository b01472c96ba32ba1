//! Containers that answer `Full` instead of growing.

use std::collections::VecDeque;

/// The queue had no room; the item comes back to its owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// First in, first out, never more than `items_max` items.
#[derive(Debug)]
pub struct BoundedQueue<T> {
    items: VecDeque<T>,
    items_max: usize,
}

impl<T> BoundedQueue<T> {
    /// An empty queue with room for `items_max` items (at least one).
    pub fn new(items_max: usize) -> Self {
        assert!(items_max > 0);
        Self {
            items: VecDeque::new(),
            items_max,
        }
    }

    /// Adds `item` at the back, or gives it back when the queue is full.
    pub fn push(&mut self, item: T) -> Result<(), Full<T>> {
        if self.items.len() == self.items_max {
            return Err(Full(item));
        }
        self.items.push_back(item);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.items.len() == self.items_max
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_gives_the_item_back() {
        let mut queue = BoundedQueue::new(2);
        assert_eq!(queue.push('a'), Ok(()));
        assert_eq!(queue.push('b'), Ok(()));
        assert_eq!(queue.push('c'), Err(Full('c')));
        assert_eq!(queue.pop(), Some('a'));
        assert_eq!(queue.push('c'), Ok(()));
        assert!(queue.is_full());
    }
}
