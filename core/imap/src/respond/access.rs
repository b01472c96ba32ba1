//! The lines that answer ACL and METADATA (RFC 4314 §3, RFC 5464 §4.4).

use mail::Rights;

use super::{put, put_mailbox, put_nstring, put_string};
use crate::parse::Names;

/// RFC 4314 §3.6: identifiers with their rights.
pub fn put_acl<'a>(
    out: &mut Vec<u8>,
    mailbox: &str,
    entries: impl Iterator<Item = (&'a str, Rights)>,
    names: Names,
) {
    put(out, "* ACL ");
    put_mailbox(out, mailbox, names);
    for (identifier, rights) in entries {
        put(out, " ");
        put_string(out, identifier.as_bytes());
        put(out, " ");
        put(out, &rights.with_obsolete());
    }
    put(out, "\r\n");
}

/// RFC 4314 §3.7. An owner has all rights, and no other identifier has one for certain; no right here brings another one along.
pub fn put_list_rights(
    out: &mut Vec<u8>,
    mailbox: &str,
    identifier: &str,
    is_owner: bool,
    names: Names,
) {
    put(out, "* LISTRIGHTS ");
    put_mailbox(out, mailbox, names);
    put(out, " ");
    put_string(out, identifier.as_bytes());
    if is_owner {
        put(out, &format!(" {}\r\n", Rights::ALL.with_obsolete()));
        return;
    }
    put(out, " \"\"");
    for (letter, _) in Rights::LETTERS {
        put(out, &format!(" {letter}"));
    }
    // RFC 4314 §2.1.1: RFC 2086's two rights.
    put(out, " c d\r\n");
}

/// RFC 4314 §3.8.
pub fn put_my_rights(out: &mut Vec<u8>, mailbox: &str, rights: Rights, names: Names) {
    put(out, "* MYRIGHTS ");
    put_mailbox(out, mailbox, names);
    put(out, " ");
    match rights.is_empty() {
        true => put(out, "\"\""),
        false => put(out, &rights.with_obsolete()),
    }
    put(out, "\r\n");
}

/// RFC 5464 §4.4.1: entries with their values.
pub fn put_metadata<'a>(
    out: &mut Vec<u8>,
    mailbox: &str,
    entries: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    names: Names,
) {
    put(out, "* METADATA ");
    put_mailbox(out, mailbox, names);
    put(out, " (");
    for (index, (name, value)) in entries.enumerate() {
        if index > 0 {
            put(out, " ");
        }
        put_string(out, name.as_bytes());
        put(out, " ");
        put_nstring(out, value);
    }
    put(out, ")\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_as_the_rfc_has_them() {
        let lr = Rights::parse("lr").unwrap();
        let entries = [
            ("anyone", lr),
            ("-bob@example.org", Rights::parse("x").unwrap()),
        ];
        let acl = shown(|out| put_acl(out, "Plans", entries.into_iter(), Names::Utf8));
        assert_eq!(
            acl,
            "* ACL \"Plans\" \"anyone\" lr \"-bob@example.org\" xc\r\n"
        );
        let mine = shown(|out| put_my_rights(out, "Plans", lr, Names::Utf8));
        assert_eq!(mine, "* MYRIGHTS \"Plans\" lr\r\n");
        let none = shown(|out| put_my_rights(out, "Plans", Rights::NONE, Names::Utf8));
        assert_eq!(none, "* MYRIGHTS \"Plans\" \"\"\r\n");
        let list = shown(|out| put_list_rights(out, "P", "bob", false, Names::Utf8));
        assert_eq!(
            list,
            "* LISTRIGHTS \"P\" \"bob\" \"\" l r s w i p k x t e a c d\r\n"
        );
        let list = shown(|out| put_list_rights(out, "P", "ann", true, Names::Utf8));
        assert_eq!(list, "* LISTRIGHTS \"P\" \"ann\" lrswipkxteacd\r\n");
    }

    #[test]
    fn entries_stand_with_their_values() {
        let mut out = Vec::new();
        let entries = [
            ("/shared/comment", Some(&b"a \"b\""[..])),
            ("/private/comment", None),
        ];
        put_metadata(&mut out, "", entries.into_iter(), Names::Utf8);
        let line =
            "* METADATA \"\" (\"/shared/comment\" \"a \\\"b\\\"\" \"/private/comment\" NIL)\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), line);
    }
}
