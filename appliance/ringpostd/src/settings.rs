//! The command line, and the plan that follows from it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use client::relay::{FixedServer, Route};
use plan::limits::PORT_BASE_DEFAULT;
use plan::{Authentication, Machine, Misfit, Plan, Profile, Settings, Size};

use crate::listen::Ports;

/// Receives mail over SMTP, stores it on mirrored devices before it answers 250, and serves it over IMAP and POP3.
#[derive(Debug, Parser)]
#[command(name = "ringpostd", version)]
pub struct Flags {
    /// Run in trial mode: an ordinary process with file legs and demo accounts (the default without --config)
    #[arg(long, conflicts_with = "config")]
    pub trial: bool,
    /// Keep everything that trial mode stores in this directory [default: ./var]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Make each of the two leg files this large at the first start
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub leg_size: Size,
    /// Make each of the two files of the spool this large at the first start; 0 runs without a spool
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        conflicts_with = "config"
    )]
    pub spool_size: Size,
    /// Add this number to each standard port [default: 3000, or the next thousand whose ports are free]
    #[arg(long, value_name = "N", conflicts_with = "config")]
    pub port_base: Option<u16>,
    /// Run with this configuration file instead of trial mode
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use this hardware profile instead of the configured one: `generic` or a file
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Send all mail for elsewhere to this server, whatever its domain. Without it trial mode sends nothing; with --config the servers of
    /// each domain are looked up
    #[arg(long, value_name = "HOST:PORT")]
    pub outbound_to: Option<FixedServer>,
    /// Ask this name server; may be given up to three times. In trial mode mail by SMTP is then authenticated (SPF, DKIM, DMARC)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub name_server: Vec<SocketAddr>,
    /// Fetch mail from accounts elsewhere, as `ringpostctl fetch` says (with --config: `[fetch] enabled`)
    #[arg(long, conflicts_with = "config")]
    pub fetch: bool,
    /// Print the checked plan (cores, limits, memory, devices) and exit
    #[arg(long)]
    pub plan: bool,
    /// Print the plan as one JSON document
    #[arg(long, requires = "plan")]
    pub json: bool,
    /// Log at this level: error, warn, info, debug, or directives of the tracing crate
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Accept legs on other devices than those they were made on, because they were moved on purpose
    #[arg(long)]
    pub accept_moved: bool,
    /// Give up acknowledged mail that is damaged on every leg, if `ringpostctl volume accept-damage` cannot be used
    #[arg(long)]
    pub accept_damage: bool,
}

/// What to run, checked.
pub struct Chosen {
    pub plan: Plan,
    pub settings: Settings,
    pub trial: bool,
    pub ports: Ports,
    /// How mail for elsewhere leaves; `None`: it waits.
    pub route: Option<Route>,
}

impl Flags {
    pub fn choose(&self) -> Result<Chosen, Misfit> {
        let (mut settings, ports) = match &self.config {
            Some(path) => (Settings::load(path)?, Ports::Configured),
            None => {
                let state = self.state.clone().unwrap_or_else(|| "./var".into());
                let base = self.port_base.unwrap_or(PORT_BASE_DEFAULT);
                let ports = match self.port_base {
                    Some(_) => Ports::Asked,
                    None => Ports::FirstFree { base },
                };
                let mut settings = Settings::trial(&state, self.leg_size, base)?;
                settings.spool.size_trial(self.spool_size)?;
                if self.fetch {
                    settings.fetch = plan::fetch::Fetch::on();
                }
                (settings, ports)
            }
        };
        let trial = ports != Ports::Configured;
        if let Some(state) = &self.state {
            settings.server.state = state.clone();
        }
        if !self.name_server.is_empty() {
            settings.ask(&self.name_server)?;
            if trial {
                settings.inbound.authentication = Authentication::Enforce;
            }
        }
        if let Some(profile) = &self.profile {
            settings.server.profile = Some(profile.clone());
        }
        if let Some(level) = &self.log {
            settings.log.level = level.clone();
        } else if trial {
            // The one screen stays readable; `--log info` shows every message's way.
            settings.log.level = "warn".into();
        }
        let profile = Profile::load(settings.profile())?;
        let machine = Machine {
            open_files: runtime::process::open_files_max(),
            ..Machine::of(&hardware::probe(Path::new("/")))
        };
        let plan = Plan::make(&settings, &profile, &machine)?;
        let route = match (&self.outbound_to, trial) {
            (Some(server), _) => Some(Route::Fixed(server.clone())),
            // A demo writes to no server that it was not told of.
            (None, true) => Some(Route::Nowhere),
            (None, false) => Some(Route::Exchangers { port: 25 }),
        };
        Ok(Chosen {
            plan,
            settings,
            trial,
            ports,
            route,
        })
    }
}

