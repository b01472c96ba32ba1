//! Network cards that die and come back.

use std::net::SocketAddr;
use std::time::Duration;

use mua::smtp::Smtp;

use crate::connect;
use crate::failure::{Doing, Told, ensure};
use crate::guest::SMTP;
use crate::ledger::{Ledger, reply_within};
use crate::pace;
use crate::shape::{Nic, Shape};
use crate::world::{World, until};

/// One card by itself, and two in a bond on another network.
pub fn two_nics_one_dead(world: &mut World) -> Told<()> {
    let machine = world.boot(Shape {
        nics: vec![
            Nic::virtio("lan0"),
            Nic::virtio("lan1"),
            Nic::beside("lan2", "lan1"),
        ],
        settings: format!(
            "[[network.interface]]\nname = \"{}\"\ndhcp = true\n\n\
             [[network.bond]]\nname = \"bond0\"\nmembers = [\"{}\", \"{}\"]\ndhcp = true\n",
            Nic::guest_name(0),
            Nic::guest_name(1),
            Nic::guest_name(2)
        ),
        ..Shape::default()
    })?;
    world.told(machine, |machine| {
        let (guest, ledger) = machine.both();
        let (single, bond) = (guest.at_nic(0, SMTP), guest.at_nic(1, SMTP));
        comes_up(single, "lan0")?;
        comes_up(bond, "the bond")?;
        ledger.fill_by(single, 5, 2_000)?;
        // One connection over the whole story: that a new one can be made says nothing about those that people have open.
        let mut kept = connect::smtp(bond, reply_within()).doing("connecting by the bond")?;
        send(ledger, &mut kept, "both of its cards")?;

        guest.link("lan0", false)?;
        ensure(greets(single).is_err(), || {
            "a card without a link still carries mail: nothing was cut".into()
        })?;
        ledger
            .fill_by(bond, 5, 2_000)
            .map_err(|failure| failure.during("with lan0 dead"))?;
        // The same connection lives on, whichever card is left.
        for dead in ["lan1", "lan2"] {
            guest.link(dead, false)?;
            send(ledger, &mut kept, &format!("{dead} dead"))?;
            ledger
                .fill_by(bond, 5, 2_000)
                .map_err(|failure| failure.during(format!("with {dead} dead")))?;
            guest.link(dead, true)?;
            // The bond looks at its links ten times a second; two losses at once are another story.
            std::thread::sleep(pace::stretched(Duration::from_secs(1)));
        }
        guest.link("lan1", false)?;
        guest.link("lan2", false)?;
        ensure(greets(bond).is_err(), || {
            "a bond without cards still carries mail".into()
        })?;
        guest.link("lan0", true)?;
        comes_up(single, "lan0, put back")?;
        ledger
            .fill_by(single, 5, 2_000)
            .map_err(|failure| failure.during("with the bond dead"))?;
        guest.link("lan1", true)?;
        guest.link("lan2", true)?;
        comes_up(bond, "the bond, put back")?;
        ledger.fill_by(bond, 5, 2_000)?;
        ledger.check(guest)?;
        machine.wait_until_in_sync()
    })
}

fn send(ledger: &Ledger, smtp: &mut Smtp, by: &str) -> Told<()> {
    let sent = ledger.send(smtp, 2_000);
    let reply = sent.doing(format!("sending by a bond with {by}"))?;
    ensure(reply.is_ok(), || {
        format!("refused by a bond with {by}: {reply:?}")
    })
}

/// QEMU takes the connection whatever becomes of the guest: a greeting is what counts.
fn greets(server: SocketAddr) -> std::io::Result<Smtp> {
    connect::smtp(server, pace::stretched(GREETING_WITHIN))
}

fn comes_up(server: SocketAddr, what: &str) -> Told<()> {
    until(UP_WITHIN, || greets(server).is_ok())
        .map_err(|failure| failure.during(format!("mail by {what}")))
}

const GREETING_WITHIN: Duration = Duration::from_secs(3);
/// A DHCP lease included.
const UP_WITHIN: Duration = Duration::from_secs(30);
