//! The stories, one line each. A name here is a name of `cargo xtask qemu`.
//!
//! Each is a plain function over the `World`. Those that are not `long` make up the suite of `cargo xtask test`; they
//! come first and in an order in which each leaves a guest that the next one goes on with.

mod cache;
mod console;
mod internet;
mod mail;
mod network;
mod operate;
mod power;
mod profiles;
mod san;
mod settings;
mod system;
mod update;
mod watchdog;

use crate::failure::Told;
use crate::world::World;

pub struct Story {
    pub name: &'static str,
    /// What is claimed, in one sentence.
    pub claim: &'static str,
    /// Only told by name or with `--long`.
    pub long: bool,
    pub tell: fn(&mut World) -> Told<()>,
}

pub const STORIES: &[Story] = &[
    Story {
        name: "boot_to_mail",
        claim: "power-on with nothing but a credential: READY, a message in by SMTP, the same bytes out by IMAP, both legs in sync",
        long: false,
        tell: mail::boot_to_mail,
    },
    Story {
        name: "read_and_write_errors",
        claim: "a leg that cannot be read is served by the other one; a leg that cannot be written leaves the mirror; nothing acknowledged is lost",
        long: false,
        tell: mail::read_and_write_errors,
    },
    Story {
        name: "leg_lost_mid_delivery_and_returned",
        claim: "a leg pulled under load stops no delivery; put back, it catches up at the next start, and the mirror's other half may go",
        long: false,
        tell: mail::leg_lost_mid_delivery_and_returned,
    },
    Story {
        name: "dashboard_on_serial",
        claim: "the dashboard is drawn whole on the serial line (zones, legs, addresses, services), counts a message that comes in, and shows no secret",
        long: false,
        tell: console::dashboard_on_serial,
    },
    Story {
        name: "power_button_stops_cleanly",
        claim: "the power button switches the box off by itself, and what it had acknowledged is there at the next start",
        long: false,
        tell: console::power_button_stops_cleanly,
    },
    Story {
        name: "power_cut_after_250",
        claim: "the power fails the instant a 250 is read, under load: everything acknowledged is there after the next boot, under the same UIDs",
        long: false,
        tell: power::power_cut_after_250,
    },
    Story {
        name: "power_cut_takes_the_write_cache",
        claim: "the power fails while each disk's write cache holds unflushed data: whether none, some or all of that is lost, either leg alone has everything acknowledged, and the box starts from them",
        long: false,
        tell: cache::power_cut_takes_the_write_cache,
    },
    Story {
        name: "set_up_on_serial",
        claim: "a box without settings asks on its serial line, takes mail after the last answer, and does not ask at the next start; the password is not shown",
        long: false,
        tell: console::set_up_on_serial,
    },
    Story {
        name: "operated_from_afar",
        claim: "every verb that looks answers over TLS to a client certificate; accounts are made and removed; reboot, factory reset and poweroff do what they say",
        long: true,
        tell: operate::operated_from_afar,
    },
    Story {
        name: "leg_replaced_by_a_blank_disk",
        claim: "a leg dies, another disk comes into its bay, `leg attach` copies everything, and it serves alone afterwards",
        long: true,
        tell: operate::leg_replaced_by_a_blank_disk,
    },
    Story {
        name: "settings_from_afar",
        claim: "host name and address are changed over TLS and confirmed; an address and a listener that cannot be reached are reverted automatically, after their time and after a power cut; mail goes on",
        long: true,
        tell: settings::settings_from_afar,
    },
    Story {
        name: "two_nics_one_dead",
        claim: "a network card by itself and either card of a bond die and come back: mail goes on by what is left, on the same connection in the bond",
        long: false,
        tell: network::two_nics_one_dead,
    },
    Story {
        name: "two_on_the_internet",
        claim: "a message submitted on one Ringpost is read on another: found by MX, DKIM and DMARC pass, TLS proved by DANE; a server with another certificate gets nothing, a forgery is refused",
        long: false,
        tell: internet::two_on_the_internet,
    },
    Story {
        name: "leg_on_iscsi",
        claim: "one leg is on an iSCSI target that dies under load, comes back, and is away at a boot: mail goes on, and the leg is in sync again by itself",
        long: true,
        tell: san::leg_on_iscsi,
    },
    Story {
        name: "san_hangs",
        claim: "an iSCSI target stops in mid-delivery without closing a connection: its leg leaves the mirror, mail goes on, and it catches up by itself",
        long: true,
        tell: san::san_hangs,
    },
    Story {
        name: "leg_on_nvme_tcp",
        claim: "the same with a namespace behind NVMe over TCP, digests and all",
        long: true,
        tell: san::leg_on_nvme_tcp,
    },
    Story {
        name: "two_paths_by_iscsi",
        claim: "the same with two paths to the target, joined by a map that is the leg",
        long: true,
        tell: san::two_paths_by_iscsi,
    },
    Story {
        name: "watchdog_fires",
        claim: "a hung engine is ended and started again by systemd, a hung kernel by the hardware watchdog; mail is whole and the box says why",
        long: true,
        tell: watchdog::watchdog_fires,
    },
    Story {
        name: "broken_signature_refused",
        claim: "an update with a flipped byte, of another key, with an edited claim, of another product, older, or unsigned is refused with a sentence and changes no slot",
        long: false,
        tell: update::broken_signature_refused,
    },
    Story {
        name: "update_applied",
        claim: "an update sent by ringpostctl over TLS is tried at the next boot, passes the mail round trip, is blessed, and the mail from before is there",
        long: false,
        tell: update::update_applied,
    },
    Story {
        name: "bad_update_rolled_back",
        claim: "an update that starts and takes no mail is given up: the box returns to the version before by itself, says why, and has all its mail",
        long: false,
        tell: update::bad_update_rolled_back,
    },
    Story {
        name: "bad_update_tried_three_times",
        claim: "the same with the usual three tries: three boots fail their mail round trip before the box returns",
        long: true,
        tell: update::bad_update_tried_three_times,
    },
    Story {
        name: "power_cut_mid_update",
        claim: "the power fails while an update is being written, early, in the middle and at its end: no slot has changed, and the update can be done again",
        long: true,
        tell: update::power_cut_mid_update,
    },
    Story {
        name: "rolled_back_by_order",
        claim: "a version that was blessed is given up by `update rollback`: the one before starts again, with the mail that the newer one took",
        long: true,
        tell: update::rolled_back_by_order,
    },
    Story {
        name: "second_system_disk",
        claim: "installed on two system disks: an update and its blessing are on both, the first is pulled and the box starts from the other with that version and certificate, and a blank disk takes the lost one's place",
        long: true,
        tell: system::second_system_disk,
    },
    Story {
        name: "second_system_disk_sealed",
        claim: "the same in a machine with a TPM: the other disk's state is sealed as well, opened to be written, and opens when the box starts from it",
        long: true,
        tell: system::second_system_disk_sealed,
    },
    Story {
        name: "ten_boots_and_hard_resets_under_load",
        claim: "ten hard resets in a row under load, each in the middle of deliveries: nothing acknowledged is lost",
        long: true,
        tell: power::ten_boots_and_hard_resets_under_load,
    },
    Story {
        name: "accept_rate",
        claim: "under full load for a while nothing acknowledged is lost; how many messages a second, and per second of the emulator's work, is printed",
        long: true,
        tell: mail::accept_rate,
    },
    Story {
        name: "disk_full",
        claim: "legs filled to the last segment refuse with 4xx, go on serving what they hold, and do so after a reset too",
        long: true,
        tell: mail::disk_full,
    },
    Story {
        name: "state_partition_wiped",
        claim: "the system disk is replaced by a blank one, twice, and the state with it: the legs' volume continues, nothing is created again",
        long: true,
        tell: power::state_partition_wiped,
    },
    Story {
        name: "clock_wrong",
        claim: "a clock in 2001 and one in 2037 hinder neither boot nor mail, and time that jumps loses nothing",
        long: true,
        tell: power::clock_wrong,
    },
    Story {
        name: "profile_qemu_small",
        claim: "two CPUs, two disks: the profile chosen for the right reason, and every thread, interrupt, argument, ring and leg read back as promised",
        long: false,
        tell: profiles::qemu_small,
    },
    Story {
        name: "profile_qemu_numa",
        claim: "two nodes, storage beside the disks, inbound beside the card, all isolated by an addon's kernel arguments: the profile chosen for the right reason, and every thread, interrupt, argument, ring and leg read back as promised",
        long: true,
        tell: profiles::qemu_numa,
    },
    Story {
        name: "profile_generic",
        claim: "an unknown machine: the profile chosen for the right reason, and every thread, interrupt, argument, ring and leg read back as promised",
        long: true,
        tell: profiles::generic,
    },
    Story {
        name: "profile_edge_branch",
        claim: "four CPUs, two SATA disks, a card that asks for its interrupts late: the profile chosen for the right reason, and every thread, interrupt, argument, ring and leg read back as promised",
        long: true,
        tell: profiles::edge_branch,
    },
    Story {
        name: "profile_rack_1u_dual_nvme",
        claim: "32 CPUs, 16 GiB, two NVMe drives, 30 CPUs isolated: the profile chosen for the right reason, and every thread, interrupt, argument, ring and leg read back as promised",
        long: true,
        tell: profiles::rack_1u_dual_nvme,
    },
    Story {
        name: "profile_rack_2u_nvme_24",
        claim: "32 CPUs on two sockets, 64 GiB, eight of the 24 NVMe drives: the profile chosen for the right reason, and every thread, interrupt, argument, ring and leg read back as promised",
        long: true,
        tell: profiles::rack_2u_nvme_24,
    },
    Story {
        name: "profile_san_fc_head",
        claim: "disks with world-wide names on virtio-scsi stand for Fibre Channel's, and the profile is pinned: the profile chosen for the right reason, and every thread, interrupt, argument, ring and leg read back as promised",
        long: true,
        tell: profiles::san_fc_head,
    },
    Story {
        name: "profile_san_nvmetcp_head",
        claim: "local NVMe drives stand for those over TCP, and the profile is pinned: the profile chosen for the right reason, and every thread, interrupt, argument, ring and leg read back as promised",
        long: true,
        tell: profiles::san_nvmetcp_head,
    },
];

/// The story called `name`.
pub fn find(name: &str) -> Option<&'static Story> {
    STORIES.iter().find(|story| story.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_every_story_claims_something() {
        for (index, story) in STORIES.iter().enumerate() {
            assert!(story.claim.len() > 40, "{}", story.name);
            assert!(
                STORIES[..index]
                    .iter()
                    .all(|other| other.name != story.name)
            );
        }
        assert!(find("boot_to_mail").is_some_and(|story| !story.long));
        assert!(find("nothing").is_none());
    }
}