/// The plan may not see the crates that it plans for; here both are seen. Each number of `plan::limits` that is another crate's, or covers
/// one, is tied to it.
#[cfg(test)]
mod tests {
    use client::imap::limits as imap;
    use plan::limits::*;
    use storage::owner::LANE_ITEMS_MAX;

    #[test]
    fn the_plan_counts_the_control_socket_with_all_its_clients() {
        assert_eq!(
            CONTROL_DESCRIPTORS,
            crate::admin::limits::CLIENTS_MAX as u64 + 1
        );
    }

    #[test]
    fn the_plan_counts_buffers_and_segments_as_the_volume_has_them() {
        let batch = volume::BATCH_BYTES_MAX as u64;
        assert_eq!(BATCH_BUFFER_BYTES, batch);
        assert_eq!(SEGMENT_BYTES_MIN, 4 * batch, "four full batches");
        let (wanted, possible) = (LEGS_MAX, volume::limits::LEGS_MAX);
        assert!(wanted <= possible, "{wanted} legs, {possible} fit");
        let segments = store::limits::SEGMENTS_MIN as u64;
        assert!(
            LEG_BYTES_MIN >= segments * SEGMENT_BYTES_MIN,
            "the smallest leg holds the reserve and some mail"
        );
    }

    #[test]
    fn the_plan_has_memory_for_the_largest_message_and_for_every_account_s_share() {
        let body = store::limits::BODY_BYTES_MAX as u64;
        assert!(MESSAGE_BYTES_DEFAULT <= body);
        assert!(READ_BYTES_MIN > body, "one largest, and some of others'");
        assert!(READ_BYTES_MIN >= imap::READING_SHARE_BYTES_MIN as u64);
        let share = imap::SENDING_SHARE_BYTES_MIN as u64;
        assert_eq!(SEND_BYTES_MIN, imap::SENDING_SHARE as u64 * share);
        assert!(
            LANE_BYTES / LANE_ITEMS_MAX as u64 >= 1_024,
            "a closure with its captures"
        );
    }

    #[test]
    fn the_plan_counts_what_looking_names_up_holds() {
        assert!(RESOLVER_BYTES as usize >= dns::limits::RESOLVER_BYTES_MAX);
        assert_eq!(NAME_SERVERS_MAX, dns::limits::SERVERS_MAX);
        let sockets = 2 * dns::limits::LOOKUPS_MAX as u64;
        assert_eq!(RESOLVER_DESCRIPTORS, sockets);
    }

    #[test]
    fn the_plan_counts_what_sending_holds() {
        use client::relay::limits::{CONNECTIONS_MAX, LETTERS_MAX, SOURCE_RESTS_MAX, TRY_BYTES};
        let bytes = SENDING_BYTES as usize;
        assert!(bytes / 4 >= TRY_BYTES, "a destination's share holds a try");
        // A connection of its own fetches a policy meanwhile, and ends first.
        let each = runtime::limits::DIALLED_BYTES
            + runtime::limits::READ_BYTES_MAX
            + client::relay::limits::STS_UNCHARGED_BYTES;
        // A message's envelope in hand: mostly small.
        // A site's name and its place in the table.
        let resting = SOURCE_RESTS_MAX * 512;
        let held = CONNECTIONS_MAX * each + LETTERS_MAX * 2_048 + resting;
        assert!(SENDING_CONNECTIONS_BYTES as usize >= held);
        assert_eq!(SENDING_CONNECTIONS_MAX as usize, CONNECTIONS_MAX);
    }

