//! Files for others to read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use plan::Misfit;

/// The user that the daemon runs as, where the image has one.
const USER: &str = "ringpost";

/// Replaces a file as a whole, durably, with this mode.
pub fn replace(path: &Path, text: &str, mode: u32) -> Result<(), Misfit> {
    let write = || -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent)?;
        let fresh = path.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(parent)?.sync_all()
    };
    write().map_err(|error| Misfit::new(format!("cannot write {}: {error}", path.display())))
}

/// Hands a file or directory to the daemon's user, where there is one and we may.
pub fn hand_over(root: &Path, path: &Path) -> Result<(), Misfit> {
    let Some((user, group)) = daemon_user(root) else {
        return Ok(());
    };
    std::os::unix::fs::chown(path, Some(user), Some(group))
        .map_err(|error| Misfit::new(format!("cannot give {} to {USER}: {error}", path.display())))
}

/// `ringpost:x:990:990:…` in `/etc/passwd`.
fn daemon_user(root: &Path) -> Option<(u32, u32)> {
    let users = fs::read_to_string(root.join("etc/passwd")).ok()?;
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(USER))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
