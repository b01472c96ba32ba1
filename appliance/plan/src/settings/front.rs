//! What the settings say of a front, held against the rest of them.

use crate::limits::STORAGE_NODES_MAX;
use crate::plan::parts::Zone;

use super::Settings;

impl Settings {
    /// Whether this node passes people on: it runs the client zone alone.
    pub fn is_front(&self) -> bool {
        self.zones.run == [Zone::Client]
    }

    /// One sentence without the file's name.
    pub(crate) fn check_front(&self) -> Result<(), String> {
        let nodes = &self.front.storage;
        if !self.is_front() {
            return match nodes.is_empty() {
                true => Ok(()),
                false => Err(
                    "[[front.storage]] is for a node that passes people on: remove it, or write run = [\"client\"] in [zones]"
                        .into(),
                ),
            };
        }
        if !(1..=STORAGE_NODES_MAX).contains(&nodes.len()) {
            return Err(format!(
                "[[front.storage]]: a node with the client zone alone needs 1 to {STORAGE_NODES_MAX} storage nodes: write one with its address, name and recipients"
            ));
        }
        for (index, node) in nodes.iter().enumerate() {
            crate::site::check_host("front.storage.name", &node.name)?;
            if nodes[..index]
                .iter()
                .any(|other| other.address == node.address || other.name == node.name)
            {
                return Err(format!(
                    "front.storage: {} ({}) is named twice: write each storage node once",
                    node.address, node.name
                ));
            }
        }
        if !self.inbound.storage.is_empty() {
            return Err(
                "[[inbound.storage]] is where mail of other servers goes, which this node takes none of: write [[front.storage]]"
                    .into(),
            );
        }
        if !self.spool.legs.is_empty() {
            return Err(
                "spool.legs: this node takes no mail that could wait: remove [spool]".into(),
            );
        }
        if !self.listen.policy.is_empty() {
            return Err(
                "listen.policy: policies are those of a storage node's domains: remove it here, and open it there"
                    .into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: &str = "[zones]\nrun = [\"client\"]\n[listen]\nimaps = [\"127.0.0.1:993\"]\n";
    const NODE: &str = "[[front.storage]]\naddress = \"192.0.2.7:2426\"\nname = \"storage1.example.org\"\nrecipients = \"192.0.2.7:2425\"\n";
    const PEERS: &str =
        "[peers]\nauthority = \"/ca.pem\"\ncertificate = \"/node.pem\"\nkey = \"/node.key\"\n";
    const VOLUME: &str = "[volume]\nlegs = [\"/a\", \"/b\"]\n";

    fn parse(parts: &[&str]) -> Result<Settings, String> {
        let text = parts.concat();
        Settings::parse("ringpost.toml", &text).map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn a_front_needs_no_volume() {
        let other = NODE
            .replace("storage1", "storage2")
            .replace("192.0.2.7", "192.0.2.8");
        let settings = parse(&[FRONT, NODE, &other, PEERS]).expect("well-formed");
        assert!(settings.is_front() && settings.runs(Zone::Client));
        assert!(!settings.runs(Zone::Storage) && !settings.runs(Zone::Inbound));
        assert_eq!(settings.front.storage.len(), 2);
        assert!(!parse(&[VOLUME]).expect("all zones").is_front());
    }

    #[test]
    fn what_does_not_fit_a_front_is_one_sentence_with_the_fix() {
        let inbound = NODE.replace("front.storage", "inbound.storage");
        let cases: [(&[&str], &str); 10] = [
            (&[FRONT, PEERS], "needs 1 to 8 storage nodes"),
            (&[FRONT, NODE], "peers.authority"),
            (&[FRONT, NODE, NODE, PEERS], "is named twice"),
            (&[FRONT, NODE, PEERS, VOLUME], "remove [volume]"),
            (&[FRONT, NODE, PEERS, &inbound], "write [[front.storage]]"),
            (
                &[FRONT, NODE, PEERS, "[spool]\nlegs = [\"/a\", \"/b\"]\n"],
                "remove [spool]",
            ),
            (
                &[FRONT, "policy = [\"127.0.0.1:443\"]\n", NODE, PEERS],
                "listen.policy",
            ),
            (
                &[FRONT, "smtp = [\"127.0.0.1:25\"]\n", NODE, PEERS],
                "needs the zone \"inbound\"",
            ),
            (
                &[FRONT, "zone_client = [\"127.0.0.1:2426\"]\n", NODE, PEERS],
                "needs the zone \"storage\"",
            ),
            (&[VOLUME, NODE, PEERS], "for a node that passes people on"),
        ];
        for (parts, fix) in cases {
            let told = parse(parts).expect_err(fix);
            assert!(
                told.contains(fix) && !told.contains('\n'),
                "{parts:?}: {told}"
            );
        }
    }

    #[test]
    fn a_door_for_fronts_is_for_named_nodes() {
        let door = "[listen]\nzone_client = [\"127.0.0.1:2426\"]\n";
        let fronts = "fronts = [\"front1.example.org\"]\n";
        assert!(parse(&[VOLUME, door, PEERS, fronts]).is_ok());
        // A node that hands mail over is no front by that.
        for names in ["", "names = [\"inbound1.example.org\"]\n"] {
            let told = parse(&[VOLUME, door, PEERS, names]).expect_err("no fronts");
            assert!(told.contains("peers.fronts"), "{told}");
        }
        let wrong = "fronts = [\"no host name\"]\n";
        let told = parse(&[VOLUME, door, PEERS, wrong]).expect_err("no host name");
        assert!(told.contains("peers.fronts"), "{told}");
    }

    #[test]
    fn a_front_may_fetch_the_table_and_hands_no_mail_over() {
        let fronts = "fronts = [\"front1.example.org\"]\n";
        let table = "[listen]\nrecipients = [\"127.0.0.1:2425\"]\n";
        assert!(parse(&[VOLUME, table, PEERS, fronts]).is_ok());
        assert!(parse(&[VOLUME, table, PEERS]).is_err(), "for none");
        for door in ["zone_lmtp", "zone_smtp", "zone_qmqp"] {
            let door = format!("[listen]\n{door} = [\"127.0.0.1:2424\"]\n");
            let told = parse(&[VOLUME, &door, PEERS, fronts]).expect_err("no names");
            assert!(told.contains("peers.names"), "{told}");
        }
    }
}
