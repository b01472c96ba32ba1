//! Aliases, groups and routes: what is asked of the daemon, and what it answers.

use serde::{Deserialize, Serialize};

/// What is asked; inside of `Request::Addresses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Adds targets to an alias, which is made when it is not there. `@DOMAIN` is the domain's catch-all.
    AliasAdd {
        /// The alias's address.
        name: String,
        /// Addresses to add. One that is there already is left as it is.
        targets: Vec<String>,
    },
    /// Takes targets out; without any, and with the last one, the alias goes.
    AliasRemove {
        name: String,
        /// Addresses to take out; empty: all of them.
        targets: Vec<String>,
    },
    /// Every alias, in the order of names.
    AliasList,
    /// One alias, and where its mail ends.
    AliasShow {
        name: String,
    },
    /// The account may send under the address of this alias or group, or (`granted` false) not any more.
    Grant {
        /// An address without a mailbox of its own.
        address: String,
        /// The address of an account.
        account: String,
        /// `false` takes the grant back.
        granted: bool,
    },
    /// The account may send so many times as much as others.
    Allowance {
        /// The address of an account.
        account: String,
        /// 1 is what every account has.
        times: u32,
    },
    /// Makes a group without members.
    GroupMake {
        /// The group's address.
        name: String,
        /// Where reports about its mail go.
        owner: String,
        posters: Posters,
        /// The words of List-Id; may be empty.
        title: String,
    },
    /// Removes a group, its members and its grants.
    GroupRemove {
        name: String,
    },
    /// Adds members, here or elsewhere.
    GroupAdd {
        name: String,
        members: Vec<String>,
    },
    /// Takes members out.
    GroupDrop {
        name: String,
        members: Vec<String>,
    },
    /// Every group, in the order of names.
    GroupList,
    /// One group with its members.
    GroupShow {
        name: String,
    },
    /// Changes what is given, and leaves the rest.
    GroupSet {
        name: String,
        owner: Option<String>,
        /// Who may post from now on.
        posters: Option<Posters>,
        /// The new words of List-Id.
        title: Option<String>,
    },
    /// `host` without: as if there were no wider route.
    RouteSet {
        /// `*` for all mail, a domain, or an address.
        scope: String,
        /// The server, as `HOST` or `HOST:PORT`.
        host: Option<String>,
        /// Mail waits rather than travels without TLS.
        needs_tls: bool,
    },
    /// Removes a route. Mail for its scope goes by the next wider one.
    RouteRemove {
        /// As in `RouteSet`.
        scope: String,
    },
    RouteList,
}

/// Who may post to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posters {
    /// Everyone who can send mail to the group.
    Anyone,
    Members,
    /// Senders in the group's own domain.
    Domain,
}

impl Posters {
    /// The word in settings and replies.
    pub fn word(self) -> &'static str {
        match self {
            Posters::Anyone => "anyone",
            Posters::Members => "members",
            Posters::Domain => "domain",
        }
    }
}

impl std::str::FromStr for Posters {
    type Err = String;

    fn from_str(text: &str) -> Result<Posters, String> {
        let all = [Posters::Anyone, Posters::Members, Posters::Domain];
        let found = all.into_iter().find(|posters| posters.word() == text);
        found.ok_or_else(|| format!("`{text}` is not one of anyone, members and domain"))
    }
}

/// A line of `alias list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasLine {
    /// The alias's address.
    pub name: String,
    /// What it leads to, in the order in which it was given.
    pub targets: Vec<String>,
}

/// An alias, and what it leads to in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasDetail {
    pub alias: AliasLine,
    /// Accounts of this server.
    pub here: Vec<String>,
    /// Addresses of other servers.
    pub elsewhere: Vec<String>,
    /// Why mail for it is refused, when it is.
    pub refused: Option<String>,
    /// Accounts that may send under its address.
    pub granted: Vec<String>,
}

/// A line of `group list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLine {
    /// The group's address.
    pub name: String,
    /// The words of List-Id.
    pub title: String,
    /// Where reports about its mail go.
    pub owner: String,
    pub posters: Posters,
    /// How many members the group has.
    pub members: usize,
}

/// A group with everything about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDetail {
    /// What `group list` shows of it.
    pub group: GroupLine,
    pub members: Vec<String>,
    /// Accounts that may send under its address.
    pub granted: Vec<String>,
}

/// A line of `route list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLine {
    /// What the route is for, as in `Ask::RouteSet`.
    pub scope: String,
    /// `HOST:PORT`; `None`: as if there were no wider route.
    pub host: Option<String>,
    /// Mail waits rather than travels without TLS.
    pub needs_tls: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    #[test]
    fn a_request_comes_back_as_it_was_sent() {
        let asks = [
            Ask::AliasAdd {
                name: "a@b".into(),
                targets: vec!["c@d".into()],
            },
            Ask::AliasList,
            Ask::GroupSet {
                name: "a@b".into(),
                owner: None,
                posters: Some(Posters::Domain),
                title: None,
            },
            Ask::RouteSet {
                scope: "*".into(),
                host: None,
                needs_tls: false,
            },
        ];
        for ask in asks {
            let request = Request::Addresses { ask };
            let sent = serde_json::to_string(&request).expect("it can be written");
            assert_eq!(
                serde_json::from_str::<Request>(&sent).expect(&sent),
                request
            );
        }
    }
}
