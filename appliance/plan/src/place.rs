//! Which CPUs run which zone: named by the profile, or chosen near the disks and the network card.

use serde::{Deserialize, Serialize};

use crate::limits::ZONE_CORES_MAX;
use crate::load::Misfit;
use crate::machine::Machine;
use crate::profile::{Cpus, Near, Zones};

/// CPU numbers by role. `housekeeping` is empty where nothing was set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub housekeeping: Vec<usize>,
    pub storage: Vec<usize>,
    pub inbound: Vec<usize>,
    pub client: Vec<usize>,
}

impl Placement {
    /// CPUs that run a zone and nothing else.
    pub fn zone_cpus(&self) -> Vec<usize> {
        let mut cpus: Vec<usize> = [&self.storage, &self.inbound, &self.client]
            .into_iter()
            .flatten()
            .copied()
            .filter(|cpu| !self.housekeeping.contains(cpu))
            .collect();
        // Two zones may share one: it is isolated once.
        cpus.sort_unstable();
        cpus.dedup();
        cpus
    }
}

/// Resolves a profile's `[zones]` on this machine. Named CPUs are taken first; then housekeeping, storage, inbound and client
/// choose in this order among what is left, first threads of a core before second ones.
pub fn place(zones: &Zones, machine: &Machine) -> Result<Placement, Misfit> {
    if zones.says_nothing() {
        return Ok(computed(&machine.cpus));
    }
    // Named ones go before anything is chosen, so that the order of the roles has no say in what a profile states.
    let mut free = machine.in_order();
    let named = [
        &zones.housekeeping,
        &zones.storage,
        &zones.inbound,
        &zones.client,
    ];
    for cpus in named.into_iter().flatten() {
        if let Cpus::Named(list) = cpus {
            free.retain(|cpu| !list.contains(cpu));
        }
    }
    let mut hand = Hand { machine, free };
    let housekeeping = match &zones.housekeeping {
        None => Vec::new(),
        Some(Cpus::Named(list)) => list.clone(),
        Some(Cpus::Chosen { count, near, .. }) => {
            // A zone each must remain; on a machine too small for that nothing is set aside.
            let spare = hand.free.len().saturating_sub(3);
            hand.take(count.unwrap_or(1).min(spare), *near)
        }
    };
    let half = Cpus::Chosen {
        count: None,
        share: Some(50),
        near: None,
    };
    let one = Cpus::Chosen {
        count: Some(1),
        share: None,
        near: Some(Near::Disks),
    };
    let storage = hand.zone(zones.storage.as_ref().unwrap_or(&one), None, &housekeeping);
    // Both shares are of what was left before either took: 50 and 50 are halves, and not a half and a quarter.
    let left = hand.free.len();
    let inbound = hand.zone(
        zones.inbound.as_ref().unwrap_or(&half),
        Some(left),
        &storage,
    );
    let client = hand.zone(zones.client.as_ref().unwrap_or(&half), Some(left), &inbound);
    Ok(Placement {
        housekeeping,
        storage,
        inbound,
        client,
    })
}

struct Hand<'a> {
    machine: &'a Machine,
    free: Vec<usize>,
}

impl Hand<'_> {
    /// A zone's CPUs; where none is left it shares those of `else_with`, or the machine's first.
    fn zone(&mut self, cpus: &Cpus, share_of: Option<usize>, else_with: &[usize]) -> Vec<usize> {
        let (count, share, near) = match cpus {
            Cpus::Named(list) => return list.clone(),
            Cpus::Chosen { count, share, near } => (*count, *share, *near),
        };
        let wanted = match (count, share, share_of) {
            (Some(count), _, _) => count,
            // Rounded up, so that an odd CPU goes to inbound, which chooses first, and none stays unused.
            (None, Some(share), Some(left)) => (left * usize::from(share)).div_ceil(100),
            _ => 1,
        };
        let taken = self.take(wanted.clamp(1, ZONE_CORES_MAX), near);
        if !taken.is_empty() {
            return taken;
        }
        // With its neighbour in the flow of a message rather than with all: the two are seldom busy with different messages at once.
        match else_with {
            [] => self.machine.cpus.first().copied().into_iter().collect(),
            shared => shared.to_vec(),
        }
    }

    fn take(&mut self, count: usize, near: Option<Near>) -> Vec<usize> {
        let topology = &self.machine.topology;
        let node = match near {
            Some(Near::Disks) => topology.disk_node,
            Some(Near::Nic) => topology.nic_node,
            None => None,
        };
        let mut order = self.free.clone();
        // A stable sort: those near come first, each group in its order.
        order.sort_by_key(|cpu| node.is_some() && topology.node_of(*cpu) != node);
        order.truncate(count);
        self.free.retain(|cpu| !order.contains(cpu));
        // For people: a placement is shown, and a list in order can be compared.
        order.sort_unstable();
        order
    }
}

