//! `ringpostctl sieve`: scripts that filter mail.

use std::io::Read;
use std::path::{Path, PathBuf};

use admin::request::Request;
use admin::scripts::{Ask, Whose};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum SieveVerb {
    /// List the scripts of an account, of a domain, or of the whole server
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Show the text of a script as it is stored
    Show {
        /// Show the script with this name; without it, the active one
        name: Option<String>,
        #[command(flatten)]
        of: Of,
    },
    /// Store a script from a file; a script with errors is not stored, and the first error is shown with its place
    Put {
        /// Store it under this name, in place of a script with the same name
        name: String,
        /// Read the script from this file
        file: PathBuf,
        #[command(flatten)]
        of: Of,
        /// Make it the active script, too
        #[arg(long)]
        activate: bool,
    },
    /// Make a script the active one: mail is filtered by it from now on
    Activate {
        /// Activate the script with this name
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Leave the account, the domain or the server without an active script; its scripts stay stored
    Deactivate {
        #[command(flatten)]
        of: Of,
    },
    /// Remove a script that is not active
    Remove {
        /// Remove the script with this name
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Check a script in a file for errors; nothing is stored
    Check {
        /// Read the script from this file
        file: PathBuf,
    },
}

/// Whose scripts.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Of {
    /// Use the scripts of this account, such as alice@example.org
    #[arg(long)]
    account: Option<String>,
    /// Use the scripts of this domain, which filter the mail of all its people before their own scripts do
    #[arg(long)]
    domain: Option<String>,
    /// Use the scripts of the whole server, which filter all mail before all other scripts do
    #[arg(long)]
    global: bool,
}

impl Of {
    fn whose(&self) -> Whose {
        match (&self.account, &self.domain) {
            (Some(account), _) => Whose::Account(account.clone()),
            (None, Some(domain)) => Whose::Domain(domain.clone()),
            (None, None) => Whose::Global,
        }
    }
}

impl SieveVerb {
    pub(crate) fn request(&self) -> Result<Request, String> {
        let ask = match self {
            SieveVerb::List { of } => Ask::List { of: of.whose() },
            SieveVerb::Show { name, of } => Ask::Show {
                of: of.whose(),
                name: name.clone(),
            },
            SieveVerb::Put {
                name,
                file,
                of,
                activate,
            } => Ask::Put {
                of: of.whose(),
                name: name.clone(),
                text: read(file)?,
                activate: *activate,
            },
            SieveVerb::Activate { name, of } => Ask::Activate {
                of: of.whose(),
                name: name.clone(),
            },
            SieveVerb::Deactivate { of } => Ask::Deactivate { of: of.whose() },
            SieveVerb::Remove { name, of } => Ask::Remove {
                of: of.whose(),
                name: name.clone(),
            },
            SieveVerb::Check { file } => Ask::Check { text: read(file)? },
        };
        Ok(Request::Scripts { ask })
    }
}

fn read(file: &Path) -> Result<String, String> {
    let told = |why: String| format!("{}: {why}", file.display());
    let opened = std::fs::File::open(file).map_err(|error| told(error.to_string()))?;
    let mut bytes = Vec::new();
    opened
        .take(SCRIPT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| told(error.to_string()))?;
    if bytes.len() as u64 > SCRIPT_BYTES_MAX {
        return Err(told("it is larger than 256 KiB: name a script".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| told("it is not UTF-8: save the file as UTF-8".to_owned()))
}

/// What the daemon takes.
const SCRIPT_BYTES_MAX: u64 = scripts::limits::SCRIPT_BYTES_MAX as u64;
/// As JSON every byte of a script may be two; more are escapes of control characters, which a script has few of.
const _: () = assert!(2 * SCRIPT_BYTES_MAX <= admin::limits::REQUEST_BYTES_MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_script_is_refused_here() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.sieve");
        std::fs::write(&path, b"keep;\xff").expect("ours");
        assert!(read(&path).expect_err("no text").contains("UTF-8"));
        let large = vec![b'#'; SCRIPT_BYTES_MAX as usize + 1];
        std::fs::write(&path, large).expect("ours");
        assert!(read(&path).expect_err("large").contains("256 KiB"));
        std::fs::write(&path, "keep;\r\n").expect("ours");
        assert_eq!(read(&path).as_deref(), Ok("keep;\r\n"));
    }
}
