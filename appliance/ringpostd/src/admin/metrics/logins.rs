//! Metrics of logins by all protocols: what was slowed down, what needed no hashing, and the audit.

use super::page::Page;
use crate::admin::shared::Admin;
use crate::audit;

impl Admin {
    pub(super) fn write_logins(&self, page: &mut Page) {
        let (slowed, put_off) = self.logins().attempts().counts();
        page.counter(
            "ringpost_logins_slowed",
            "Reports the number of logins that had to wait because of failures of their source or for their account.",
            slowed,
        );
        page.counter(
            "ringpost_logins_put_off",
            "Reports the number of logins that got a temporary answer because too many of their source waited.",
            put_off,
        );
        page.counter(
            "ringpost_logins_remembered",
            "Reports the number of logins whose password was right a moment before, so that it was not hashed again.",
            self.logins().remembered(),
        );
        let (written, lost) = audit::counts();
        page.counter(
            "ringpost_audit_lines",
            "Reports the number of logins written to the audit.",
            written,
        );
        page.counter(
            "ringpost_audit_lines_dropped",
            "Reports the number of logins missing in the audit because they could not be written in time.",
            lost,
        );
    }
}
