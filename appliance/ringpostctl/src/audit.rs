//! `ringpostctl audit`: every login, in lines that cannot be changed unnoticed. `ringpostctl oauth`: providers whose tokens log in.

use admin::logins::Ask;
use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// List the last logins, the newest last
    List {
        /// Only those of this account or address
        #[arg(long)]
        of: Option<String>,
        /// List so many at most
        #[arg(long, default_value = "100")]
        count: usize,
    },
    /// Check that every line is as it was written; the exit status is 1 if one is not
    Verify,
}

impl AuditVerb {
    pub(crate) fn request(&self) -> Request {
        let ask = match self {
            AuditVerb::List { of, count } => Ask::AuditList {
                of: of.clone(),
                count: Some(*count),
            },
            AuditVerb::Verify => Ask::AuditVerify,
        };
        Request::Logins { ask }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum OauthVerb {
    /// Show each provider of `[[oauth]]`: whether its keys are there, when it last answered, and how many tokens were good
    Status,
}

impl OauthVerb {
    pub(crate) fn request(&self) -> Request {
        let OauthVerb::Status = self;
        Request::Logins {
            ask: Ask::OauthStatus,
        }
    }
}
