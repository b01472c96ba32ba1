//! What LIST shows of other accounts' folders: their names behind the namespace and the owner's address, with the names above them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use imap::list::SEPARATOR;
use mail::Rights;
use mailbox::{Foreign, MailboxId, MailboxInfo};

use super::super::place::{OTHERS, SHARED, root_of, shown};
use super::tree::Entry;

/// Whether a name in a namespace of others can match one of the patterns: if none can, nothing is looked up.
pub(super) fn may_match(patterns: &[String]) -> bool {
    let may = |pattern: &String| {
        let fixed = pattern.split(['*', '%']).next().unwrap_or_default();
        let meets = |root: &str| root.starts_with(fixed) || fixed.starts_with(root);
        meets(OTHERS) || meets(SHARED)
    };
    patterns.iter().any(may)
}

/// Adds the folders of others to `entries`, and gives the rights on them. A namespace that has a name among `entries` already is hidden by it.
pub(super) fn add(
    entries: &mut Vec<Entry>,
    foreign: Vec<Foreign>,
    subscribed: &BTreeSet<String>,
) -> HashMap<String, Rights> {
    let own = entries.iter().filter_map(|entry| root_of(&entry.info.name));
    let hidden: BTreeSet<&str> = own.map(|(root, _)| root).collect();
    let mut found: BTreeMap<String, (MailboxId, Rights)> = BTreeMap::new();
    for Foreign {
        owner,
        is_shared,
        folders,
    } in foreign
    {
        let root = if is_shared { SHARED } else { OTHERS };
        // An address with a separator would be two levels, and is not reached by a name.
        if hidden.contains(root) || owner.to_path().contains(SEPARATOR) {
            continue;
        }
        for (folder, id, rights) in folders {
            found.insert(shown(is_shared, &owner, &folder), (id, rights));
        }
    }
    let mut above = BTreeSet::new();
    for name in found.keys() {
        let parents = name.match_indices(SEPARATOR).map(|(at, _)| &name[..at]);
        above.extend(
            parents
                .filter(|parent| !found.contains_key(*parent))
                .map(str::to_owned),
        );
    }
    let info = |name: &str, id, selectable| MailboxInfo {
        id,
        name: name.to_owned(),
        subscribed: subscribed.contains(name),
        // RFC 6154 §2: a special use is one for the account whose folder it is.
        special_use: None,
        selectable,
    };
    let above = above.iter().map(|name| info(name, MailboxId(0), false));
    let folders = found
        .iter()
        .map(|(name, (id, rights))| info(name, *id, rights.contains(Rights::READ)));
    let all = above.chain(folders);
    entries.extend(all.map(|info| Entry { info, exists: true }));
    let rights = found.into_iter();
    rights.map(|(name, (_, rights))| (name, rights)).collect()
}

#[cfg(test)]
mod tests {
    use mail::Address;

    use super::*;

    fn foreign(local: &str, is_shared: bool, folders: &[(&str, &str)]) -> Foreign {
        let folders = folders.iter().zip(1..).map(|((name, rights), id)| {
            let rights = Rights::parse(rights).unwrap();
            ((*name).to_owned(), MailboxId(id), rights)
        });
        Foreign {
            owner: Address::from_parts(local, "example.org").unwrap(),
            is_shared,
            folders: folders.collect(),
        }
    }

    fn names(entries: &[Entry]) -> Vec<(&str, bool, bool)> {
        let mut names: Vec<_> = entries
            .iter()
            .map(|entry| {
                let info = &entry.info;
                (info.name.as_str(), info.selectable, info.subscribed)
            })
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn folders_of_others_stand_below_their_owner() {
        let mut entries = Vec::new();
        let all = vec![
            foreign("bob", false, &[("INBOX", "l"), ("a/b", "lr")]),
            foreign("info", true, &[("INBOX", "lr")]),
            foreign("o/dd", false, &[("INBOX", "lr")]),
        ];
        let subscribed = ["Shared/info@example.org/INBOX".to_owned()].into();
        let rights = add(&mut entries, all, &subscribed);
        let expected = [
            ("Other Users", false, false),
            ("Other Users/bob@example.org", false, false),
            ("Other Users/bob@example.org/INBOX", false, false),
            ("Other Users/bob@example.org/a", false, false),
            ("Other Users/bob@example.org/a/b", true, false),
            ("Shared", false, false),
            ("Shared/info@example.org", false, false),
            ("Shared/info@example.org/INBOX", true, true),
        ];
        assert_eq!(names(&entries), expected);
        assert_eq!(rights.len(), 3);
    }

    #[test]
    fn a_folder_of_ones_own_hides_the_namespace() {
        let own = MailboxInfo {
            id: MailboxId(9),
            name: "Shared/mine".into(),
            subscribed: false,
            special_use: None,
            selectable: true,
        };
        let mut entries = vec![Entry {
            info: own,
            exists: true,
        }];
        let all = vec![foreign("info", true, &[("INBOX", "lr")])];
        assert!(add(&mut entries, all, &BTreeSet::new()).is_empty());
        assert_eq!(entries.len(), 1);
    }

    #[test]
    fn patterns_about_ones_own_folders_look_nothing_up() {
        let may = |pattern: &str| may_match(&[pattern.to_owned()]);
        for pattern in [
            "*",
            "%",
            "S*",
            "Other Users/%",
            "Shared/a@b.c/%",
            "Shared*",
            "Sha%/x",
        ] {
            assert!(may(pattern), "{pattern}");
        }
        for pattern in ["INBOX*", "Archive/%", "Sent", "s%", "Shadow*"] {
            assert!(!may(pattern), "{pattern}");
        }
    }
}
