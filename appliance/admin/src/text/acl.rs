//! Access lists, for people.

use serde_json::Value;

use crate::acl::{Ask, Changed, Lists};
use crate::table::table;
use crate::text::typed;

/// The text for the answer to `ask`.
pub fn show(ask: &Ask, value: &Value) -> Result<String, String> {
    Ok(match ask {
        Ask::List { .. } => lists(&typed(value)?),
        Ask::Set { .. } | Ask::Remove { .. } => changed(&typed(value)?),
        Ask::Share { .. } => "done".to_owned(),
    })
}

fn lists(lists: &Lists) -> String {
    let mut rows = Vec::new();
    for folder in &lists.folders {
        for entry in &folder.entries {
            rows.push(vec![
                folder.folder.clone(),
                entry.identifier.clone(),
                entry.rights.clone(),
            ]);
        }
    }
    let place = match lists.shared {
        true => format!(
            "{} stands in the namespace of shared accounts.",
            lists.account
        ),
        false => format!("{} stands among other users.", lists.account),
    };
    match rows.is_empty() {
        true => format!("{place} No folder has an access list."),
        false => format!("{place}\n{}", table(&["FOLDER", "FOR", "RIGHTS"], &rows)),
    }
}

fn changed(changed: &Changed) -> String {
    let shown = |rights: &str| match rights {
        "" => "none".to_owned(),
        rights => rights.to_owned(),
    };
    format!(
        "{} on {} of {}: {} before, {} now",
        changed.identifier,
        changed.folder,
        changed.account,
        shown(&changed.before),
        shown(&changed.after)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{Entry, Folder};

    #[test]
    fn lists_are_a_table_and_changes_a_line() {
        let mut all = Lists {
            account: "ann@example.org".into(),
            shared: false,
            folders: Vec::new(),
        };
        assert!(lists(&all).ends_with("No folder has an access list."));
        let entry = Entry {
            identifier: "anyone".into(),
            rights: "lr".into(),
        };
        all.folders.push(Folder {
            folder: "Plans".into(),
            entries: vec![entry],
        });
        let text = lists(&all);
        let last = text.lines().last().expect("a row");
        let words: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(words, ["Plans", "anyone", "lr"]);
        let line = changed(&Changed {
            account: "ann@example.org".into(),
            folder: "Plans".into(),
            identifier: "anyone".into(),
            before: String::new(),
            after: "lr".into(),
        });
        assert_eq!(
            line,
            "anyone on Plans of ann@example.org: none before, lr now"
        );
    }
}
