//! What differs between two settings, key by key, and when each difference takes effect.
//!
//! Pure: two texts in, a list out. What would touch legs, volume or state is a mistake that names the verb which does it.

use std::collections::{BTreeMap, BTreeSet};

use admin::settings::{Change, Checked, Effect, Probation};
use toml::{Table, Value};

/// Every value by its key. Tables in lists are called by what names them, else by their number.
type Flat = BTreeMap<String, String>;

/// The differences from `old` to `new`, with the mistakes among them. `volume.legs` is the caller's to judge.
pub fn between(old: &Table, new: &Table) -> Checked {
    let (before, after) = (flat(old), flat(new));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut checked = Checked::default();
    let mut tried = false;
    let removed = devices(old).difference(&devices(new)).next().is_some();
    for key in keys {
        let (was, is) = (before.get(key), after.get(key));
        if was == is {
            continue;
        }
        let rule = rule(key, was, is);
        match rule {
            Err(mistake) => checked.mistakes.push(mistake),
            Ok((mut effect, probation)) => {
                // networkd makes bonds and VLANs, and does not take them away again.
                if key.starts_with("network") && removed {
                    effect = Effect::NextRestart;
                }
                tried |= probation;
                checked.changes.push(Change {
                    key: key.clone(),
                    effect,
                });
            }
        }
    }
    checked.mistakes.dedup();
    // A table that came or went is named by what is in it, where anything is.
    let keys = checked.keys();
    checked.changes.retain(|change| {
        let within = format!("{}.", change.key);
        !keys.iter().any(|key| key.starts_with(&within))
    });
    if tried {
        // What is tried is tried as a whole: with one part that needs a restart, all of it waits for that.
        let waits = |change: &Change| change.effect == Effect::NextRestart;
        if checked.changes.iter().any(waits) {
            checked.probation = Probation::NextRestart;
            for change in &mut checked.changes {
                if change.effect != Effect::NewVolume {
                    change.effect = Effect::NextRestart;
                }
            }
        } else {
            checked.probation = Probation::Now;
        }
    }
    checked
}

/// When a change of this key takes effect and whether it can lock administrators out; or why it is not made here.
fn rule(key: &str, was: Option<&String>, is: Option<&String>) -> Result<(Effect, bool), String> {
    let table = key.split('.').next().unwrap_or(key);
    Ok(match (table, key) {
        ("time", _) => (Effect::Now, false),
        ("network", _) => (Effect::Now, true),
        (_, "server.name") => (Effect::NameNow, false),
        (_, "server.state") => {
            return Err(
                "server.state: the record of legs is stored there and cannot be moved: restore the previous value"
                    .into(),
            );
        }
        (_, "volume.legs") => (Effect::NextRestart, true),
        (_, "volume.create") if is.map(String::as_str) == Some("true") => {
            return Err(
                "volume.create: this appliance already has a volume: restore the previous value, and add disks with `ringpostctl leg attach`"
                    .into(),
            );
        }
        (_, "volume.leg_size") => {
            return Err(
                "volume.leg_size: existing legs keep their size: restore the previous value, and add a larger leg with `ringpostctl leg attach`"
                    .into(),
            );
        }
        (_, "spool.leg_size") => {
            return Err(
                "spool.leg_size: existing legs keep their size: restore the previous value, and add a larger leg with `ringpostctl spool leg attach`"
                    .into(),
            );
        }
        ("login" | "volume" | "spool" | "inbound" | "dns" | "door" | "outbound", _) => {
            (Effect::NextRestart, false)
        }
        ("domain" | "account", _) if is.is_none() && was.is_some() => (Effect::NewVolume, false),
        ("domain", _) => {
            return Err(
                "[[domain]] is read only when a volume is created: use `ringpostctl domain add`"
                    .into(),
            );
        }
        ("account", _) => {
            return Err(
                "[[account]] is read only when a volume is created: use `ringpostctl account add`, `password` and `quota`"
                    .into(),
            );
        }
        // Listeners, certificate, authority, profile, limits, log: the engine may not start, or cannot be reached.
        _ => (Effect::NextRestart, true),
    })
}

fn flat(table: &Table) -> Flat {
    let mut flat = Flat::new();
    // DHCP on every card without it, and none with an empty one.
    if table.contains_key("network") {
        flat.insert("network".into(), "there".into());
    }
    for (key, value) in table {
        flatten(key, value, &mut flat);
    }
    flat
}

/// The parser bounds how deep tables are nested.
fn flatten(key: &str, value: &Value, flat: &mut Flat) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                flatten(&format!("{key}.{name}"), value, flat);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (index, item) in items.iter().enumerate() {
                let name = item
                    .as_table()
                    .and_then(named)
                    .unwrap_or_else(|| index.to_string());
                let mut key = format!("{key}.{name}");
                // Two of one name: the second is called by its number as well.
                if flat.contains_key(&key) {
                    key = format!("{key}.{index}");
                }
                flat.insert(key.clone(), "there".into());
                flatten(&key, item, flat);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        value => {
            flat.insert(key.to_owned(), value.to_string());
        }
    }
}

fn named(table: &Table) -> Option<String> {
    let name = ["name", "mac", "target", "address", "zone"]
        .into_iter()
        .find_map(|key| table.get(key).and_then(Value::as_str))?;
    Some(name.to_owned())
}

