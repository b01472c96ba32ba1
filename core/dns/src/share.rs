//! How many of a core's look-ups are on behalf of strangers of one network.
//!
//! What must hold: a network that has no look-up under way or waiting takes no room here; a look-up that is dropped gives its place back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::rc::Rc;

use base::Network;
use tokio::sync::Semaphore;

use crate::limits::{LOOKUPS_PER_NETWORK_MAX, NETWORK_BITS_V4, NETWORK_BITS_V6};

/// Networks with look-ups. As many as look-ups are under way or wait, which receivers bound by their connections.
#[derive(Default)]
pub(crate) struct Shares {
    all: RefCell<HashMap<Network, Rc<Semaphore>>>,
}

/// One look-up's hold of its network's share: waiting, and then under way.
pub(crate) struct Share<'s> {
    shares: &'s Shares,
    network: Network,
    places: Rc<Semaphore>,
}

pub(crate) fn network_of(peer: IpAddr) -> Network {
    let bits = match peer.to_canonical().is_ipv4() {
        true => NETWORK_BITS_V4,
        false => NETWORK_BITS_V6,
    };
    Network::around(peer, bits)
}

impl Shares {
    pub fn of(&self, network: Network) -> Share<'_> {
        let mut all = self.all.borrow_mut();
        let fresh = || Rc::new(Semaphore::new(LOOKUPS_PER_NETWORK_MAX));
        Share {
            shares: self,
            network,
            places: all.entry(network).or_insert_with(fresh).clone(),
        }
    }

    #[cfg(test)]
    pub fn networks(&self) -> usize {
        self.all.borrow().len()
    }
}

impl Share<'_> {
    pub fn places(&self) -> &Semaphore {
        &self.places
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut all = self.shares.all.borrow_mut();
        if let Entry::Occupied(own) = all.entry(self.network) {
            // The map's and this one: no other look-up of the network is left.
            if Rc::strong_count(own.get()) <= 2 {
                own.remove();
            }
        }
    }
}
