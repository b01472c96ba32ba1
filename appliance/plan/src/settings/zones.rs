//! What the settings say of zones on several machines, held against the rest of them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::limits::*;
use crate::plan::parts::Zone;
use crate::units::Span;
use crate::zones::{Recipients, ZonesPlan};

use super::Settings;

impl Settings {
    /// Whether this node runs `zone`.
    pub fn runs(&self, zone: Zone) -> bool {
        self.zones.run.contains(&zone)
    }

    pub(crate) fn zones_plan(&self) -> ZonesPlan {
        let us = |span: Span| span.0.as_micros() as u64;
        ZonesPlan {
            storage: self.inbound.storage.clone(),
            front: self.front.storage.clone(),
            recipients_every_us: us(self.inbound.recipients.every),
            recipients_age_us: us(self.inbound.recipients.age),
        }
    }

    /// One sentence without the file's name.
    pub(crate) fn check_zones(&self) -> Result<(), String> {
        let run = &self.zones.run;
        // Three shapes, and no others: each is tested as a whole, and storage without clients, say, would be a box that nobody could read from.
        let is_known = match run.len() {
            3 => Zone::ALL.iter().all(|zone| run.contains(zone)),
            2 => run.contains(&Zone::Storage) && run.contains(&Zone::Client),
            1 => run.contains(&Zone::Inbound) || run.contains(&Zone::Client),
            _ => false,
        };
        if !is_known {
            return Err(
                "zones.run: write all three zones (or omit it), [\"inbound\"] for a node without storage that takes mail of other servers, [\"client\"] for one that passes people on, or [\"storage\", \"client\"] for one that gets its mail from such nodes"
                    .into(),
            );
        }
        let listen = &self.listen;
        let strangers = [("smtp", &listen.smtp), ("lmtp", &listen.lmtp)];
        let people = [
            ("submission", &listen.submission),
            ("submissions", &listen.submissions),
            ("imap", &listen.imap),
            ("imaps", &listen.imaps),
            ("pop3", &listen.pop3),
            ("pop3s", &listen.pop3s),
            ("managesieve", &listen.managesieve),
            ("policy", &listen.policy),
        ];
        let zones = [
            ("zone_lmtp", &listen.zone_lmtp),
            ("zone_smtp", &listen.zone_smtp),
            ("zone_qmqp", &listen.zone_qmqp),
            ("recipients", &listen.recipients),
            ("zone_client", &listen.zone_client),
        ];
        // A listener without its zone would accept connections and have nothing to answer: refused here, with the key by name.
        let without = |zone: Zone, keys: &[(&str, &Vec<SocketAddr>)]| {
            let open = keys.iter().find(|(_, addresses)| !addresses.is_empty());
            match open {
                Some((key, _)) if !self.runs(zone) => Err(format!(
                    "listen.{key} needs the zone \"{}\", which this node does not run: remove it, or add the zone to zones.run",
                    zone.name()
                )),
                _ => Ok(()),
            }
        };
        without(Zone::Inbound, &strangers)?;
        without(Zone::Client, &people)?;
        without(Zone::Storage, &zones)?;
        if self.runs(Zone::Storage) {
            if self.volume.is_absent {
                return Err("[volume] is missing: it says where mail is kept; write it, or run = [\"inbound\"] in [zones] for a node without storage".into());
            }
            if !self.inbound.storage.is_empty() {
                return Err("[[inbound.storage]] is for a node without storage: remove it, or write run = [\"inbound\"] in [zones]".into());
            }
        } else {
            self.check_storage_nodes()?;
        }
        self.check_front()?;
        let doors = zones.iter().any(|(_, addresses)| !addresses.is_empty());
        self.check_peers(doors)?;
        self.check_doors()
    }

