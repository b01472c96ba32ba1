//! The address of the quarantine's account (`quarantine`), which no mail from outside is for.

use mail::{Address, spelling};

const LOCAL: &str = "quarantine";
pub(crate) const DOMAIN: &str = "quarantine.invalid";

/// The account that has the quarantine.
pub fn address() -> Address {
    Address::from_parts(LOCAL, DOMAIN).expect("plain words")
}

/// Whether mail for `domain`, in any of its spellings, comes from `inbound` alone.
pub fn is_reserved(domain: &str) -> bool {
    spelling::domains(domain).iter().any(|name| name == DOMAIN)
}
