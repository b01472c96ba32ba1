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
        // virtio names its interrupts by bus and queue: `virtio2-input.0` is a card's.
        let virtio_card =
            name.starts_with("virtio") && (name.contains("-input") || name.contains("-output"));
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
