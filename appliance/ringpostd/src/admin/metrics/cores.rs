//! What cores and the memory they share say: how long a core did not come back, and who holds how much.

use std::fmt::Write;

use runtime::workers;

use super::Text;
use crate::admin::counters::Metrics;

impl Metrics {
    pub(super) fn write_cores(&self, text: &mut Text) {
        let lists = self.lists();
        text.family(
            "ringpost_core_stall_seconds",
            "gauge",
            "The longest time a core did not come back to its sessions, of the last one to two minutes, in seconds.",
        );
        for (name, stalls) in &lists.cores {
            let seconds = stalls.longest().as_secs_f64();
            let _ = writeln!(
                text.0,
                "ringpost_core_stall_seconds{{core=\"{name}\"}} {seconds:.6}"
            );
        }
        text.family(
            "ringpost_core_stalls",
            "counter",
            "Times a core did not come back for 10 ms or more.",
        );
        for (name, stalls) in &lists.cores {
            let core = format!("core=\"{name}\"");
            text.sample("ringpost_core_stalls_total", &core, stalls.count());
        }
        text.family(
            "ringpost_work_away",
            "counter",
            "Jobs over more than 64 KiB that were done beside the cores.",
        );
        text.sample("ringpost_work_away_total", "", workers::away());
        text.family(
            "ringpost_work_waiting",
            "gauge",
            "Such jobs that wait for a thread.",
        );
        text.sample("ringpost_work_waiting", "", workers::waiting() as u64);
        let Some(memory) = &lists.memory else { return };
        let budgets = [
            ("receive", "messages being received", &memory.receiving),
            ("read", "messages that are looked into", &memory.reading),
            (
                "send",
                "pieces of messages that wait for clients",
                &memory.sending,
            ),
        ];
        for (name, what, budget) in budgets {
            let used = format!("ringpost_{name}_memory_bytes");
            text.family(&used, "gauge", &format!("Bytes of {what}, in memory now."));
            text.sample(&used, "", budget.used_bytes() as u64);
            let limit = format!("ringpost_{name}_memory_limit_bytes");
            text.family(&limit, "gauge", &format!("Bytes that {what} may take."));
            text.sample(&limit, "", budget.bytes_max() as u64);
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
        let mut text = Text::default();
        metrics.write_cores(&mut text);
        for line in [
            "ringpost_core_stall_seconds{core=\"client/1\"} 0.000000\n",
            "ringpost_core_stalls_total{core=\"client/1\"} 0\n",
            "ringpost_receive_memory_bytes 10\n",
            "ringpost_receive_memory_limit_bytes 1000\n",
            "ringpost_read_memory_bytes 0\n",
            "ringpost_send_memory_limit_bytes 20971520\n",
        ] {
            assert!(text.0.contains(line), "{line} in {}", text.0);
        }
    }
}
