//! imapflow, a library of npm, on node: a day of mail inside TLS and COMPRESS, written down in `imapflow/day.mjs`.
//!
//! Not in the ordinary run, for it comes from npm: `cargo xtask test --only imapflow` installs node and npm and runs it. `npm ci` brings what the lock
//! file names, each by its digest, and runs no script of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::daemon::{Home, bounded_by, said};

/// A registry that is far away, and a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(900);

#[test]
#[ignore = "fetches imapflow from npm: cargo xtask test --only imapflow"]
fn imapflow_goes_through_a_day_of_mail() {
    let home = Home::new();
    let _daemon = home.start();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/imapflow");
    let own = home.directory.path().join("imapflow");
    fs::create_dir(&own).expect("our own directory");
    for file in ["package.json", "package-lock.json", "day.mjs"] {
        fs::copy(from.join(file), own.join(file)).expect("it is in the repository");
    }
    let brought = bounded_by(
        WITHIN,
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&own),
    );
    assert!(brought.status.success(), "npm ci: {}", said(&brought));
    let day = bounded_by(
        WITHIN,
        Command::new("node")
            .arg("day.mjs")
            .arg(home.port(993).to_string())
            .arg(home.state().join("certificate.pem"))
            .current_dir(&own),
    );
    let text = said(&day);
    assert!(
        day.status.success() && text.contains("a good day"),
        "{text}"
    );
}
