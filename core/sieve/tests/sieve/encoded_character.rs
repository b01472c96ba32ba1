//! RFC 5228 §2.4.2.4.

use crate::common::{holds, refusal};

#[test]
fn encoded_characters_stand_for_others() {
    let letter = "Subject: a@b \u{fc} ${hex:40}\n\n";
    for test in [
        r#"header :contains "subject" "a${hex:40}b""#,
        r#"header :contains "subject" "${unicode:fc}""#,
        r#"header :contains "subject" "$${hex: 7b }hex:40""#,
    ] {
        assert!(holds("encoded-character", test, letter), "{test}");
    }
    // Without the extension they are letters.
    assert!(holds(
        "",
        r#"header :contains "subject" "${hex:40}""#,
        letter
    ));
    let wrong = refusal("require \"encoded-character\";\nif header \"${unicode:D800}\" \"x\" {}");
    assert!(
        wrong.starts_with("line 2, column 11: Unicode characters go"),
        "{wrong}"
    );
}

/// RFC 5229 §3: characters are decoded first.
#[test]
fn variables_are_looked_for_in_what_was_decoded() {
    let test = r#"string "${hex:24}{x}" """#;
    assert!(holds("encoded-character variables", test, "\n"));
}
