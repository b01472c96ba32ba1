//! `ringpostctl spool`: mail that waits for storage, and copies of what storage has.

use std::time::{SystemTime, UNIX_EPOCH};

use admin::request::Request;
use admin::spool::Ask;
use clap::Subcommand;

use crate::leg::LegVerb;

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolVerb {
    /// Show what waits, what is kept, and how the spool's legs are
    Show,
    /// List the messages that wait for storage, and after them the copies that are kept
    List {
        /// Show at most this many messages
        #[arg(short = 'n', long)]
        count: Option<usize>,
    },
    /// Hand copies over to storage again after it lost mail; a mailbox that still has a message gets no second copy. What people deleted since comes back,
    /// and mail for other servers is sent again
    Redeliver {
        /// Take the copies that storage took over at this time or later: seconds since 1970, or how long ago, such as 6h or 90min [default: all copies]
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<u64>,
    },
    /// Read every live byte on every leg of the spool and repair what differs
    Scrub,
    /// Check the spool's volume while mail is taken; the exit status is 1 if anything is wrong
    Fsck {
        /// Check membership and known damage (`quick`), or also read every live byte and verify every message (`full`)
        #[arg(value_parser = ["quick", "full"], default_value = "quick")]
        how: String,
    },
    /// Give up mail in the spool that is damaged on every leg, so that the spool takes mail again; without --yes, list what would be lost
    AcceptDamage {
        /// Confirm
        #[arg(long)]
        yes: bool,
    },
    /// Manage the legs of the spool: the devices that each hold a full copy of it
    #[command(subcommand)]
    Leg(LegVerb),
}

/// Seconds since 1970.
fn since(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let ago: plan::Span = text
        .parse()
        .map_err(|_| "write seconds since 1970, or how long ago: 6h, 90min".to_owned())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    Ok(now.saturating_sub(ago.0.as_secs()))
}

impl SpoolVerb {
    pub(crate) fn request(&self) -> Result<Request, String> {
        let ask = match self {
            SpoolVerb::Show => Ask::Show,
            SpoolVerb::List { count } => Ask::List { count: *count },
            SpoolVerb::Redeliver { since } => Ask::Redeliver {
                since_unix_s: *since,
            },
            SpoolVerb::Scrub => Ask::Scrub,
            SpoolVerb::Fsck { how } => Ask::Fsck {
                full: how == "full",
            },
            SpoolVerb::AcceptDamage { yes } => Ask::AcceptDamage { yes: *yes },
            SpoolVerb::Leg(verb) => match verb.request()? {
                Request::LegAttach { path, fresh } => Ask::LegAttach { path, fresh },
                Request::LegDetach { leg } => Ask::LegDetach { leg },
                Request::LegFail { leg } => Ask::LegFail { leg },
                Request::LegRetire { leg } => Ask::LegRetire { leg },
                _ => Ask::LegList,
            },
        };
        Ok(Request::Spool { ask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_or_a_span_back_from_now() {
        assert_eq!(since("1800000000"), Ok(1_800_000_000));
        let (long, short) = (
            since("6h").expect("a span"),
            since("90min").expect("a span"),
        );
        assert!(short - long >= 6 * 3_600 - 90 * 60);
        assert!(since("yesterday").is_err());
    }
}
