//! What the door did since the start, for the metrics of the box.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the door did. The names are labels of a metric: a bounded set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    BannedRefused,
    AddressLimit,
    NetworkLimit,
    SenderLimit,
    HelloMarked,
    HelloRefused,
    EarlyMarked,
    EarlyRefused,
    Greylisted,
    ListsMarked,
    ListsRefused,
    ListsUnanswered,
    ReverseNameMarked,
    Delayed,
    BanBegan,
}

impl Event {
    pub const ALL: [Event; 15] = [
        Event::BannedRefused,
        Event::AddressLimit,
        Event::NetworkLimit,
        Event::SenderLimit,
        Event::HelloMarked,
        Event::HelloRefused,
        Event::EarlyMarked,
        Event::EarlyRefused,
        Event::Greylisted,
        Event::ListsMarked,
        Event::ListsRefused,
        Event::ListsUnanswered,
        Event::ReverseNameMarked,
        Event::Delayed,
        Event::BanBegan,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Event::BannedRefused => "banned_refused",
            Event::AddressLimit => "address_limit",
            Event::NetworkLimit => "network_limit",
            Event::SenderLimit => "sender_limit",
            Event::HelloMarked => "hello_marked",
            Event::HelloRefused => "hello_refused",
            Event::EarlyMarked => "early_marked",
            Event::EarlyRefused => "early_refused",
            Event::Greylisted => "greylisted",
            Event::ListsMarked => "lists_marked",
            Event::ListsRefused => "lists_refused",
            Event::ListsUnanswered => "lists_unanswered",
            Event::ReverseNameMarked => "reverse_name_marked",
            Event::Delayed => "delayed",
            Event::BanBegan => "ban_began",
        }
    }
}

/// Written by every core, read by any thread.
#[derive(Debug, Default)]
pub struct Counters {
    events: [AtomicU64; Event::ALL.len()],
}

impl Counters {
    pub fn note(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Relaxed);
    }

    pub fn read(&self, event: Event) -> u64 {
        self.events[event as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_its_own_counter_and_name() {
        let counters = Counters::default();
        for (at, event) in Event::ALL.into_iter().enumerate() {
            (0..=at).for_each(|_| counters.note(event));
        }
        for (at, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(counters.read(event), at as u64 + 1, "{}", event.name());
        }
        let mut names = Event::ALL.map(Event::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
