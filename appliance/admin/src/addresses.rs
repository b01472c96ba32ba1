//! Aliases, groups and routes: what is asked of the daemon, and what it answers.

use serde::{Deserialize, Serialize};

/// What is asked; inside of `Request::Addresses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Adds targets to an alias, which is made when it is not there. `@DOMAIN` is the domain's catch-all.
    AliasAdd {
        name: String,
        targets: Vec<String>,
    },
    /// Takes targets out; without any, and with the last one, the alias goes.
    AliasRemove {
        name: String,
        targets: Vec<String>,
    },
    AliasList,
    AliasShow {
        name: String,
    },
    /// The account may send under the address of this alias or group, or (`granted` false) not any more.
    Grant {
        address: String,
        account: String,
        granted: bool,
    },
    /// The account may send so many times as much as others.
    Allowance {
        account: String,
        times: u32,
    },
    GroupMake {
        name: String,
        owner: String,
        posters: Posters,
        title: String,
    },
    GroupRemove {
        name: String,
    },
    GroupAdd {
        name: String,
        members: Vec<String>,
    },
    GroupDrop {
        name: String,
        members: Vec<String>,
    },
    GroupList,
    GroupShow {
        name: String,
    },
    GroupSet {
        name: String,
        owner: Option<String>,
        posters: Option<Posters>,
        title: Option<String>,
    },
    /// `host` without: as if there were no wider route.
    RouteSet {
        scope: String,
        host: Option<String>,
        needs_tls: bool,
    },
    RouteRemove {
        scope: String,
    },
    RouteList,
}

/// Who may post to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posters {
    Anyone,
    Members,
    Domain,
}

impl Posters {
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasLine {
    pub name: String,
    pub targets: Vec<String>,
}

/// An alias, and what it leads to in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasDetail {
    pub alias: AliasLine,
    /// Accounts of this server.
    pub here: Vec<String>,
    pub elsewhere: Vec<String>,
    /// Why mail for it is refused, when it is.
    pub refused: Option<String>,
    /// Accounts that may send under its address.
    pub granted: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLine {
    pub name: String,
    pub title: String,
    pub owner: String,
    pub posters: Posters,
    pub members: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDetail {
    pub group: GroupLine,
    pub members: Vec<String>,
    pub granted: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLine {
    pub scope: String,
    /// `HOST:PORT`; `None`: as if there were no wider route.
    pub host: Option<String>,
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
