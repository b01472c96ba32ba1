//! The words of `ringpostctl` about the legs of a volume: `leg` for the mail's, `spool leg` for the spool's.

use std::path::PathBuf;

use admin::request::Request;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum LegVerb {
    /// List every leg with its state and its device
    List,
    /// Add a leg to the mirror: one that returned, or a blank device
    Attach {
        /// Add the leg at this path
        path: PathBuf,
        /// First create a blank file of the right size at PATH
        #[arg(long)]
        fresh: bool,
    },
    /// Take a leg out of the mirror and close its device
    Detach {
        /// Name the leg by its number, path or id, as `leg list` shows them
        leg: String,
    },
    /// Remove a leg that will not return from the membership
    Retire {
        /// Name the leg by its number, path or id, as `leg list` shows them
        leg: String,
    },
    /// Mark a leg as failed and take it out of the mirror
    Fail {
        /// Name the leg by its number, path or id, as `leg list` shows them
        leg: String,
    },
}

impl LegVerb {
    pub(crate) fn request(&self) -> Result<Request, String> {
        Ok(match self {
            LegVerb::List => Request::LegList,
            LegVerb::Attach { path, fresh } => {
                // The daemon may have been started elsewhere.
                let path = std::path::absolute(path).map_err(|error| error.to_string())?;
                Request::LegAttach {
                    path: path.display().to_string(),
                    fresh: *fresh,
                }
            }
            LegVerb::Detach { leg } => Request::LegDetach { leg: leg.clone() },
            LegVerb::Retire { leg } => Request::LegRetire { leg: leg.clone() },
            LegVerb::Fail { leg } => Request::LegFail { leg: leg.clone() },
        })
    }
}