    fn check_storage_nodes(&self) -> Result<(), String> {
        if !self.volume.legs.get_ref().is_empty() {
            return Err("volume.legs: this node runs no storage: remove [volume], or add \"storage\" to zones.run".into());
        }
        if !self.quarantine.verdicts.is_empty() {
            return Err(
                "quarantine.verdicts: the quarantine is kept by storage nodes: remove it here, and what a check finds is refused or filed as junk"
                    .into(),
            );
        }
        if !self.domains.is_empty() || !self.accounts.is_empty() {
            return Err(
                "[[domain]] and [[account]] are kept by storage nodes: remove them here".into(),
            );
        }
        if self.is_front() {
            return self.check_recipients();
        }
        let nodes = &self.inbound.storage;
        if !(1..=STORAGE_NODES_MAX).contains(&nodes.len()) {
            return Err(format!(
                "[[inbound.storage]]: a node without storage needs 1 to {STORAGE_NODES_MAX} storage nodes: write one with its address and name"
            ));
        }
        for node in nodes {
            crate::site::check_host("inbound.storage.name", &node.name)?;
            if node.weight == 0 {
                return Err(format!(
                    "inbound.storage of {}: weight is a share: write 1 or more",
                    node.address
                ));
            }
        }
        if nodes.iter().all(|node| node.recipients.is_none()) {
            return Err("[[inbound.storage]]: no node serves the table of recipients: write `recipients` with the address of listen.recipients there".into());
        }
        self.check_recipients()
    }

