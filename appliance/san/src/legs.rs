//! Which leg the engine is to take back.

use std::path::Path;

use admin::reply::LegLine;
use admin::request::Request;
use hardware::san::PathLine;

/// What the engine reports about its legs, and how it is asked to take one.
pub trait Engine {
    /// `None`: it does not answer (it may be starting).
    fn legs(&self) -> Option<Vec<LegLine>>;
    /// Admits the leg at this path. `Err`: why not.
    fn attach(&self, path: &str) -> Result<(), String>;
}

/// The daemon behind its control socket.
pub struct Daemon<'a> {
    pub socket: &'a Path,
}

impl Engine for Daemon<'_> {
    fn legs(&self) -> Option<Vec<LegLine>> {
        let answer = admin::client::ask(self.socket, &Request::LegList).ok()?;
        serde_json::from_value(answer).ok()
    }

    fn attach(&self, path: &str) -> Result<(), String> {
        let request = Request::LegAttach {
            path: path.into(),
            fresh: false,
        };
        admin::client::ask(self.socket, &request).map(|_| ())
    }
}

/// The disk is there, and data can flow to it.
pub fn is_here(root: &Path, paths: &[PathLine], leg: &str) -> bool {
    let mut ways = paths
        .iter()
        .filter(|path| path.legs.iter().any(|name| name == leg));
    ways.any(|path| path.usable) && root.join(leg.trim_start_matches('/')).exists()
}

/// Whether the engine should be given this leg, which is here.
pub fn is_wanted(lines: &[LegLine], leg: &str) -> bool {
    let line = lines.iter().find(|line| line.path.as_deref() == Some(leg));
    match line {
        // It was never open since the engine started.
        None => true,
        Some(line) => match line.state.as_str() {
            "stale" | "failed" => !line
                .why
                .as_deref()
                .is_some_and(|why| why.contains(admin::reply::BY_THE_OPERATOR)),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use plan::shape::San;

    use super::*;

    fn line(path: Option<&str>, state: &str, why: Option<&str>) -> LegLine {
        LegLine {
            index: 0,
            id: "x".into(),
            state: state.into(),
            path: path.map(str::to_owned),
            progress: None,
            repairs: 0,
            read_faults: 0,
            write_faults: 0,
            stale_since: None,
            why: why.map(str::to_owned),
        }
    }

    #[test]
    fn a_leg_that_left_by_itself_is_wanted_and_one_that_was_taken_out_is_not() {
        let told =
            |state: &str, why: Option<&str>| is_wanted(&[line(Some("/l"), state, why)], "/l");
        assert!(told("failed", Some("a write failed: I/O error")));
        assert!(told("stale", None));
        for state in ["in_sync", "catching_up", "rebuilding", "bridge", "spare"] {
            assert!(!told(state, None), "{state}");
        }
        for verb in ["failed", "detached"] {
            let why = format!("{verb} {}", admin::reply::BY_THE_OPERATOR);
            assert!(!told("failed", Some(&why)), "{why}");
        }
        assert!(
            is_wanted(&[line(None, "stale", None)], "/l"),
            "absent since the start"
        );
    }

    #[test]
    fn a_disk_without_a_usable_path_is_not_here() {
        let directory = tempfile::tempdir().expect("a directory");
        let leg = "/dev/disk/by-id/x";
        let mut path = PathLine {
            kind: San::Iscsi,
            target: "t".into(),
            address: "a".into(),
            usable: true,
            state: "LOGGED_IN".into(),
            why: None,
            devices: Vec::new(),
            legs: vec![leg.into()],
        };
        let here = |path: &PathLine| is_here(directory.path(), std::slice::from_ref(path), leg);
        assert!(!here(&path), "no such file");
        std::fs::create_dir_all(directory.path().join("dev/disk/by-id")).expect("our own");
        std::fs::write(directory.path().join(&leg[1..]), "").expect("our own");
        assert!(here(&path));
        path.usable = false;
        assert!(!here(&path));
    }
}
