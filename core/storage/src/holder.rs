//! Whose share of the memory for messages is used: an account's, or a peer's that has not logged in.

use std::net::IpAddr;

use mailbox::AccountId;
use runtime::Holder;

const ACCOUNTS: u64 = 3 << 62;
const V6: u64 = 1 << 62;

/// What an account reads and appends, over all its connections.
pub fn of_account(account: AccountId) -> Holder {
    Holder(ACCOUNTS | u64::from(account.0))
}

/// What comes from one network: an IPv4 address, or an IPv6 prefix of 62 bits (a customer has 64 or shorter).
pub fn of_peer(peer: IpAddr) -> Holder {
    match peer.to_canonical() {
        IpAddr::V4(address) => Holder(u64::from(address.to_bits())),
        IpAddr::V6(address) => Holder(V6 | (address.to_bits() >> 66) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_prefix_share_and_others_do_not() {
        let of = |text: &str| of_peer(text.parse().expect("an address"));
        assert_eq!(of("192.0.2.7"), of("::ffff:192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:8::1"));
        assert_ne!(of("::"), of("0.0.0.0"));
        assert_ne!(of_account(AccountId(1)), of("0.0.0.1"));
    }
}