/// Bonds and VLANs, with what cannot be changed of one that is there.
fn devices(table: &Table) -> BTreeSet<String> {
    let network = table.get("network").and_then(Value::as_table);
    let mut devices = BTreeSet::new();
    for (kind, fixed) in [("bond", "mode"), ("vlan", "id")] {
        let list = network
            .and_then(|network| network.get(kind))
            .and_then(Value::as_array);
        for device in list.into_iter().flatten() {
            let name = device.as_table().and_then(named).unwrap_or_default();
            let fixed = device.get(fixed).map(Value::to_string).unwrap_or_default();
            // A VLAN that moves to another carrier is another one.
            let on = device.get("on").map(Value::to_string).unwrap_or_default();
            devices.insert(format!("{kind} {name} {fixed} {on}"));
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(old: &str, new: &str) -> Checked {
        between(&old.parse().expect("TOML"), &new.parse().expect("TOML"))
    }

    fn effects(checked: &Checked) -> Vec<(&str, Effect)> {
        let changes = checked.changes.iter();
        changes
            .map(|change| (change.key.as_str(), change.effect))
            .collect()
    }

    #[test]
    fn nothing_differs_between_two_spellings_of_one_thing() {
        let one = "[time]\nntp = [\"a\"]\n[listen]\nsmtp = []\n";
        let other = "# told\ntime = { ntp = [ \"a\" ] }\n";
        assert_eq!(changed(one, other), Checked::default());
    }

    #[test]
    fn a_time_server_is_asked_now_and_nobody_is_on_probation() {
        let checked = changed("[time]\nntp = [\"a\"]\n", "[time]\nntp = [\"b\"]\n");
        assert_eq!(effects(&checked), [("time.ntp", Effect::Now)]);
        assert_eq!(checked.probation, Probation::No);
    }

    #[test]
    fn an_address_changes_now_and_on_probation() {
        let checked = changed(
            "[[network.interface]]\nname = \"eth0\"\ndhcp = true\n",
            "[[network.interface]]\nname = \"eth0\"\naddress = [\"192.0.2.1/24\"]\n",
        );
        assert_eq!(
            effects(&checked),
            [
                ("network.interface.eth0.address", Effect::Now),
                ("network.interface.eth0.dhcp", Effect::Now)
            ]
        );
        assert_eq!(checked.probation, Probation::Now);
        let fresh = "[[network.interface]]\nname = \"eth0\"\n";
        assert_eq!(
            effects(&changed("", fresh)),
            [("network.interface.eth0.name", Effect::Now)]
        );
        let absent = changed("", "[network]\n");
        assert_eq!(absent.probation, Probation::Now, "no DHCP any more");
    }

    #[test]
    fn with_a_listener_everything_waits_for_the_restart() {
        let checked = changed(
            "[listen]\nsmtp = [\"0.0.0.0:25\"]\n",
            "[listen]\nsmtp = [\"0.0.0.0:2525\"]\n[network]\ndns = [\"192.0.2.1\"]\n[server]\nname = \"b\"\n",
        );
        assert_eq!(checked.probation, Probation::NextRestart);
        let mut changes = checked.changes.iter();
        assert!(
            changes.all(|change| change.effect == Effect::NextRestart),
            "{checked:?}"
        );
    }

    #[test]
    fn the_door_is_for_mail_and_locks_no_administrator_out() {
        let list = |weight| format!("[[door.list]]\nzone = \"bl.example\"\nweight = {weight}\n");
        let checked = changed(&list(1), &format!("[door]\nban = 0\n{}", list(2)));
        let next = Effect::NextRestart;
        assert_eq!(
            effects(&checked),
            [("door.ban", next), ("door.list.bl.example.weight", next)]
        );
        assert_eq!(checked.probation, Probation::No);
    }

    #[test]
    fn no_connections_for_administration_are_a_mistake_that_must_go_away_by_itself() {
        let checked = changed("", "[limits]\nhttp_connections = 0\n");
        assert_eq!(checked.probation, Probation::NextRestart);
    }

    #[test]
    fn a_bond_or_vlan_that_goes_away_goes_at_the_restart() {
        let vlan = |id: u16, rest: &str| {
            format!("[[network.vlan]]\nname = \"v\"\nid = {id}\non = \"eth0\"\n{rest}")
        };
        for new in [String::new(), vlan(2, "")] {
            let checked = changed(&vlan(1, ""), &new);
            assert_eq!(checked.probation, Probation::NextRestart, "{new}");
        }
        assert_eq!(
            changed(&vlan(1, ""), &vlan(1, "dhcp = true\n")).probation,
            Probation::Now
        );
        assert_eq!(changed("", &vlan(1, "")).probation, Probation::Now);
    }

    #[test]
    fn what_touches_legs_and_people_names_the_verb() {
        let cases = [
            ("[server]\nstate = \"/x\"\n", "restore the previous value"),
            ("[volume]\ncreate = true\n", "leg attach"),
            ("[volume]\nleg_size = \"1GiB\"\n", "leg attach"),
            (
                "[[account]]\naddress = \"a@b\"\nquota = \"1GiB\"\n",
                "account add",
            ),
            ("[[domain]]\nname = \"b\"\n", "domain add"),
        ];
        for (new, verb) in cases {
            let checked = changed("", new);
            assert_eq!(checked.mistakes.len(), 1, "{checked:?}");
            assert!(checked.mistakes[0].contains(verb), "{checked:?}");
        }
        let gone = changed(
            "[[domain]]\nname = \"b\"\n[volume]\ncreate = true\n",
            "[volume]\ncreate = false\n",
        );
        assert_eq!(gone.mistakes.len(), 0, "{gone:?}");
        assert_eq!(gone.probation, Probation::No);
    }

    #[test]
    fn two_tables_of_one_name_do_not_hide_each_other() {
        let two = "[[network.interface]]\nname = \"e\"\n[[network.interface]]\nname = \"e\"\nmtu = 9000\n";
        let one = "[[network.interface]]\nname = \"e\"\n";
        assert_eq!(changed(one, two).probation, Probation::Now);
    }
}
