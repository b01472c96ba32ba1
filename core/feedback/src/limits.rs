//! Bounds of reports that others send, and of what is sent.

/// A message that is looked into for a report.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Parts of it that are looked at.
pub const PARTS_MAX: usize = 64;
/// Of them, those that look like a report and are unpacked: a message has one.
pub const UNPACKED_MAX: usize = 4;
/// A report when it is unpacked.
pub const PLAIN_BYTES_MAX: usize = 8 << 20;
/// Text of this kind shrinks to a twentieth; more than this factor (beyond `EXPANSION_FREE_BYTES`) is not a report.
pub const EXPANSION_MAX: usize = 100;
pub const EXPANSION_FREE_BYTES: usize = 64 << 10;
/// Elements of XML inside each other; a report has six.
pub const DEPTH_MAX: usize = 16;
/// A text that is kept: a name, a domain, a result.
pub const TEXT_BYTES_MAX: usize = 255;
/// Records of one report; what is beyond is counted in sums alone.
pub const RECORDS_MAX: usize = 10_000;
/// Details of failures under one policy of a report of TLS, likewise.
pub const DETAILS_MAX: usize = 1_000;
/// Policies of one report of TLS.
pub const POLICIES_MAX: usize = 100;
/// Lines of figures that one report is boiled down to.
pub const LINES_MAX: usize = 400;

/// Addresses that one domain's reports go to. RFC 9990 leaves the number to the reporter; two are usual.
pub const DESTINATIONS_MAX: usize = 5;
/// What stands behind `rua=` or `ruf=`; longer ones are not read.
pub const DESTINATIONS_BYTES_MAX: usize = 1_024;
/// Signatures that a line names (RFC 9990 allows 100); the best come first.
pub const SIGNATURES_MAX: usize = 3;
/// Bytes of a failed message's header that go back.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
