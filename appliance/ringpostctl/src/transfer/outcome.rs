//! What a transfer came to: for programs, and as a table of what differs for people.

use admin::table::table;
use serde::Serialize;

/// Of all accounts.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// Everything that was wanted is there.
    pub complete: bool,
    pub accounts: Vec<AccountOutcome>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct AccountOutcome {
    pub account: String,
    pub folders: Vec<FolderOutcome>,
    pub omitted: Vec<Omitted>,
    /// Why the rest was not tried; `None`: it was.
    pub ended: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct FolderOutcome {
    /// Its name at the source, and at the destination.
    pub folder: String,
    pub to: String,
    /// At the source.
    pub messages: u64,
    /// Stored now.
    pub brought: u64,
    /// There already, with the same content.
    pub found: u64,
    pub flags_changed: u64,
    /// Changed at the source, and not at the destination, which cannot.
    pub flags_kept: u64,
    pub failed: u64,
    pub failures: Vec<Failed>,
    /// Neither stored nor failed: the run ended before, or they were removed at the source meanwhile.
    pub missing: u64,
    /// Why the folder was given up.
    pub refused: Option<String>,
    /// What else is to be known.
    pub note: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub message: String,
    pub why: String,
}

/// A folder that is not moved.
#[derive(Debug, Serialize)]
pub(crate) struct Omitted {
    pub folder: String,
    pub why: String,
}

impl AccountOutcome {
    pub(crate) fn is_complete(&self) -> bool {
        let is_whole = |folder: &FolderOutcome| {
            folder.failed == 0 && folder.missing == 0 && folder.refused.is_none()
        };
        self.ended.is_none() && self.folders.iter().all(is_whole)
    }

    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .folders
            .iter()
            .map(|folder| {
                let differs = match (&folder.refused, folder.failed + folder.missing) {
                    (Some(_), _) => "not done".to_owned(),
                    (None, 0) => "-".to_owned(),
                    (None, count) => format!("{count} not there"),
                };
                let to = match folder.to == folder.folder {
                    true => "the same".to_owned(),
                    false => folder.to.clone(),
                };
                let there = folder
                    .messages
                    .saturating_sub(folder.failed + folder.missing);
                let numbers = [folder.messages, folder.brought, there, folder.flags_changed];
                let mut row = vec![folder.folder.clone(), to];
                row.extend(numbers.map(|number| number.to_string()));
                row.push(differs);
                row
            })
            .collect();
        let heads = [
            "folder",
            "to",
            "source",
            "brought now",
            "there",
            "flags changed",
            "differs",
        ];
        let mut text = format!("{}\n{}\n", self.account, table(&heads, &rows).trim_end());
        for folder in &self.folders {
            if let Some(why) = &folder.refused {
                text.push_str(&format!("{}: {why}\n", folder.folder));
            }
            if let Some(note) = &folder.note {
                text.push_str(&format!("{}: {note}\n", folder.folder));
            }
            for failed in &folder.failures {
                let (name, message, why) = (&folder.folder, &failed.message, &failed.why);
                text.push_str(&format!("{name}: {message} is not there: {why}\n"));
            }
            let unnamed = folder.failed.saturating_sub(folder.failures.len() as u64);
            if unnamed > 0 {
                text.push_str(&format!("{}: {unnamed} more failed\n", folder.folder));
            }
            if folder.missing > 0 {
                text.push_str(&format!(
                    "{}: {} were not brought or are not at the source any more: run it again\n",
                    folder.folder, folder.missing
                ));
            }
            if folder.flags_kept > 0 {
                text.push_str(&format!(
                    "{}: {} have other flags at the source now, which cannot be changed there\n",
                    folder.folder, folder.flags_kept
                ));
            }
        }
        for omitted in &self.omitted {
            text.push_str(&format!("{} is omitted: {}\n", omitted.folder, omitted.why));
        }
        if let Some(why) = &self.ended {
            text.push_str(&format!(
                "ended early: {why}; run the same command again to go on\n"
            ));
        }
        text
    }
}

impl Outcome {
    pub(crate) fn text(&self) -> String {
        let accounts: Vec<String> = self.accounts.iter().map(AccountOutcome::text).collect();
        accounts.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named_and_counted() {
        let failed = Failed {
            message: "UID 7".into(),
            why: "NO [OVERQUOTA] Quota exceeded".into(),
        };
        let folder = FolderOutcome {
            folder: "Work".into(),
            to: "Work".into(),
            messages: 9,
            brought: 5,
            failed: 2,
            failures: vec![failed],
            missing: 1,
            ..FolderOutcome::default()
        };
        let account = AccountOutcome {
            account: "ann@example.org".into(),
            folders: vec![folder],
            ..AccountOutcome::default()
        };
        assert!(!account.is_complete());
        let text = account.text();
        for part in [
            "3 not there",
            "Work: UID 7 is not there: NO [OVERQUOTA] Quota exceeded",
            "Work: 1 more failed",
            "Work: 1 were not brought",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