    #[test]
    fn the_plan_counts_zones_on_several_machines() {
        use inbound::afar::limits as afar;
        assert_eq!(HANDING_CONNECTIONS as usize, afar::CONNECTIONS_MAX);
        assert_eq!(STORAGE_NODES_MAX, afar::TARGETS_MAX);
        let each = runtime::limits::DIALLED_BYTES
            + runtime::limits::READ_BYTES_MAX
            // A piece as it is, doubled dots, and under TLS.
            + 3 * afar::PIECE_BYTES;
        assert!(HANDING_CONNECTION_BYTES as usize >= each);
        assert_eq!(
            RECIPIENTS_BYTES as usize,
            storage::recipients::TABLE_BYTES_MAX
        );
    }

    #[test]
    fn the_plan_counts_what_a_front_holds() {
        use client::front::limits as front;
        let before_login = 24 * 1_024;
        assert_eq!(
            FRONT_SESSION_BYTES as usize,
            front::SESSION_BYTES + before_login
        );
        assert!(before_login >= front::LINE_BYTES_MAX);
    }

    #[test]
    fn the_plan_counts_what_a_spool_holds() {
        let buffers = SPOOL_BATCH_BUFFERS as u64 * BATCH_BUFFER_BYTES;
        let cached = volume::limits::READ_CACHE_BYTES_MAX as u64;
        assert!(SPOOL_ENGINE_BYTES >= buffers + SPOOL_PROJECTION_CACHE_BYTES + cached);
        // An id and who has it, by place and by id; and lists of those who have it where others were refused.
        let ids = 2 * queue::ARRIVED_WINDOW as u64;
        assert!(SPOOL_IDS_BYTES >= 2 * ids * (16 + 24 + 16 + 16 + 16));
        let handed = inbound::spool::limits::HANDED_BYTES as u64;
        assert_eq!(SPOOL_HANDED_BYTES, handed);
        const { assert!(SPOOL_MESSAGES_MAX < queue::limits::ENTRIES_MAX) };
        const { assert!(SPOOL_ADDRESSEES_MAX < queue::limits::ADDRESSEES_MAX) };
        // One message with every recipient fits.
        const { assert!(SPOOL_ADDRESSEES_MAX > queue::limits::RECIPIENTS_MAX) };
    }

    #[test]
    fn the_plan_counts_policies_of_other_domains() {
        use client::relay::limits::*;
        use mailbox::names::{KEPT_POLICIES_BYTES_MAX, KEPT_POLICIES_MAX};
        // Beside its octets: two texts, a name and a place in the tree.
        let kept = KEPT_POLICIES_BYTES_MAX + KEPT_POLICIES_MAX * 256;
        let known = STS_KNOWN_MAX * STS_KNOWN_BYTES + STS_UNKEPT_MAX * STS_UNKEPT_BYTES;
        assert!(POLICIES_BYTES as usize >= kept + known);
    }

    #[test]
    fn the_plan_counts_a_connection_as_dear_as_the_runtime_makes_it() {
        use runtime::limits::{CONNECTION_BYTES, READ_BYTES_MAX, READ_BYTES_MIN, TLS_BYTES};
        let at_rest = (CONNECTION_BYTES + TLS_BYTES) as u64;
        let at_work = at_rest + READ_BYTES_MAX as u64;
        assert!(SMTP_CONNECTION_BYTES >= at_work);
        assert!(IMAP_CONNECTION_BYTES >= at_work);
        assert!(IMAP_CONNECTION_BYTES >= at_rest + imap::OUTPUT_BYTES_MAX as u64);
        // A piece, what is ready of it (a chunk with doubled dots beside what is full), a list.
        let pop3 = imap::LEAST_BYTES
            + client::pop3::limits::OUTPUT_BYTES_MAX
            + 2 * client::pop3::limits::WIRE_BYTES
            + client::pop3::limits::LISTED_BYTES;
        assert!(POP3_CONNECTION_BYTES >= at_rest + pop3 as u64);
        assert!(POP3_CONNECTION_BYTES >= at_work + client::pop3::limits::LISTED_BYTES as u64);
        // A command as it is read and as words, and a list of names that are all escapes in a buffer that doubled.
        let names = scripts::limits::SCRIPTS_PER_OWNER_MAX * scripts::limits::NAME_BYTES_MAX;
        let managesieve = 2 * client::managesieve::limits::COMMAND_BYTES_MAX + 2 * names;
        assert!(MANAGESIEVE_CONNECTION_BYTES >= at_work + managesieve as u64);
        assert!(HTTP_CONNECTION_BYTES >= at_rest + READ_BYTES_MIN as u64);
    }
}
