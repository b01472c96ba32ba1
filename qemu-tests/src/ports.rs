//! Free ports on loopback for QEMU to forward.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::failure::{Doing, Told};

/// The services a guest may offer, and where they are reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    pub guest: u16,
    pub host: u16,
}

impl Forward {
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.host))
    }
}

/// For each of `nics`, one free port for each of `guest`. They were free a moment ago, all at once; QEMU says so when one
/// is taken meanwhile.
pub fn allocate(nics: usize, guest: &[u16]) -> Told<Vec<Vec<Forward>>> {
    // All are held until all are known, so that no two are the same.
    let mut held = Vec::new();
    let mut free = || -> Told<u16> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("looking for a free port")?;
        let address = listener.local_addr().doing("looking for a free port")?;
        held.push(listener);
        Ok(address.port())
    };
    (0..nics)
        .map(|_| {
            guest
                .iter()
                .map(|&guest| {
                    Ok(Forward {
                        guest,
                        host: free()?,
                    })
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_all_different() {
        let mut hosts: Vec<u16> = allocate(2, &[25, 143, 993, 80, 443])
            .expect("ten free ports")
            .iter()
            .flatten()
            .map(|forward| forward.host)
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!(hosts.len(), 10);
    }
}
