//! RFC 5233.

use crate::common::{World, holds, refusal};

#[test]
fn user_and_detail_are_divided_at_the_separator() {
    let letter = "To: bob+lists+sea@example.org, carol@example.org\n\n";
    for (test, wanted) in [
        (r#"address :user "to" "bob""#, true),
        (r#"address :user "to" "carol""#, true),
        (r#"address :detail "to" "lists+sea""#, true),
        (r#"address :detail "to" """#, false),
        (r#"address :localpart "to" "bob+lists+sea""#, true),
    ] {
        assert_eq!(holds("subaddress", test, letter), wanted, "{test}");
    }
    // An empty detail is one.
    assert!(holds(
        "subaddress",
        r#"address :detail "to" """#,
        "To: bob+@example.org\n\n"
    ));
    let world = World {
        to: "bob+shop@example.org",
        ..World::default()
    };
    assert!(world.holds(
        "subaddress envelope",
        r#"envelope :detail "to" "shop""#,
        letter
    ));
    assert!(refusal(r#"if address :user "to" "x" {}"#).contains("\"subaddress\""));
}
