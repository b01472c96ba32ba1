//! The settings of the door, as the door wants them.

use std::net::IpAddr;
use std::sync::Arc;

use base::Network;
use client::login::OnFailure;
use door::{Answers, Door, Greylisting, List, Offence, Policy, Rates, Response};
use plan::Misfit;
use plan::door as settings;
use runtime::SessionHost;

/// What all cores share.
pub fn open(settings: &settings::Door) -> Result<Door, Misfit> {
    Ok(Door::new(policy(settings)?))
}

/// The settings were checked: a misfit would be a fault of that check.
fn policy(settings: &settings::Door) -> Result<Policy, Misfit> {
    let lists = settings.lists.iter().map(list);
    Ok(Policy {
        exempt: exempt(&settings.exempt)?,
        xclient: networks(&settings.xclient)?,
        rates: Rates {
            address_open: settings.address_connections,
            address_minute: settings.address_rate,
            network_open: settings.network_connections,
            network_minute: settings.network_rate,
            sender_hour: settings.sender_rate,
        },
        ban_points: settings.ban,
        tarpit_points: settings.tarpit,
        hello: response(settings.hello),
        early: response(settings.early),
        greeting_delay: settings.greeting_delay.0,
        greylisting: settings
            .greylist
            .map(|delay| Greylisting { delay: delay.0 }),
        lists: lists.collect::<Result<_, _>>()?,
        mark_at: settings.mark_at,
        refuse_at: settings.refuse_at,
        reverse_name: settings.reverse_name,
        lookup_deadline: settings.lookup_deadline.0,
    })
}

/// What failed logins of IMAP, POP3 and submission come to.
pub fn on_failure(door: &Door) -> Arc<OnFailure> {
    let door = door.clone();
    Arc::new(move |peer: IpAddr| {
        let now = SessionHost::of_core().now();
        // The same table as for what peers do in SMTP: who is banned there cannot try passwords here.
        if let Some(span) = door.note(peer, Offence::Login, now) {
            let minutes = span.as_secs() / 60;
            tracing::warn!(%peer, minutes, "banned after failed logins");
        }
    })
}

/// The machine itself always is: a list of the operator's own networks does not take it out.
fn exempt(written: &[String]) -> Result<Vec<Network>, Misfit> {
    let written = networks(written)?;
    let mut exempt = door::policy::loopback();
    let others = written
        .into_iter()
        .filter(|network| !exempt.contains(network));
    let others: Vec<Network> = others.collect();
    exempt.extend(others);
    Ok(exempt)
}

pub fn networks(written: &[String]) -> Result<Vec<Network>, Misfit> {
    let network = |text: &String| {
        text.parse()
            .map_err(|fix| Misfit::new(format!("[door]: \"{text}\" is not a network: {fix}")))
    };
    written.iter().map(network).collect()
}

fn list(list: &settings::List) -> Result<List, Misfit> {
    let answers = match &list.answers {
        Some(text) => text
            .parse()
            .map_err(|fix| Misfit::new(format!("door.list.answers of {}: {fix}", list.zone)))?,
        None => Answers::ANY,
    };
    Ok(List {
        // Its answers are cached by name.
        zone: list.zone.to_ascii_lowercase(),
        weight: list.weight,
        answers,
    })
}

fn response(response: settings::Response) -> Response {
    match response {
        settings::Response::Off => Response::Off,
        settings::Response::Mark => Response::Mark,
        settings::Response::Refuse => Response::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_settings_are_the_door_s_default_but_for_connections() {
        let settings = settings::Door::default();
        let policy = policy(&settings).expect("checked");
        let rates = Rates {
            address_open: settings.address_connections,
            network_open: settings.network_connections,
            ..Rates::NONE
        };
        let expected = Policy {
            rates,
            ..Policy::default()
        };
        assert_eq!(policy, expected);
    }

    #[test]
    fn the_machine_itself_is_exempt_whatever_the_settings_list() {
        for (written, networks) in [
            (&[][..], 2),
            (&["192.0.2.0/24"], 3),
            (&["::1", "192.0.2.0/24", "127.0.0.0/8"], 3),
        ] {
            let settings = settings::Door {
                exempt: written
                    .iter()
                    .map(|network| (*network).to_owned())
                    .collect(),
                ..settings::Door::default()
            };
            let policy = policy(&settings).expect("checked");
            assert_eq!(policy.exempt.len(), networks, "{written:?}");
            let door = Door::new(policy);
            for peer in ["127.0.0.1", "::1"] {
                assert!(
                    door.is_exempt(peer.parse().expect("an address")),
                    "{written:?}"
                );
            }
        }
    }

    #[test]
    fn whatever_the_settings_may_name_the_door_has_room_for() {
        use door::limits::{LISTS_MAX, NETWORKS_MAX};
        use plan::limits::{DOOR_BYTES, DOOR_LISTS_MAX, DOOR_NETWORKS_MAX, RESOLVER_BYTES};
        assert_eq!(
            (DOOR_LISTS_MAX, DOOR_NETWORKS_MAX),
            (LISTS_MAX, NETWORKS_MAX)
        );
        assert_eq!(DOOR_BYTES, door::limits::BYTES_MAX as u64);
        assert!(RESOLVER_BYTES >= dns::limits::RESOLVER_BYTES_MAX as u64);
    }
}
