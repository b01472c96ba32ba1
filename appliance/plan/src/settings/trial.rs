//! Trial mode: settings without a file.

use super::*;

impl Settings {
    /// Trial mode: two file legs in `state`, every service on loopback at `port_base` + its standard port.
    pub fn trial(state: &Path, leg_size: Size, port_base: u16) -> Result<Settings, Misfit> {
        let at = |port: u16| {
            let port = port_base.checked_add(port).ok_or_else(|| {
                Misfit::new(format!(
                    "--port-base {port_base} is too high: write 0 to {}",
                    u16::MAX - PORT_MAX
                ))
            })?;
            Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))])
        };
        Ok(Settings {
            server: Server {
                name: "localhost".into(),
                state: state.to_owned(),
                profile: None,
            },
            volume: Volume {
                legs: Spanned::new(0..0, vec![state.join("leg-a"), state.join("leg-b")]),
                leg_size,
                create: true,
                compression: compression_default(),
                is_absent: false,
            },
            spool: Spool::trial(state),
            listen: Listen {
                smtp: at(25)?,
                lmtp: at(24)?,
                submission: at(587)?,
                submissions: at(465)?,
                imap: at(143)?,
                imaps: at(993)?,
                pop3: at(110)?,
                pop3s: at(995)?,
                // Not 4190, so that all ports are within a thousand.
                managesieve: at(490)?,
                http: at(80)?,
                https: at(443)?,
                ..Listen::default()
            },
            tls: Tls::default(),
            oauth: Vec::new(),
            client: Client::default(),
            acme: Acme::default(),
            login: Login {
                plaintext: Plaintext::Loopback,
                ..Login::default()
            },
            ldap: Ldap::default(),
            fetch: crate::fetch::Fetch::default(),
            // The demo asks nobody, unless it is given name servers.
            inbound: Inbound {
                authentication: Authentication::Off,
                ..Inbound::default()
            },
            dns: Dns::default(),
            limits: Limits::default(),
            memory: Memory::default(),
            log: Log::default(),
            trace: Trace::default(),
            outbound: Outbound::default(),
            zones: Run::default(),
            peers: Peers::default(),
            front: Default::default(),
            network: None,
            time: Time::default(),
            domains: Vec::new(),
            accounts: Vec::new(),
            admin: Admin::default(),
            door: Door::default(),
            scan: Scan::default(),
            spam: Spam::off(),
            quarantine: Quarantine::default(),
            imap: Imap::default(),
            pop3: Pop3::default(),
            reports: Reports::trial(),
            san: Vec::new(),
        })
    }
}
