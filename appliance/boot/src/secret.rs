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
    let unreadable = || "# These settings cannot be read.\n".to_owned();
    let Ok(mut table) = shown.parse::<Table>() else {
        return unreadable();
    };
    for target in targets(&mut table) {
        if let Some(Value::String(secret)) = target.get("secret") {
            for quote in ['"', '\''] {
                let quoted = |word: &str| format!("{quote}{word}{quote}");
                shown = shown.replace(&quoted(secret), &quoted(KEPT));
            }
        }
    }
    hashes(&mut table).for_each(|hash| *hash = KEPT.into());
    for target in targets(&mut table) {
        if let Some(secret) = target.get_mut("secret") {
            *secret = KEPT.into();
        }
    }
    // A secret may be spelled with escapes, or as another word is: then comments and layout are given up, never the secret.
    match shown.parse::<Table>() {
        Ok(same) if same == table => shown,
        _ => table.to_string(),
    }
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
    for target in targets(&mut table) {
        if target.get("secret").and_then(Value::as_str) != Some(KEPT) {
            continue;
        }
        let name = target.get("target").cloned();
        let secret = targets(&mut known)
            .find(|known| known.get("target") == name.as_ref())
            .and_then(|known| known.get("secret").cloned());
        let Some(secret) = secret else {
            let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
            return Err(format!(
                "[[san]] {}: `{KEPT}` stands for a secret that is there, and there is none: write it",
                name.escape_default()
            ));
        };
        target.insert("secret".into(), secret.clone());
        if let (Some(secret), Some(at)) = (secret.as_str(), changed.find(KEPT)) {
            changed.replace_range(at..at + KEPT.len(), secret);
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
    tables(table, "account")
}

/// Of a SAN.
fn targets(table: &mut Table) -> impl Iterator<Item = &mut Table> {
    tables(table, "san")
}

fn tables<'a>(table: &'a mut Table, key: &str) -> impl Iterator<Item = &'a mut Table> {
    let tables = table.get_mut(key).and_then(Value::as_array_mut);
    tables.into_iter().flatten().filter_map(Value::as_table_mut)
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
    fn a_sans_secret_is_not_shown_and_is_kept() {
        let san = "[[san]]\ntarget = \"iqn.x:a\" # theirs\nuser = \"box1\"\nsecret = \"open-sesame-1\"\n[[san]]\ntarget = \"iqn.x:b\"\nsecret = 'open-sesame-2'\n";
        let text = format!("{TEXT}{san}");
        let shown = without(&text);
        assert!(
            !shown.contains("sesame") && shown.contains("# theirs"),
            "{shown}"
        );
        let current: Table = text.parse().expect("TOML");
        assert_eq!(with(&shown, &current).as_deref(), Ok(text.as_str()));
        // The targets first, or a secret that is also the user's name, or spelled with an escape.
        let text = format!("{san}{TEXT}");
        let same = with(&without(&text), &current).expect("known");
        assert_eq!(same.parse::<Table>(), text.parse::<Table>());
        let twice = san.replace("box1", "open-sesame-1");
        let shown: Table = without(&twice).parse().expect("TOML");
        assert_eq!(shown["san"][0]["user"].as_str(), Some("open-sesame-1"));
        assert_eq!(shown["san"][0]["secret"].as_str(), Some(KEPT));
        assert!(!without(&san.replace("\"open-", "\"\\u006fpen-")).contains("sesame-1"));
        let why = with(&without(san), &Table::new()).expect_err("nothing there");
        assert!(why.contains("iqn.x:a"), "{why}");
    }

    #[test]
    fn nobodys_password_cannot_be_kept() {
        let why = with(&without(TEXT), &Table::new()).expect_err("nothing there");
        assert!(why.contains("account a@b"), "{why}");
    }
}
