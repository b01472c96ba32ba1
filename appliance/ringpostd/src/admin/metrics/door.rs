//! What strangers met at the door.

use door::Event;
use runtime::SessionHost;

use super::page::Page;
use crate::admin::shared::Admin;

impl Admin {
    pub(super) fn write_door(&self, page: &mut Page) {
        let counters = self.door().counters();
        page.counters(
            "ringpost_door",
            "Reports what was done about peers before their mail was taken, by event, in times.",
            Event::ALL.map(|event| {
                let labels = vec![("event", event.name().to_owned())];
                (labels, counters.read(event))
            }),
        );
        let now = SessionHost::of_core().now();
        page.gauge(
            "ringpost_door_banned",
            "Reports the addresses and networks that are banned now, in addresses and networks.",
            self.door().bans().banned(now) as u64,
        );
    }
}
