//! Links, addresses and routes for people.

use hardware::network::{Link, Network};
use plan::Size;

use crate::table::{dash, table};

pub(super) fn show(network: &Network) -> String {
    let rows: Vec<Vec<String>> = network.links.iter().map(link_row).collect();
    let mut text = table(
        &[
            "LINK", "KIND", "STATE", "SPEED", "MTU", "RECEIVED", "SENT", "ERRORS", "MAC", "DRIVER",
        ],
        &rows,
    );
    text.push('\n');
    for link in &network.links {
        for address in &link.addresses {
            text.push_str(&format!("{}  {address}\n", link.name));
        }
        // Of a bond the members matter and not what it stands on: a member without a link is why the other one carries everything.
        let Some(bond) = &link.bond else {
            if !link.on.is_empty() {
                text.push_str(&format!("{}  on {}\n", link.name, link.on.join(" ")));
            }
            continue;
        };
        for member in &bond.members {
            let state = match (member.up, bond.active.as_ref() == Some(&member.name)) {
                (false, _) => "no link",
                (true, true) => "up, active",
                (true, false) => "up",
            };
            text.push_str(&format!(
                "{}  {}: {} {state}, lost its link {} times\n",
                link.name, bond.mode, member.name, member.failures
            ));
        }
    }
    text.push('\n');
    let rows: Vec<Vec<String>> = network
        .routes
        .iter()
        .map(|route| {
            vec![
                route.to.clone(),
                route.by.clone().unwrap_or_else(|| "-".into()),
                route.link.clone(),
                route.metric.to_string(),
            ]
        })
        .collect();
    text.push_str(&table(&["TO", "BY", "LINK", "METRIC"], &rows));
    text.push_str(&format!(
        "\nname servers: {}\ntime servers: {}\n",
        dash(&network.name_servers.join(" ")),
        dash(&network.time_servers.join(" "))
    ));
    text
}

fn link_row(link: &Link) -> Vec<String> {
    let speed = match link.speed_mbit {
        None => "-".into(),
        Some(speed) if speed % 1_000 == 0 => format!("{} Gbit/s", speed / 1_000),
        Some(speed) => format!("{speed} Mbit/s"),
    };
    vec![
        link.name.clone(),
        link.kind.clone(),
        link.state.clone(),
        speed,
        link.mtu.to_string(),
        Size(link.received_bytes).to_string(),
        Size(link.sent_bytes).to_string(),
        link.errors.to_string(),
        dash(&link.mac),
        dash(&link.driver),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_known_is_said_as_such() {
        let text = show(&Network::default());
        assert!(text.contains("name servers: -"), "{text}");
    }
}
