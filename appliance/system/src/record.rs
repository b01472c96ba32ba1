//! Which disks are the system disks of one installation, and which of them missed something: a small file on each ESP.
//!
//! What must hold: before a disk misses a change, the others say so under a higher revision. The disk with the highest revision leads, so a disk that comes back after months never overwrites what happened meanwhile.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use files::Mode;
use serde::{Deserialize, Serialize};

use crate::limits::RECORD_BYTES_MAX;

/// Below the root of an ESP.
pub const FILE: &str = "ringpost/system.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Drawn once; another box's disk has another one.
    pub installation: String,
    pub revision: u64,
    pub disks: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// GPT identifier of its ESP.
    pub esp: String,
    /// For people: its name below `/dev/disk/by-id`.
    pub name: String,
    /// It was not there, or failed, when the others changed.
    pub behind: bool,
}

impl Member {
    pub fn new(esp: &str, name: &str) -> Member {
        Member {
            esp: esp.to_owned(),
            name: name.to_owned(),
            behind: false,
        }
    }
}

impl Record {
    /// A new installation. `Err`: the kernel gives no random name.
    pub fn new(disks: Vec<Member>) -> Result<Record, String> {
        let random = "/proc/sys/kernel/random/uuid";
        let installation =
            fs::read_to_string(random).map_err(|error| format!("{random}: {error}"))?;
        Ok(Record {
            installation: installation.trim().to_owned(),
            revision: 1,
            disks,
        })
    }

    /// `None`: this ESP belongs to no installation. One that cannot be read is an error, never none.
    pub fn load(esp: &Path) -> Result<Option<Record>, String> {
        let path = esp.join(FILE);
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut text = String::new();
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(&error)),
            Ok(file) => file
                .take(RECORD_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(|error| told(&error))?,
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| told(&error))
    }

    /// Whole or not at all, and durable.
    pub fn store(&self, esp: &Path) -> Result<(), String> {
        let path = esp.join(FILE);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(esp))?;
            let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
            files::replace(&path, &bytes, Mode::Umask)
        };
        write().map_err(|error| format!("{}: {error}", path.display()))
    }

    pub fn lists(&self, esp: &str) -> bool {
        self.disks.iter().any(|member| member.esp == esp)
    }

    /// Notes who lags and who does not; `true`: that was news, and the revision is higher.
    pub fn note(&mut self, behind: impl Fn(&Member) -> bool) -> bool {
        let before = self.disks.clone();
        for member in &mut self.disks {
            member.behind = behind(member);
        }
        let news = self.disks != before;
        self.revision += u64::from(news);
        news
    }
}

/// Before the slots on this ESP change: the others have not got that yet. Nothing where there is no record.
pub fn raise(esp: &Path) -> Result<(), String> {
    let Some(mut record) = Record::load(esp)? else {
        return Ok(());
    };
    record.revision += 1;
    record.store(esp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_broken_one_is_not_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let esp = folder.path();
        assert_eq!(Record::load(esp), Ok(None));
        raise(esp).expect("nothing to raise");
        assert_eq!(Record::load(esp), Ok(None));
        let record = Record::new(vec![Member::new("a", "nvme-A")]).expect("a name");
        record.store(esp).expect("stored");
        assert_eq!(Record::load(esp), Ok(Some(record.clone())));
        raise(esp).expect("raised");
        let raised = Record::load(esp).expect("read").expect("there");
        assert_eq!(raised.revision, record.revision + 1);
        fs::write(esp.join(FILE), "{\"installation\"").expect("cut short");
        assert!(Record::load(esp).is_err() && raise(esp).is_err());
    }

    #[test]
    fn only_news_raises_the_revision() {
        let members = vec![Member::new("a", "A"), Member::new("b", "B")];
        let mut record = Record::new(members).expect("a name");
        assert!(record.note(|member| member.esp == "b"));
        assert!(!record.note(|member| member.esp == "b"));
        assert_eq!(record.revision, 2);
        assert!(record.note(|_| false));
        assert_eq!(record.revision, 3);
    }
}
