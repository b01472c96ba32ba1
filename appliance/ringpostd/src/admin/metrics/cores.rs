//! Metrics of the cores and of the memory that they share.

use runtime::workers;

use super::page::{Labels, Page};
use crate::admin::counters::Metrics;

impl Metrics {
    pub(super) fn write_cores(&self, page: &mut Page) {
        let lists = self.lists();
        let labels = |name: &str| -> Labels { vec![("core", name.to_owned())] };
        let cores = || lists.cores.iter();
        page.seconds(
            "ringpost_core_stall_seconds",
            "Reports the longest time in which a core did not return to its sessions, within the last one to two minutes, in seconds.",
            cores().map(|(name, stalls)| (labels(name), stalls.longest().as_secs_f64())),
        );
        page.counters(
            "ringpost_core_stalls",
            "Reports the number of times that a core did not return to its sessions for 10 milliseconds or more.",
            cores().map(|(name, stalls)| (labels(name), stalls.count())),
        );
        page.counter(
            "ringpost_work_away",
            "Reports the number of jobs over more than 64 KiB that ran on threads beside the cores.",
            workers::away(),
        );
        page.gauge(
            "ringpost_work_waiting",
            "Reports the number of jobs over more than 64 KiB that wait for a thread.",
            workers::waiting() as u64,
        );
        // Used and limit side by side, by the same budgets that sessions draw from: how near a box is to 4xx can be read without knowing its plan.
        let Some(memory) = &lists.memory else { return };
        let budgets = [
            (
                "receive",
                "messages being received",
                vec![&memory.receiving],
            ),
            (
                "read",
                "messages being searched or taken apart",
                vec![&memory.reading, memory.orders.budget()],
            ),
            (
                "send",
                "pieces of messages that wait for clients, and compressed and notified connections",
                // One share of the plan, kept as two budgets so that compressed connections cannot take what plain ones need.
                vec![&memory.sending, &memory.compressing, &memory.notifying],
            ),
        ];
        for (name, what, budgets) in budgets {
            let used: usize = budgets.iter().map(|budget| budget.used_bytes()).sum();
            let most: usize = budgets.iter().map(|budget| budget.bytes_max()).sum();
            page.gauge(
                &format!("ringpost_{name}_memory_bytes"),
                &format!("Reports the memory in use for {what}, in bytes."),
                used as u64,
            );
            page.gauge(
                &format!("ringpost_{name}_memory_limit_bytes"),
                &format!("Reports the memory that {what} may use at most, in bytes."),
                most as u64,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use client::imap::Memory;

    use super::*;

    #[test]
    fn cores_and_memory_are_told() {
        let metrics = Metrics::new();
        metrics.add_core("client/1", Arc::default());
        let memory = Memory::new(100 << 20, 20 << 20, runtime::Budget::new(1_000));
        let _held = memory.receiving.take(10);
        metrics.add_memory(memory);
        let mut page = Page::default();
        metrics.write_cores(&mut page);
        let text = page.text();
        for line in [
            "ringpost_core_stall_seconds{core=\"client/1\"} 0.0\n",
            "ringpost_core_stalls_total{core=\"client/1\"} 0\n",
            "ringpost_receive_memory_bytes 10\n",
            "ringpost_receive_memory_limit_bytes 1000\n",
            "ringpost_read_memory_bytes 0\n",
            "ringpost_send_memory_limit_bytes 20971520\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
