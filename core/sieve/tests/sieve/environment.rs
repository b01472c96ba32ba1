//! RFC 5183.

use crate::common::holds;

#[test]
fn items_are_known_or_absent() {
    for (test, wanted) in [
        (r#"environment "domain" "example.org""#, true),
        (r#"environment :is "HOST" "mx.example.org""#, true),
        (r#"environment "location" "MS""#, true),
        (r#"environment "phase" "during""#, true),
        (r#"environment "name" "Ringpost""#, true),
        (r#"environment :matches "version" "*.*.*""#, true),
        (r#"environment :contains "remote-host" "example.net""#, true),
        (r#"environment :contains "remote-ip" """#, false),
        (r#"environment :contains "vnd.other" """#, false),
    ] {
        assert_eq!(holds("environment", test, "\n"), wanted, "{test}");
    }
}
