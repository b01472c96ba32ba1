//! Files for others to read.

use std::fs;
use std::path::Path;

pub use files::Mode;
use plan::Misfit;

/// The user that the daemon runs as, where the image has one.
const USER: &str = "ringpost";

/// Replaces a file as a whole, durably; makes the folder where it is missing.
pub fn replace(path: &Path, text: &str, mode: Mode) -> Result<(), Misfit> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
        .and_then(|()| files::replace(path, text.as_bytes(), mode))
        .map_err(|error| Misfit::new(format!("cannot write {}: {error}", path.display())))
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
