//! Secrets out of settings that are shown, and back into those that return.

use toml::{Table, Value};

/// What stands in the place of a secret. Settings that come back with it keep the one that is there.
pub const KEPT: &str = "(kept)";
/// How every hash begins that settings may hold.
const HASH: &str = "$argon2";

/// The text without its secrets, otherwise as it is.
pub fn without(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(HASH) {
        shown.push_str(&rest[..at]);
        shown.push_str(KEPT);
        let hash = &rest[at..];
        let end = hash.find(|c: char| c == '"' || c == '\'' || c.is_whitespace());
        rest = &hash[end.unwrap_or(hash.len())..];
    }
    shown.push_str(rest);
    // A hash may be spelled with escapes: then comments and layout are given up, never the secret.
    let Ok(mut table) = shown.parse::<Table>() else {
        return "# These settings cannot be read.\n".into();
    };
    if hashes(&mut table).all(|hash| hash == KEPT) {
        return shown;
    }
    hashes(&mut table).for_each(|hash| *hash = KEPT.into());
    table.to_string()
}

/// The text with the secrets of `current` in the places of those that were not shown. `Err`: one sentence with the fix.
pub fn with(text: &str, current: &Table) -> Result<String, String> {
    if !text.contains(KEPT) {
        return Ok(text.to_owned());
    }
    let Ok(mut table) = text.parse::<Table>() else {
        return Ok(text.to_owned()); // the strict parser says why
    };
    let mut known = current.clone();
    let address = |account: &Table| {
        account
            .get("address")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let mut changed = text.to_owned();
    let mut replaced = 0;
    for account in accounts(&mut table) {
        if account.get("password_hash").and_then(Value::as_str) != Some(KEPT) {
            continue;
        }
        let name = address(account).unwrap_or_default();
        let hash = accounts(&mut known)
            .find(|known| address(known).as_deref() == Some(name.as_str()))
            .and_then(|known| known.get("password_hash").cloned());
        let Some(hash) = hash else {
            return Err(format!(
                "account {}: `{KEPT}` stands for a password that is there, and there is none: write its hash",
                name.escape_default()
            ));
        };
        account.insert("password_hash".into(), hash.clone());
        // In the text as well, so that comments and layout stay: the accounts come in their order.
        if let (Some(hash), Some(at)) = (hash.as_str(), changed.find(KEPT)) {
            changed.replace_range(at..at + KEPT.len(), hash);
            replaced += 1;
        }
    }
    // The words stood in a comment, or tables in another order: what the text means decides.
    match changed.parse::<Table>() {
        Ok(same) if same == table && replaced > 0 => Ok(changed),
        _ => Ok(table.to_string()),
    }
}

fn accounts(table: &mut Table) -> impl Iterator<Item = &mut Table> {
    let accounts = table.get_mut("account").and_then(Value::as_array_mut);
    accounts
        .into_iter()
        .flatten()
        .filter_map(Value::as_table_mut)
}

fn hashes(table: &mut Table) -> impl Iterator<Item = &mut String> {
    accounts(table).filter_map(|account| match account.get_mut("password_hash") {
        Some(Value::String(hash)) => Some(hash),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# who\n[[account]]\naddress = \"a@b\"\npassword_hash = \"$argon2id$v=19$x$y\" # his\n[[account]]\naddress = \"c@b\"\npassword_hash = '$argon2id$v=19$z$w'\n";

    #[test]
    fn what_is_shown_and_comes_back_is_the_same() {
        let shown = without(TEXT);
        assert!(
            !shown.contains("argon2") && shown.contains("# his"),
            "{shown}"
        );
        let current: Table = TEXT.parse().expect("TOML");
        assert_eq!(with(&shown, &current).as_deref(), Ok(TEXT));
    }

    #[test]
    fn a_hash_is_not_shown_however_it_is_spelled() {
        let escaped =
            TEXT.replace("$argon2id$v=19$x$y", "\\u0024argon2id$v=19$x$y") + "# was $argon2id$old";
        let shown = without(&escaped);
        assert!(!shown.contains("19$"), "{shown}");
        assert!(!without("[[account]\npassword_hash = \"\\u0024a").contains("u0024"));
    }

    #[test]
    fn another_order_and_a_comment_with_the_same_words_keep_the_right_hashes() {
        let current: Table = TEXT.parse().expect("TOML");
        let text = "# (kept)\n[[account]]\naddress = \"c@b\"\npassword_hash = \"(kept)\"\n[[account]]\naddress = \"a@b\"\npassword_hash = \"(kept)\"\n";
        let back: Table = with(text, &current).expect("known").parse().expect("TOML");
        let hashes: Vec<&str> = back["account"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|account| account["password_hash"].as_str())
            .collect();
        assert_eq!(hashes, ["$argon2id$v=19$z$w", "$argon2id$v=19$x$y"]);
    }

    #[test]
    fn nobodys_password_cannot_be_kept() {
        let why = with(&without(TEXT), &Table::new()).expect_err("nothing there");
        assert!(why.contains("account a@b"), "{why}");
    }
}
