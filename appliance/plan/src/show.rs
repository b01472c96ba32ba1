//! The plan, for people.

use std::fmt::{self, Display};

use crate::machine::show_cpus;
use crate::plan::{Plan, Service, Zone};
use crate::units::Size;

impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "machine    {} CPUs, {} memory; profile {}",
            machine.cpus.len(),
            Size(machine.memory_bytes),
            self.profile
        )?;
        writeln!(f, "name       {}", self.server_name)?;
        writeln!(f, "state      {}", self.state.display())?;
        writeln!(f)?;
        writeln!(f, "{:<28} {:>4}  runs", "THREAD", "CPU")?;
        for core in &self.cores {
            let cpu = core.cpu.map_or("any".to_owned(), |cpu| cpu.to_string());
            let zones: Vec<&str> = core.zones.iter().map(|zone| zone.name()).collect();
            writeln!(f, "{:<28} {cpu:>4}  {}", core.name, zones.join(", "))?;
        }
        // What is not mail runs beside the pinned cores, so that a slow request of an operator delays no message.
        let rest = match self.housekeeping.as_slice() {
            [] => "any".to_owned(),
            cpus => show_cpus(cpus),
        };
        writeln!(f, "{:<28} {rest:>4}  control socket, HTTP", "admin")?;
        writeln!(f)?;
        writeln!(f, "{:<10} {:>11}  on", "SERVICE", "CONNECTIONS")?;
        for listener in &self.listeners {
            let addresses: Vec<String> =
                listener.addresses.iter().map(ToString::to_string).collect();
            writeln!(
                f,
                "{:<10} {:>11}  {}",
                listener.service.name(),
                listener.connections_max,
                addresses.join(", ")
            )?;
        }
        writeln!(f)?;
        match self.runs(Zone::Storage) {
            true => self.show_legs(f)?,
            false => self.show_storage_nodes(f)?,
        }
        if self.runs(Zone::Storage) {
            self.show_spool(f)?;
        }
        writeln!(f)?;
        // Each line names the setting that makes it smaller: a plan that does not fit has to say what to do about it.
        writeln!(f, "{:<28} {:>10}  lower it with", "MEMORY", "")?;
        for line in &self.memory {
            writeln!(
                f,
                "{:<28} {:>10}  {}",
                line.what,
                Size(line.bytes).to_string(),
                line.lower
            )?;
        }
        let sum: u64 = self.memory.iter().map(|line| line.bytes).sum();
        writeln!(
            f,
            "{:<28} {:>10}  of {} planned for",
            "sum",
            Size(sum).to_string(),
            Size(self.memory_bytes)
        )?;
        let open: u64 = self.descriptors.iter().map(|line| line.count).sum();
        writeln!(
            f,
            "{:<28} {:>10}  of {} that this process may have",
            "open files", open, self.machine.open_files
        )?;
        writeln!(
            f,
            "{:<28} {:>10}  limits.message",
            "largest message",
            Size(self.message_bytes_max).to_string()
        )
    }
}

impl Plan {
    fn show_legs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10} {}",
            "LEGS",
            if self.storage.legs.len() == 1 {
                "(one leg is not a mirror)"
            } else {
                ""
            }
        )?;
        for leg in &self.storage.legs {
            writeln!(f, "           {}", leg.display())?;
        }
        writeln!(
            f,
            "           segments of {}, {} batches in flight, a leg silent for {} s is ejected",
            Size(self.storage.segment_bytes),
            self.storage.batches_in_flight,
            self.storage.hard_deadline_us / 1_000_000,
        )
    }

    fn show_spool(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.spool, &self.spool_left_out) {
            (Some(spool), _) => {
                writeln!(f, "SPOOL")?;
                for leg in &spool.storage.legs {
                    writeln!(f, "           {}", leg.display())?;
                }
                let hours = spool.keep_s / 3_600;
                writeln!(
                    f,
                    "           copies are kept for {hours} h after storage took them over"
                )
            }
            (None, why) => {
                let why = why.as_deref().unwrap_or("not planned");
                writeln!(f, "SPOOL      none: {why}")
            }
        }
    }

    /// In the place of legs, where storage is on other machines.
    fn show_storage_nodes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.zones.front.is_empty() {
            writeln!(f, "PEOPLE OF")?;
            for node in &self.zones.front {
                writeln!(f, "           {} ({})", node.address, node.name)?;
            }
            return Ok(());
        }
        writeln!(
            f,
            "{:<10} {:>8} {:>6}  at",
            "STORAGE BY", "PRIORITY", "WEIGHT"
        )?;
        for node in &self.zones.storage {
            let (by, priority, weight) = (node.protocol.name(), node.priority, node.weight);
            writeln!(
                f,
                "{by:<10} {priority:>8} {weight:>6}  {} ({})",
                node.address, node.name
            )?;
        }
        Ok(())
    }
}

impl Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
