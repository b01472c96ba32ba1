//! Every number of this crate, with its reason.

/// Damage that `salvage` names one by one.
pub const SALVAGE_FINDINGS_MAX: usize = 10_000;
/// A directory's name on the file systems of Linux.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Mailboxes of one name and account (the record that deleted the others is lost) that `salvage` keeps apart.
pub const SAME_NAME_MAX: u32 = 10_000;
/// Certificates of administrators: there is no list of revoked ones, so one that was lost is of use for two years at most. Their
/// authority stands in the settings of every box, and changes seldom.
pub const ADMIN_CERTIFICATE_DAYS: i64 = 730;
pub const ADMIN_AUTHORITY_DAYS: i64 = 3_650;
