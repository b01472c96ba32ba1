//! Secrets out of settings that are shown, and back into those that return. Values are exchanged in their places; what stands between
//! them (layout, comments, line ends) stays as it is.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// What stands in the place of a secret. Settings that come back with it keep the one that is there.
pub const KEPT: &str = "(kept)";
/// How every hash begins that settings may hold.
const HASH: &str = "$argon2";

/// Where settings hold a secret: in each table of a list.
struct Place {
    list: &'static str,
    key: &'static str,
    /// The key that distinguishes the list's tables.
    name: &'static str,
    what: &'static str,
    write: &'static str,
}

const PLACES: [Place; 2] = [
    Place {
        list: "account",
        key: "password_hash",
        name: "address",
        what: "account",
        write: "an existing password, and there is none: write its hash",
    },
    Place {
        list: "san",
        key: "secret",
        name: "target",
        what: "[[san]]",
        write: "an existing secret, and there is none: write it",
    },
];

/// The text without its secrets, otherwise as it is.
pub fn without(text: &str) -> String {
    let Ok(table) = DeTable::parse(text) else {
        return "# These settings cannot be read.\n".to_owned();
    };
    let mut values = Vec::new();
    values_of(table.get_ref(), &mut values);
    values.sort_by_key(|value| value.span().start);
    let secrets: Vec<&Spanned<DeValue<'_>>> = PLACES
        .iter()
        .flat_map(|place| tables(table.get_ref(), place.list).map(|table| table.get(place.key)))
        .flatten()
        .collect();
    let words: Vec<&str> = secrets.iter().filter_map(|value| text_of(value)).collect();

    let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
    for value in values {
        let span = value.span();
        put_without(&mut shown, &text[end..span.start], &words);
        let is_secret = secrets.iter().any(|secret| secret.span() == span)
            || text_of(value).is_some_and(|word| word.contains(HASH));
        if is_secret {
            shown.push_str(&spelled(KEPT, &text[span.clone()]));
        } else {
            shown.push_str(&text[span.clone()]);
        }
        end = span.end;
    }
    put_without(&mut shown, &text[end..], &words);
    shown
}

/// The text with the secrets of `current` in the places of those that were not shown. `Err`: one sentence with the fix.
pub fn with(text: &str, current: &Table) -> Result<String, String> {
    let Ok(table) = DeTable::parse(text) else {
        return Ok(text.to_owned()); // the strict parser says why
    };
    let mut kept: Vec<(Range<usize>, String)> = Vec::new();
    for place in &PLACES {
        for table in tables(table.get_ref(), place.list) {
            let Some(value) = table.get(place.key) else {
                continue;
            };
            if text_of(value) != Some(KEPT) {
                continue;
            }
            let name = table.get(place.name).and_then(text_of).unwrap_or_default();
            let Some(secret) = secret_of(current, place, name) else {
                return Err(format!(
                    "{} {}: `{KEPT}` stands for {}",
                    place.what,
                    name.escape_default(),
                    place.write
                ));
            };
            let span = value.span();
            kept.push((span.clone(), spelled(secret, &text[span])));
        }
    }
    kept.sort_by_key(|(span, _)| span.start);
    let mut changed = text.to_owned();
    for (span, secret) in kept.into_iter().rev() {
        changed.replace_range(span, &secret);
    }
    Ok(changed)
}

/// The secret of the table called `name`.
fn secret_of<'a>(current: &'a Table, place: &Place, name: &str) -> Option<&'a str> {
    let tables = current.get(place.list)?.as_array()?.iter();
    let mut tables = tables.filter_map(Value::as_table);
    let is_it = |table: &&Table| table.get(place.name).and_then(Value::as_str) == Some(name);
    tables.find(is_it)?.get(place.key)?.as_str()
}

