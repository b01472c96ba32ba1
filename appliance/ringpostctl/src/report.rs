//! `ringpostctl report`: what other domains reported of ours, and what is reported to them.

use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ReportVerb {
    /// List the domains that others reported on to us, and those that we count for
    List,
    /// Show the figures of a domain day by day
    Show {
        /// Show this domain
        domain: String,
    },
    /// Make the reports that wait at once; what is seen later on the same day is not reported any more
    Send {
        /// Report on this day only, such as 2026-11-30 (UTC)
        #[arg(long)]
        day: Option<String>,
        /// Report to this domain only
        #[arg(long)]
        domain: Option<String>,
    },
}

impl ReportVerb {
    pub(crate) fn request(&self) -> Request {
        match self {
            ReportVerb::List => Request::ReportList,
            ReportVerb::Show { domain } => Request::ReportShow {
                domain: domain.clone(),
            },
            ReportVerb::Send { day, domain } => Request::ReportSend {
                day: day.clone(),
                domain: domain.clone(),
            },
        }
    }
}
