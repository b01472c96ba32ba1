//! Postfix from Debian's package, with a configuration of its own. It is tuned as a careful administrator would for
//! throughput on one box (no rate limits, no in-flow delay, enough processes); durability settings are its defaults.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::{Running, free_address, run_quietly, spawn, wait_for};

/// Where the mail goes after it was accepted.
pub enum Delivery<'a> {
    /// Straight to the hold queue: nothing is done after acceptance (the least that Postfix can do durably).
    Hold,
    /// To an LMTP server (Dovecot's).
    Lmtp(&'a SocketAddr),
    /// To one server elsewhere, over at most `RELAY_CONNECTIONS` connections.
    Relay(&'a SocketAddr),
    /// To servers that are looked up.
    Exchangers,
    /// To the hold queue, after these milters, policyd-spf and these lists were asked.
    Filtered {
        milters: [&'a SocketAddr; 2],
        lists: &'a [&'a str],
        /// Where senders reach it.
        at: IpAddr,
    },
}

/// As many as ours opens to one destination (`client::relay::limits::SITE_CONNECTIONS_MAX`).
pub const RELAY_CONNECTIONS: usize = 20;
/// Who may send without a question, where senders are strangers: no address that is used.
const NO_NETWORK: &str = "192.0.2.254/32";

/// Postfix drops its privileges itself and must be started by root.
pub fn start(directory: &Path, delivery: &Delivery<'_>) -> io::Result<Running> {
    let config = directory.join("postfix");
    let queue = directory.join("postfix-queue");
    let data = directory.join("postfix-data");
    for path in [&config, &queue, &data] {
        fs::create_dir_all(path)?;
    }
    run_quietly(Command::new("chown").arg("postfix").arg(&data))?;
    let mut address = free_address()?;
    let mut listens = address;
    if let Delivery::Filtered { at, .. } = delivery {
        // Its senders have addresses of the bench's own network.
        address.set_ip(*at);
        listens.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
    let hold = "check_client_access static:hold, ";
    let mut restriction = "permit_mynetworks, reject".to_owned();
    let mut networks = "127.0.0.0/8";
    let (mut transport, mut concurrency, mut more) = ("discard:".to_owned(), 1, String::new());
    match delivery {
        Delivery::Hold => restriction.insert_str(0, hold),
        Delivery::Lmtp(server) => {
            transport = format!("lmtp:inet:{}:{}", server.ip(), server.port());
            concurrency = 50;
        }
        Delivery::Relay(server) => {
            concurrency = RELAY_CONNECTIONS;
            more = format!("relayhost = [{}]:{}\n", server.ip(), server.port());
        }
        Delivery::Exchangers => concurrency = RELAY_CONNECTIONS,
        Delivery::Filtered { milters, lists, .. } => {
            let lists = lists
                .iter()
                .map(|list| format!("reject_rbl_client {list}, "));
            restriction = lists.collect::<String>()
                + hold
                + "check_policy_service unix:private/policyd-spf, reject_unauth_destination";
            networks = NO_NETWORK;
            let milters = milters.map(|server| format!("inet:{}:{}", server.ip(), server.port()));
            more = format!(
                "smtpd_milters = {}\nmilter_default_action = tempfail\npolicyd-spf_time_limit = 3600\n",
                milters.join(" ")
            );
        }
    }
    let main = format!(
        "compatibility_level = 3.6\n\
         queue_directory = {queue}\ndata_directory = {data}\ncommand_directory = /usr/sbin\n\
         daemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\n\
         myhostname = mx.example.org\nmydestination =\nalias_maps =\nlocal_recipient_maps =\n\
         virtual_mailbox_domains = example.org\nvirtual_mailbox_maps = static:yes\nvirtual_transport = {transport}\n\
         inet_interfaces = all\ninet_protocols = ipv4\nmynetworks = {networks}\n\
         smtpd_recipient_restrictions = {restriction}\nsmtpd_relay_restrictions = permit_mynetworks, permit_auth_destination, reject\n\
         smtpd_client_event_limit_exceptions = 0.0.0.0/0\nsmtpd_client_connection_count_limit = 0\n\
         default_process_limit = 200\nin_flow_delay = 0\nmax_use = 100000\n\
         default_destination_concurrency_limit = {concurrency}\ndefault_destination_recipient_limit = 1\n\
         initial_destination_concurrency = {concurrency}\nlmtp_connection_cache_on_demand = yes\n\
         message_size_limit = 104857600\nmailbox_size_limit = 0\nqueue_minfree = 0\nbiff = no\n\
         smtpd_tls_security_level = none\n{more}",
        queue = queue.display(),
        data = data.display(),
    );
    fs::write(config.join("main.cf"), main)?;
    fs::write(config.join("master.cf"), master(&listens))?;
    run_quietly(Command::new("postfix").arg("-c").arg(&config).arg("check"))?;
    let log = directory.join("postfix.log");
    let mut command = Command::new("/usr/lib/postfix/sbin/master");
    command.arg("-d").arg("-c").arg(&config);
    let mut child = spawn(&mut command, &log)?;
    let ready = wait_for(&[address], &mut child, &log);
    let running = Running {
        processes: vec![child],
        directory: directory.to_path_buf(),
        smtp: Some(address),
        lmtp: None,
        submission: None,
        imap: None,
        imaps: None,
    };
    ready.map(|()| running)
}

/// The services that acceptance and LMTP delivery need.
fn master(address: &SocketAddr) -> String {
    format!(
        "{address} inet n - n - - smtpd\n\
         cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
         verify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\n\
         error unix - - n - - error\nretry unix - - n - - error\ndiscard unix - - n - - discard\n\
         lmtp unix - - n - - lmtp\nsmtp unix - - n - - smtp\nrelay unix - - n - - smtp\n\
         policyd-spf unix - n n - 0 spawn user=daemon argv=/usr/bin/policyd-spf\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n\
         pickup unix n - n 60 1 pickup\nshowq unix n - n - - showq\n"
    )
}