/// `word` as TOML, in the quotes of `before` where they can hold it.
fn spelled(word: &str, before: &str) -> String {
    let literal = before.starts_with('\'') && !before.starts_with("\'\'\'");
    if literal && !word.contains(|c: char| c == '\'' || c.is_control()) {
        format!("'{word}'")
    } else {
        Value::String(word.to_owned()).to_string()
    }
}

/// What stands between values, without a hash and without a secret's word in its comments.
fn put_without(shown: &mut String, between: &str, words: &[&str]) {
    for line in between.split_inclusive('\n') {
        let (before, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
        shown.push_str(before);
        let mut comment = comment.to_owned();
        for word in words.iter().filter(|word| !word.is_empty()) {
            comment = comment.replace(word, KEPT);
        }
        let mut rest = comment.as_str();
        while let Some(at) = rest.find(HASH) {
            shown.push_str(&rest[..at]);
            shown.push_str(KEPT);
            let hash = &rest[at..];
            let end = hash.find(|c: char| c == '"' || c == '\'' || c.is_whitespace());
            rest = &hash[end.unwrap_or(hash.len())..];
        }
        shown.push_str(rest);
    }
}

/// Every value that is neither a table nor a list. The parser bounds their depth.
fn values_of<'a, 'i>(table: &'a DeTable<'i>, values: &mut Vec<&'a Spanned<DeValue<'i>>>) {
    for (_, value) in table {
        note_values(value, values);
    }
}

fn note_values<'a, 'i>(
    value: &'a Spanned<DeValue<'i>>,
    values: &mut Vec<&'a Spanned<DeValue<'i>>>,
) {
    match value.get_ref() {
        DeValue::Table(table) => values_of(table, values),
        DeValue::Array(list) => list.iter().for_each(|value| note_values(value, values)),
        _ => values.push(value),
    }
}

fn tables<'a, 'i>(table: &'a DeTable<'i>, list: &str) -> impl Iterator<Item = &'a DeTable<'i>> {
    let list = table.get(list).and_then(|list| list.get_ref().as_array());
    let tables = list.into_iter().flat_map(|list| list.iter());
    tables.filter_map(|table| table.get_ref().as_table())
}

fn text_of<'a>(value: &'a Spanned<DeValue<'_>>) -> Option<&'a str> {
    value.get_ref().as_str()
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
        assert!(
            shown.contains("# his") && shown.contains("# was (kept)"),
            "{shown}"
        );
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
    fn layout_stays_however_a_secret_is_spelled() {
        let text = "# both\r\nsan = [ { target = 'x' , secret = \"\"\"\r\n\\u006fpen\"\"\" }, # open, and \"open\"\r\n  {secret = \"open\", target = \"y\"} ]\r\n# end";
        let shown = without(text);
        let expected = "# both\r\nsan = [ { target = 'x' , secret = \"(kept)\" }, # (kept), and \"(kept)\"\r\n  {secret = \"(kept)\", target = \"y\"} ]\r\n# end";
        assert_eq!(shown, expected);
        let current: Table = text.parse().expect("TOML");
        let back = with(&shown, &current).expect("known");
        assert_eq!(back.parse::<Table>().expect("TOML"), current);
        assert!(back.ends_with("} ]\r\n# end"), "{back}");
    }

    #[test]
    fn a_secret_with_quotes_comes_back_in_quotes_that_hold_it() {
        let text = "[[san]]\ntarget = 'x'\nsecret = \"a'b\\\"c\\nd\"\n";
        let current: Table = text.parse().expect("TOML");
        let shown = without(text).replace('"', "'");
        assert_eq!(shown, "[[san]]\ntarget = 'x'\nsecret = '(kept)'\n");
        let back = with(&shown, &current).expect("known");
        assert_eq!(back.parse::<Table>().expect("TOML"), current);
    }

    #[test]
    fn nobodys_password_cannot_be_kept() {
        let why = with(&without(TEXT), &Table::new()).expect_err("nothing there");
        assert!(why.contains("account a@b"), "{why}");
    }
}
