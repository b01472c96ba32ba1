//! `resolv.conf` from what systemd-networkd got, by settings or by DHCP.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use files::Mode;
use hardware::limits::NAME_SERVERS_MAX;
use hardware::network::{self, Addresses};

/// `/etc/resolv.conf` of the image leads here.
const TARGET: &str = "/run/ringpost-names/resolv.conf";

fn main() -> ExitCode {
    let network = network::look(Path::new("/"), &Addresses::new());
    let text = text(&network.name_servers);
    match files::replace(Path::new(TARGET), text.as_bytes(), Mode::Umask) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringpost-names: {TARGET}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is not an address is omitted: it came over the network.
fn text(servers: &[String]) -> String {
    servers
        .iter()
        .filter_map(|server| server.parse::<IpAddr>().ok())
        .take(NAME_SERVERS_MAX)
        .map(|server| format!("nameserver {server}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_become_name_servers() {
        let told = ["10.0.2.3", "x\noptions debug", "fec0::3"].map(String::from);
        assert_eq!(text(&told), "nameserver 10.0.2.3\nnameserver fec0::3\n");
        assert_eq!(text(&[]), "");
    }
}
