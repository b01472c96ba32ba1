//! Which mailbox names a LIST pattern means (RFC 9051 §6.3.9).

/// Levels are separated by this in every name.
pub const SEPARATOR: char = '/';

/// Does `name` match? `*` is any text, `%` any text without a separator. Work is bounded by pattern times name length.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    // One row of a table: can the pattern so far match the first n bytes of the name?
    let mut row = vec![false; name.len() + 1];
    row[0] = true;
    for &wanted in pattern {
        match wanted {
            b'*' | b'%' => {
                let mut reachable = false;
                for n in 0..=name.len() {
                    if wanted == b'%' && n > 0 && name[n - 1] == SEPARATOR as u8 {
                        reachable = false;
                    }
                    reachable |= row[n];
                    row[n] = reachable;
                }
            }
            _ => {
                for n in (0..=name.len()).rev() {
                    row[n] = n > 0 && row[n - 1] && name[n - 1] == wanted;
                }
            }
        }
    }
    row[name.len()]
}

/// A reference and a pattern as one (RFC 9051 §6.3.9: how is up to us): joined as they stand, so that a reference `a/` and
/// a pattern `%` mean the children of `a`. INBOX is matched in any case.
pub fn joined(reference: &str, pattern: &str) -> String {
    let joined = format!("{reference}{pattern}");
    let is_inbox = joined
        .get(..5)
        .is_some_and(|head| head.eq_ignore_ascii_case("INBOX"));
    if is_inbox && matches!(joined.as_bytes().get(5), None | Some(b'/' | b'*' | b'%')) {
        return format!("INBOX{}", &joined[5..]);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_what_the_rfc_says() {
        for (pattern, name, yes) in [
            ("*", "a/b", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("%/%", "a/b", true),
            ("a*c", "a/b/c", true),
            ("a*", "a", true),
            ("", "", true),
            ("", "a", false),
            ("a", "A", false),
            ("%b%", "abc", true),
            ("*%", "a/b", true),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
        let hard = "*a".repeat(30);
        assert!(
            !matches(&hard, &"a".repeat(29)),
            "bounded work, not backtracking"
        );
    }

    #[test]
    fn references_are_put_before_patterns() {
        assert_eq!(joined("a/", "%"), "a/%");
        assert_eq!(joined("", "inbox"), "INBOX");
        assert_eq!(joined("in", "box/%"), "INBOX/%");
        assert_eq!(joined("", "inboxes"), "inboxes");
    }
}
