//! `/proc/interrupts`: who interrupts, and for which kind of device.

use std::path::Path;

use plan::Shape;

use crate::read;

/// One line that can be moved.
pub struct Interrupt {
    pub number: u32,
    /// Who asked for it, as `/proc/interrupts` says.
    pub name: String,
    /// Its place among those of the same kind of device.
    pub turn: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Nic,
    Disk,
    Other,
}

/// Numbered lines of `/proc/interrupts` that can be moved at all.
pub fn interrupts(root: &Path) -> Vec<Interrupt> {
    let table = read::table(&root.join("proc/interrupts")).unwrap_or_default();
    let mut found: Vec<Interrupt> = Vec::new();
    for line in table.lines() {
        let Some((number, rest)) = line.split_once(':') else {
            continue;
        };
        let Ok(number) = number.trim().parse() else {
            continue;
        };
        if !root
            .join(format!("proc/irq/{number}/smp_affinity_list"))
            .exists()
        {
            continue;
        }
        let name = rest.split_whitespace().last().unwrap_or("").to_owned();
        let stem = |name: &str| {
            name.trim_end_matches(|c: char| c.is_ascii_digit())
                .to_owned()
        };
        let turn = found
            .iter()
            .filter(|other| stem(&other.name) == stem(&name))
            .count();
        found.push(Interrupt { number, name, turn });
    }
    found
}

impl Interrupt {
    /// Whose it is.
    pub fn of(&self, shape: &Shape) -> Owner {
        let name = self.name.as_str();
        let card = |nic: &plan::shape::Nic| {
            name == nic.name
                || name
                    .strip_prefix(nic.name.as_str())
                    .is_some_and(|rest| rest.starts_with('-') || rest.starts_with(':'))
                || !nic.driver.is_empty()
                    && name
                        .strip_prefix(nic.driver.as_str())
                        .is_some_and(|rest| rest.starts_with('-'))
        };
        // virtio names its interrupts by bus and queue: `virtio2-input.0` is a card's, `virtio0-input` the random number generator's.
        let virtio_card =
            name.starts_with("virtio") && (name.contains("-input.") || name.contains("-output."));
        if virtio_card || shape.nics.iter().any(card) {
            return Owner::Nic;
        }
        let disks = ["nvme", "ahci", "megasas", "mpt3sas", "qla2xxx", "lpfc"];
        let virtio_disk = name.starts_with("virtio") && name.contains("-req");
        if virtio_disk || disks.iter().any(|driver| name.starts_with(driver)) {
            return Owner::Disk;
        }
        Owner::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::probe;

    #[test]
    fn interrupts_are_known_by_who_asked_for_them() {
        let fixture = Fixture::new()
            .nic("eth0", "e1000e", 1, None)
            .irq(28, "virtio0-input", 2)
            .irq(35, "virtio2-input.0", 2)
            .irq(36, "virtio2-output.0", 2)
            .irq(37, "eth0-rx-0", 2)
            .irq(38, "virtio3-request", 2)
            .irq(39, "ahci[0000:00:1f.2]", 2)
            .irq(40, "nvme0q1", 2)
            .irq(41, "acpi", 2);
        let shape = probe(fixture.root());
        let found = interrupts(fixture.root());
        let owners: Vec<Owner> = found.iter().map(|irq| irq.of(&shape)).collect();
        let (nic, disk, other) = (Owner::Nic, Owner::Disk, Owner::Other);
        assert_eq!(owners, [other, nic, nic, nic, disk, disk, disk, other]);
    }
}