/// What a profile without `[zones]` gets: one CPU runs everything; on two, storage has one and inbound and client share the
/// other; from three up every zone has its own.
fn computed(cpus: &[usize]) -> Placement {
    let (storage, inbound, client) = match *cpus {
        [] => (vec![0], vec![0], vec![0]),
        [only] => (vec![only], vec![only], vec![only]),
        [first, second] => (vec![first], vec![second], vec![second]),
        [first, ref rest @ ..] => {
            // Larger machines keep the others for the kernel, filters and programs beside us.
            let rest = &rest[..rest.len().min(2 * ZONE_CORES_MAX)];
            let (inbound, client) = rest.split_at(rest.len().div_ceil(2));
            (vec![first], inbound.to_vec(), client.to_vec())
        }
    };
    Placement {
        housekeeping: Vec::new(),
        storage,
        inbound,
        client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Topology;

    /// Two sockets of four CPUs; disks on the second, the network card on the first.
    fn two_sockets() -> Machine {
        let nodes = (0..8).map(|cpu| (cpu, cpu / 4)).collect();
        Machine {
            cpus: (0..8).collect(),
            memory_bytes: 8 << 30,
            open_files: 65_536,
            topology: Topology {
                nodes,
                second_threads: Vec::new(),
                disk_node: Some(1),
                nic_node: Some(0),
                turning_disks: false,
            },
        }
    }

    fn chosen(count: Option<usize>, share: Option<u8>, near: Option<Near>) -> Option<Cpus> {
        Some(Cpus::Chosen { count, share, near })
    }

    #[test]
    fn storage_sits_by_the_disks_and_inbound_by_the_network_card() {
        let zones = Zones {
            housekeeping: chosen(Some(1), None, None),
            storage: chosen(Some(1), None, Some(Near::Disks)),
            inbound: chosen(None, Some(50), Some(Near::Nic)),
            client: chosen(None, Some(50), None),
        };
        let placed = place(&zones, &two_sockets()).expect("it fits");
        assert_eq!(placed.housekeeping, [0]);
        assert_eq!(placed.storage, [4]);
        assert_eq!(placed.inbound, [1, 2, 3]);
        assert_eq!(placed.client, [5, 6, 7]);
        assert_eq!(placed.zone_cpus(), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn one_profile_fits_machines_from_one_cpu_up() {
        let zones = Zones {
            housekeeping: chosen(Some(1), None, None),
            storage: chosen(Some(1), None, Some(Near::Disks)),
            inbound: chosen(None, Some(50), None),
            client: chosen(None, Some(50), None),
        };
        for cpus in [1, 2, 3, 4, 6, 64, 256] {
            let machine = Machine {
                cpus: (0..cpus).collect(),
                memory_bytes: 8 << 30,
                open_files: 65_536,
                topology: Topology::default(),
            };
            let placed = place(&zones, &machine).expect("it fits");
            assert_eq!(placed.storage.len(), 1, "{cpus} CPUs");
            assert!(!placed.inbound.is_empty() && !placed.client.is_empty());
            assert!(placed.inbound.len() <= ZONE_CORES_MAX);
            let set_aside = placed
                .housekeeping
                .iter()
                .any(|cpu| placed.zone_cpus().contains(cpu));
            assert!(!set_aside, "{cpus} CPUs");
        }
    }

    #[test]
    fn second_threads_of_a_core_are_taken_last() {
        let mut machine = two_sockets();
        machine.topology.second_threads = vec![1, 3, 5, 7];
        let zones = Zones {
            inbound: chosen(Some(3), None, None),
            ..Zones::default()
        };
        let placed = place(&zones, &machine).expect("it fits");
        assert_eq!(placed.storage, [4]);
        assert_eq!(placed.inbound, [0, 2, 6]);
    }
}