    fn check_recipients(&self) -> Result<(), String> {
        let Recipients { every, age } = self.inbound.recipients;
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&every.0) {
            return Err("inbound.recipients.every: write 1s to 10m".into());
        }
        if age.0 < every.0 * 2 || age.0 > Duration::from_secs(86_400) {
            return Err("inbound.recipients.age: write at least twice inbound.recipients.every, and at most 1d".into());
        }
        Ok(())
    }

    /// No door for nodes is open that none of them may come in by.
    fn check_doors(&self) -> Result<(), String> {
        let (listen, peers) = (&self.listen, &self.peers);
        let takes_mail = [&listen.zone_lmtp, &listen.zone_smtp];
        let takes_mail = takes_mail.iter().any(|addresses| !addresses.is_empty());
        let qmqp = !listen.zone_qmqp.is_empty();
        let tables = !listen.recipients.is_empty() && peers.fronts.is_empty();
        let is_unnamed = peers.names.is_empty() && (!qmqp || peers.networks.is_empty());
        if is_unnamed && (takes_mail || qmqp || tables) {
            return Err("peers.names: no node may come in: write the names in the certificates of nodes that may".into());
        }
        if !listen.zone_client.is_empty() && peers.fronts.is_empty() {
            return Err("peers.fronts: no node may pass people on: write the names in the certificates of fronts".into());
        }
        Ok(())
    }

    fn check_peers(&self, doors: bool) -> Result<(), String> {
        let peers = &self.peers;
        let files = [
            ("authority", &peers.authority),
            ("certificate", &peers.certificate),
            ("key", &peers.key),
        ];
        let is_needed = doors || !self.runs(Zone::Storage);
        let is_begun = files.iter().any(|(_, file)| file.is_some());
        if let Some((key, _)) = files.iter().find(|(_, file)| file.is_none())
            && (is_needed || is_begun)
        {
            return Err(format!(
                "peers.{key}: nodes prove themselves to each other by certificates: write the path of a PEM file"
            ));
        }
        let counts = [peers.names.len(), peers.fronts.len(), peers.networks.len()];
        if counts.iter().any(|count| *count > PEER_NAMES_MAX) {
            return Err(format!(
                "[peers]: write at most {PEER_NAMES_MAX} names, fronts and networks"
            ));
        }
        for (key, names) in [
            ("peers.names", &peers.names),
            ("peers.fronts", &peers.fronts),
        ] {
            for name in names {
                crate::site::check_host(key, name)?;
            }
        }
        for text in &peers.networks {
            let network: Result<base::Network, _> = text.parse();
            network.map_err(|fix| format!("peers.networks: \"{text}\" is not a network: {fix}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zones::Protocol;

    const NODE: &str = "[zones]\nrun = [\"inbound\"]\n[[inbound.storage]]\naddress = \"192.0.2.7:2424\"\nname = \"storage1.example.org\"\nrecipients = \"192.0.2.7:2425\"\n";
    const PEERS: &str =
        "[peers]\nauthority = \"/ca.pem\"\ncertificate = \"/node.pem\"\nkey = \"/node.key\"\n";
    const VOLUME: &str = "[volume]\nlegs = [\"/a\", \"/b\"]\n";

    fn parse(parts: &[&str]) -> Result<Settings, String> {
        let text = parts.concat();
        Settings::parse("ringpost.toml", &text).map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn a_node_without_storage_needs_no_volume() {
        let settings = parse(&[NODE, PEERS, "[listen]\nsmtp = [\"127.0.0.1:25\"]\n"]);
        let settings = settings.expect("well-formed");
        assert!(settings.runs(Zone::Inbound) && !settings.runs(Zone::Storage));
        let node = &settings.inbound.storage[0];
        assert_eq!(
            (node.protocol, node.priority, node.weight),
            (Protocol::Lmtp, 1, 1)
        );
        let spool = "[spool]\nlegs = [\"/a\", \"/b\"]\n";
        let spooled = parse(&[NODE, PEERS, spool]).expect("a spool of its own");
        assert_eq!(spooled.spool.legs.len(), 2);
        assert!(parse(&[VOLUME]).expect("all zones").runs(Zone::Client));
    }

    #[test]
    fn what_does_not_fit_together_is_one_sentence_with_the_fix() {
        let doors = "[listen]\nzone_lmtp = [\"127.0.0.1:2424\"]\n";
        let cases: [(&[&str], &str); 16] = [
            (&[""], "[volume] is missing"),
            (
                &[NODE, PEERS, "[quarantine]\nverdicts = [\"virus\"]\n"],
                "quarantine.verdicts",
            ),
            (&[VOLUME, "[zones]\nrun = []\n"], "write all three zones"),
            (
                &[VOLUME, "[zones]\nrun = [\"storage\"]\n"],
                "write all three zones",
            ),
            (
                &["[zones]\nrun = [\"inbound\"]\n"],
                "needs 1 to 8 storage nodes",
            ),
            (&[NODE], "peers.authority"),
            (&[NODE, PEERS, VOLUME], "remove [volume]"),
            (
                &[NODE, PEERS, "[[domain]]\nname = \"a.example\"\n"],
                "remove them here",
            ),
            (
                &[NODE, PEERS, "[listen]\nimap = [\"127.0.0.1:143\"]\n"],
                "needs the zone \"client\"",
            ),
            (&[NODE, PEERS, doors], "needs the zone \"storage\""),
            (&[VOLUME, doors], "peers.authority"),
            (&[VOLUME, PEERS, doors], "peers.names"),
            (&[VOLUME, PEERS, "networks = [\"x\"]\n"], "is not a network"),
            (
                &[
                    &NODE.replace("recipients =", "weight = 0\nrecipients ="),
                    PEERS,
                ],
                "write 1 or more",
            ),
            (
                &[
                    NODE,
                    PEERS,
                    "[inbound.recipients]\nevery = \"5s\"\nage = \"6s\"\n",
                ],
                "at least twice",
            ),
            (
                &[
                    VOLUME,
                    &NODE.replace("[zones]\nrun = [\"inbound\"]\n", ""),
                    PEERS,
                ],
                "for a node without storage",
            ),
        ];
        for (parts, fix) in cases {
            let told = parse(parts).expect_err(fix);
            assert!(
                told.contains(fix) && !told.contains('\n'),
                "{parts:?}: {told}"
            );
        }
    }
}
