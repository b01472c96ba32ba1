//! RFC 5228: control, the basic actions and tests.

use crate::common::{World, holds, refusal, says, shown};

const LETTER: &str = "\
From: Ann Example <ann@example.net>
To: bob@example.org, \"Carol, of Sales\" <carol@EXAMPLE.org>
Cc: Friends: dan@example.com, eve@example.com;
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from  the sea 
X-Empty:
X-Many: one
X-Many: two

Hello Bob,
the body.
";

/// RFC 5228 §2.10.2: a script that forgets a case must not lose mail.
#[test]
fn without_a_word_about_it_mail_is_kept() {
    says("", LETTER, &["implicit keep"]);
    says("# nothing\n/* at all */", LETTER, &["implicit keep"]);
    says("stop;", LETTER, &["implicit keep"]);
    says("if false { discard; }", LETTER, &["implicit keep"]);
}

/// A discard ends the implicit keep alone: beside a keep the message stays.
#[test]
fn keep_and_discard_say_it() {
    says("keep;", LETTER, &["keep"]);
    says("discard;", LETTER, &["discard"]);
    says("discard; keep;", LETTER, &["keep"]);
    says("keep; keep;", LETTER, &["keep"]);
}

/// RFC 5228 §2.10.2: else every filed message would be in INBOX too.
#[test]
fn filing_and_redirecting_end_the_implicit_keep() {
    says(
        r#"require "fileinto"; fileinto "Lists";"#,
        LETTER,
        &[r#"fileinto "Lists""#],
    );
    says(
        r#"redirect "carol@example.org";"#,
        LETTER,
        &["redirect carol@example.org"],
    );
    says(
        r#"require "fileinto"; fileinto "Lists"; redirect "carol@example.org"; keep;"#,
        LETTER,
        &[r#"fileinto "Lists""#, "redirect carol@example.org", "keep"],
    );
}

/// §2.10.3.
#[test]
fn the_same_action_twice_is_one() {
    says(
        r#"require "fileinto"; fileinto "a"; fileinto "a"; redirect "c@d.e"; redirect "c@D.e";"#,
        LETTER,
        &[r#"fileinto "a""#, "redirect c@d.e"],
    );
    says(
        r#"require "fileinto"; fileinto "inbox"; keep; fileinto "INBOX";"#,
        LETTER,
        &[r#"fileinto "inbox""#],
    );
}

/// Later branches are not looked at, also when they would be true.
#[test]
fn the_first_true_branch_runs() {
    let script = r#"
        require "fileinto";
        if header :contains "subject" "lake" { fileinto "lake"; }
        elsif header :contains "subject" "sea" { fileinto "sea"; }
        elsif true { fileinto "true"; }
        else { fileinto "else"; }"#;
    says(script, LETTER, &[r#"fileinto "sea""#]);
    says(script, "Subject: lake and sea\n\n", &[r#"fileinto "lake""#]);
    says(script, "Subject: x\n\n", &[r#"fileinto "true""#]);
    says("if false { discard; } else { keep; }", LETTER, &["keep"]);
}

#[test]
fn stop_ends_the_script() {
    says("if true { stop; } discard;", LETTER, &["implicit keep"]);
}

/// RFC 5228 §2.7.2: people write what they see, and mail has encoded words and folds.
#[test]
fn header_looks_at_decoded_values_without_blanks_around_them() {
    for (test, wanted) in [
        (r#"header :is "subject" "Grüße from  the sea""#, true),
        (r#"header "SUBJECT" "GRüßE FROM  THE SEA""#, true),
        (
            r#"header :comparator "i;octet" "subject" "grüße from  the sea""#,
            false,
        ),
        (r#"header :contains ["from", "subject"] ["x", "SEA"]"#, true),
        (r#"header :matches "subject" "Gr*sea""#, true),
        (r#"header :matches "subject" "Gr??e*""#, true),
        (r#"header :matches "subject" "sea""#, false),
        (r#"header :is "x-empty" """#, true),
        (r#"header :contains "x-empty" """#, true),
        (r#"header :is "x-absent" """#, false),
        (r#"header :contains "x-absent" """#, false),
        (r#"header :is "x-many" "two""#, true),
        (r#"header :matches "from" "*\\@*""#, true),
    ] {
        assert_eq!(holds("", test, LETTER), wanted, "{test}");
    }
}

/// A sender chooses the name freely; a rule about an address must not match it.
#[test]
fn address_sees_addresses_and_not_names() {
    for (test, wanted) in [
        (r#"address "from" "ann@example.net""#, true),
        (r#"address :contains "from" "Example <""#, false),
        (r#"address :domain "to" "example.ORG""#, true),
        (r#"address :localpart ["to", "cc"] "carol""#, true),
        (r#"address :localpart "to" "sales""#, false),
        (r#"address "cc" "eve@example.com""#, true),
        (r#"address "cc" "Friends""#, false),
        (r#"address :all "from" "ANN@EXAMPLE.NET""#, true),
        (
            r#"address :comparator "i;octet" "from" "ANN@EXAMPLE.NET""#,
            false,
        ),
        (r#"address :contains "bcc" """#, false),
    ] {
        assert_eq!(holds("", test, LETTER), wanted, "{test}");
    }
    assert!(refusal(r#"if address "subject" "a" {}"#).contains("\"subject\" holds no addresses"));
}

/// RFC 5228 §5.4: the null sender is an empty string, which a rule for bounces compares with.
#[test]
fn envelope_has_sender_and_recipient() {
    for (test, wanted) in [
        (r#"envelope "from" "ann@example.net""#, true),
        (r#"envelope :domain "FROM" "example.net""#, true),
        (r#"envelope :localpart "to" "bob""#, true),
        (r#"envelope "from" """#, false),
    ] {
        assert_eq!(holds("envelope", test, LETTER), wanted, "{test}");
    }
    let bounce = World {
        from: None,
        ..World::default()
    };
    for test in [r#"envelope "from" """#, r#"envelope :domain "from" """#] {
        assert!(bounce.holds("envelope", test, LETTER));
    }
    assert!(refusal(r#"require "envelope"; if envelope "auth" "a" {}"#).contains("\"auth\""));
    assert!(refusal(r#"if envelope "from" "a" {}"#).contains("needs the extension \"envelope\""));
}

#[test]
fn exists_wants_all_of_the_fields() {
    assert!(holds("", r#"exists ["from", "X-EMPTY"]"#, LETTER));
    assert!(!holds("", r#"exists ["from", "x-absent"]"#, LETTER));
}

/// RFC 5228 §5.9 says so, and both can be false.
#[test]
fn size_is_over_or_under_and_neither_when_equal() {
    let message = "Subject: x\n\n0123456789";
    let size = message.replace('\n', "\r\n").len();
    for (test, wanted) in [
        (format!("size :over {size}"), false),
        (format!("size :under {size}"), false),
        (format!("size :over {}", size - 1), true),
        (format!("size :under {}", size + 1), true),
        ("size :under 1K".to_owned(), true),
        ("size :over 1M".to_owned(), false),
    ] {
        assert_eq!(holds("", &test, message), wanted, "{test}");
    }
}

#[test]
fn tests_are_put_together() {
    for (test, wanted) in [
        ("true", true),
        ("false", false),
        ("not false", true),
        ("allof (true, true)", true),
        ("allof (true, false)", false),
        ("anyof (false, true)", true),
        ("anyof (false, false)", false),
        ("not anyof (false, not allof (true, not false))", true),
    ] {
        assert_eq!(holds("", test, LETTER), wanted, "{test}");
    }
}

/// §5.2: it would fail if it were looked at.
#[test]
fn what_is_decided_is_not_looked_at_further() {
    let script = r#"
        require ["variables", "ihave"];
        if anyof (true, not ihave "vnd.x", vndtest "x") { keep; }
        if allof (not true, not ihave "vnd.x", vndtest "x") { discard; }"#;
    says(script, LETTER, &["keep"]);
}

#[test]
fn a_multi_line_string_is_a_string() {
    let script = "if header :is \"subject\" text:\nGrüße from  the sea\n.\n{ discard; }";
    // It ends with a line end, which the field does not have.
    says(script, LETTER, &["implicit keep"]);
    let script = "if header :matches text:\nSubject\n.\n \"*\" { discard; }";
    says(script, LETTER, &["implicit keep"]);
    let contains = "if not header :contains \"subject\" text:\n.\n{ discard; }";
    says(contains, LETTER, &["implicit keep"]);
}

/// §2.10.6.
#[test]
fn a_run_that_fails_keeps_the_message_and_names_the_place() {
    let script = "require [\"fileinto\", \"variables\"];\nfileinto \"a\";\n  redirect \"${x}\";";
    says(
        script,
        LETTER,
        &[
            "implicit keep",
            "failed: line 3, column 3: \"\" is not an address",
        ],
    );
}

/// The administrator comes first; what that script filed away the person's does not see.
#[test]
fn scripts_of_several_places_run_in_a_row() {
    let world = World::default();
    let run = |scripts: &[&str]| shown(&world.run(scripts, LETTER).expect("an outcome"));
    assert_eq!(run(&[]), ["implicit keep"]);
    assert_eq!(run(&["", "discard;"]), ["discard"]);
    // What the first one did not keep, the second one does not see.
    assert_eq!(run(&["discard;", "keep;"]), ["discard"]);
    assert_eq!(run(&["stop;", "discard;"]), ["discard"]);
    // A keep of an earlier script is the next one's to decide.
    let filing = r#"require "fileinto"; fileinto "Lists";"#;
    assert_eq!(run(&["keep;", filing]), [r#"fileinto "Lists""#]);
    let flagging = r#"require "imap4flags"; keep :flags "\\Flagged";"#;
    assert_eq!(run(&[flagging, ""]), ["implicit keep (\\Flagged)"]);
    // Copies of an earlier script stay.
    let copying = r#"require ["copy", "fileinto"]; fileinto :copy "Archive";"#;
    assert_eq!(run(&[copying, "discard;"]), [r#"fileinto "Archive""#]);
    let failing = r#"require "ihave"; error "no";"#;
    let outcome = world.run(&["", failing], LETTER).expect("an outcome");
    assert_eq!(outcome.failure.expect("a failure").script_index, 1);
}
