//! `[door]`: what strangers meet before their mail is taken.

use base::Network;
use serde::Deserialize;

use crate::limits::*;
use crate::units::Span;

/// What is done about a peer that looks wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    Off,
    Mark,
    Refuse,
}

/// Numbers and rates of 0 set no limit. Networks are written `192.0.2.0/24`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Door {
    /// Peers that no question is asked about.
    pub exempt: Vec<String>,
    /// Balancers: connections from them begin with a header of the PROXY protocol, on the ports of SMTP, submission, IMAP and POP3.
    pub proxy: Vec<String>,
    /// Peers that may use XCLIENT.
    pub xclient: Vec<String>,
    pub address_connections: u32,
    /// A minute.
    pub address_rate: u32,
    pub network_connections: u32,
    /// A minute.
    pub network_rate: u32,
    /// Messages of one sender's domain in an hour.
    pub sender_rate: u32,
    /// Points of failures that ban an address.
    pub ban: u32,
    /// Points from which replies are delayed.
    pub tarpit: u32,
    pub hello: Response,
    pub early: Response,
    /// How long a peer's silence is listened to before the greeting.
    pub greeting_delay: Span,
    /// How long a peer that is not known has to wait; not set: greylisting is off.
    pub greylist: Option<Span>,
    pub reverse_name: bool,
    pub mark_at: i32,
    pub refuse_at: i32,
    pub lookup_deadline: Span,
    #[serde(rename = "list")]
    pub lists: Vec<List>,
}

/// One DNSBL or DNSWL.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    pub zone: String,
    /// Negative: it lists good peers.
    #[serde(default = "one")]
    pub weight: i32,
    /// Last octets of 127.0.0.x that count: `2-11,15`; not set: all.
    pub answers: Option<String>,
}

fn one() -> i32 {
    1
}

impl Default for Door {
    fn default() -> Door {
        Door {
            exempt: vec!["127.0.0.0/8".into(), "::1".into()],
            proxy: Vec::new(),
            xclient: Vec::new(),
            address_connections: DOOR_ADDRESS_CONNECTIONS_DEFAULT,
            address_rate: 0,
            network_connections: DOOR_NETWORK_CONNECTIONS_DEFAULT,
            network_rate: 0,
            sender_rate: 0,
            ban: DOOR_BAN_DEFAULT,
            tarpit: DOOR_TARPIT_DEFAULT,
            hello: Response::Mark,
            early: Response::Mark,
            greeting_delay: Span(std::time::Duration::ZERO),
            greylist: None,
            reverse_name: false,
            mark_at: 1,
            refuse_at: 0,
            lookup_deadline: Span(DOOR_LOOKUP_DEADLINE_DEFAULT),
            lists: Vec::new(),
        }
    }
}

impl Door {
    /// Whether anything is looked up in the domain name system.
    pub fn looks_up(&self) -> bool {
        !self.lists.is_empty() || self.reverse_name
    }

    /// One sentence without the file's name.
    pub fn check(&self) -> Result<(), String> {
        for (key, networks) in [
            ("exempt", &self.exempt),
            ("proxy", &self.proxy),
            ("xclient", &self.xclient),
        ] {
            if networks.len() > DOOR_NETWORKS_MAX {
                return Err(format!(
                    "door.{key}: write at most {DOOR_NETWORKS_MAX} networks"
                ));
            }
            for network in networks {
                network
                    .parse::<Network>()
                    .map_err(|fix| format!("door.{key}: \"{network}\" is not a network: {fix}"))?;
            }
        }
        let spans = [
            (
                "greeting_delay",
                Some(self.greeting_delay),
                DOOR_GREETING_DELAY_MAX,
            ),
            ("greylist", self.greylist, DOOR_GREYLIST_MAX),
            (
                "lookup_deadline",
                Some(self.lookup_deadline),
                DOOR_LOOKUP_DEADLINE_MAX,
            ),
        ];
        for (key, span, longest) in spans {
            if span.is_some_and(|span| span.0 > longest) {
                return Err(format!("door.{key}: write at most {} s", longest.as_secs()));
            }
        }
        if self.lists.len() > DOOR_LISTS_MAX {
            return Err(format!(
                "[[door.list]]: write at most {DOOR_LISTS_MAX} lists"
            ));
        }
        if self.mark_at < 0 || self.refuse_at < 0 {
            return Err(
                "door.mark_at, door.refuse_at: write a score above 0, or 0 for never".into(),
            );
        }
        for list in &self.lists {
            list.check()?;
        }
        Ok(())
    }
}

impl List {
    fn check(&self) -> Result<(), String> {
        let zone = &self.zone;
        let label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=63).contains(&label.len()) && label.bytes().all(plain)
        };
        // The longest question puts 64 bytes of nibbles in front (RFC 5782 §2.4).
        if zone.len() > 180 || !zone.split('.').all(label) {
            return Err(format!(
                "door.list.zone: \"{zone}\" is not a zone: write it as bl.example.org"
            ));
        }
        if !(-100..=100).contains(&self.weight) || self.weight == 0 {
            return Err(format!(
                "door.list.weight of {zone}: write -100 to 100, and not 0"
            ));
        }
        let Some(answers) = &self.answers else {
            return Ok(());
        };
        let part = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u8>().ok();
            matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
        };
        match answers.split(',').all(part) {
            true => Ok(()),
            false => Err(format!(
                "door.list.answers of {zone}: write numbers and ranges of 0 to 255, as 2-11,15"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Settings;

    fn parse(door: &str) -> Result<Settings, String> {
        let text = format!("[volume]\nlegs = [\"/a\", \"/b\"]\n{door}");
        Settings::parse("s", &text).map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn a_door_may_be_left_out_and_written_in_full() {
        let door = parse("").expect("the default").door;
        assert!(!door.looks_up() && door.exempt == ["127.0.0.0/8", "::1"]);
        let door = parse(
            "[door]\nexempt = [\"192.0.2.0/24\"]\nproxy = [\"2001:db8::/32\"]\nban = 0\nhello = \"refuse\"\n\
             greylist = \"5min\"\nrefuse_at = 5\n[[door.list]]\nzone = \"bl.example.org\"\nweight = 3\n\
             answers = \"2-11, 15\"\n[[door.list]]\nzone = \"wl.example.org\"\nweight = -3\n",
        );
        let door = door.expect("well-formed").door;
        assert_eq!(
            (door.lists.len(), door.lists[1].weight, door.ban),
            (2, -3, 0)
        );
        assert!(door.looks_up());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_fix() {
        for (written, fix) in [
            (
                "exempt = [\"192.0.2.1/24\"]",
                "write an address, or a network",
            ),
            ("proxy = [\"balancer\"]", "write an address, or a network"),
            ("greeting_delay = \"1h\"", "write at most"),
            ("refuse_at = -1", "above 0"),
            ("hello = \"maybe\"", "`refuse`"),
            ("[[door.list]]\nzone = \"bl..example\"", "write it as"),
            ("[[door.list]]\nzone = \"bl.example.\"", "write it as"),
            (
                "[[door.list]]\nzone = \"bl.example\"\nweight = 0",
                "and not 0",
            ),
            (
                "[[door.list]]\nzone = \"bl.example\"\nanswers = \"9-2\"",
                "as 2-11,15",
            ),
        ] {
            let refused = parse(&format!("[door]\n{written}\n")).expect_err(written);
            assert!(refused.contains(fix), "{written}: {refused}");
        }
    }
}
