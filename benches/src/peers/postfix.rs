//! Postfix from Debian's package, with a configuration of its own. It is tuned as a careful administrator would for
//! throughput on one box (no rate limits, no in-flow delay, enough processes); durability settings are its defaults.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Running, free_address, run_quietly, spawn, wait_for};

/// Where the mail goes after it was accepted.
pub enum Delivery<'a> {
    /// Straight to the hold queue: nothing is done after acceptance (the least that Postfix can do durably).
    Hold,
    /// To an LMTP server (Dovecot's).
    Lmtp(&'a SocketAddr),
}

/// Postfix drops its privileges itself and must be started by root.
pub fn start(directory: &Path, delivery: &Delivery<'_>) -> io::Result<Running> {
    let config = directory.join("postfix");
    let queue = directory.join("postfix-queue");
    let data = directory.join("postfix-data");
    for path in [&config, &queue, &data] {
        fs::create_dir_all(path)?;
    }
    run_quietly(Command::new("chown").arg("postfix").arg(&data))?;
    let address = free_address()?;
    let (restriction, transport, concurrency) = match delivery {
        Delivery::Hold => (
            "check_client_access static:hold, permit_mynetworks, reject".to_string(),
            "discard:",
            1,
        ),
        Delivery::Lmtp(_) => ("permit_mynetworks, reject".to_string(), "", 50),
    };
    let transport = match delivery {
        Delivery::Hold => transport.to_string(),
        Delivery::Lmtp(server) => format!("lmtp:inet:{}:{}", server.ip(), server.port()),
    };
    let main = format!(
        "compatibility_level = 3.6\n\
         queue_directory = {queue}\ndata_directory = {data}\ncommand_directory = /usr/sbin\n\
         daemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\n\
         myhostname = mx.example.org\nmydestination =\nalias_maps =\nlocal_recipient_maps =\n\
         virtual_mailbox_domains = example.org\nvirtual_mailbox_maps = static:yes\nvirtual_transport = {transport}\n\
         inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
         smtpd_recipient_restrictions = {restriction}\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
         smtpd_client_event_limit_exceptions = 127.0.0.0/8\nsmtpd_client_connection_count_limit = 0\n\
         default_process_limit = 200\nin_flow_delay = 0\nmax_use = 100000\n\
         default_destination_concurrency_limit = {concurrency}\ndefault_destination_recipient_limit = 1\n\
         initial_destination_concurrency = {concurrency}\nlmtp_connection_cache_on_demand = yes\n\
         message_size_limit = 104857600\nmailbox_size_limit = 0\nqueue_minfree = 0\nbiff = no\n\
         smtpd_tls_security_level = none\n",
        queue = queue.display(),
        data = data.display(),
    );
    fs::write(config.join("main.cf"), main)?;
    fs::write(config.join("master.cf"), master(&address))?;
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
         lmtp unix - - n - - lmtp\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n\
         pickup unix n - n 60 1 pickup\nshowq unix n - n - - showq\n"
    )
}
