//! Opening what a leg lives on, alone: block devices with O_EXCL, files with a lock; O_DIRECT wherever it exists.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use device::{BLOCK_BYTES, BlockingRead, Buffer, Geometry, IoFault};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg};
use nix::libc;
use nix::unistd::linkat;

use crate::Misfit;
use crate::fault;
use crate::limits::{BLOCKING_READ_BYTES, CREATE_WRITE_BYTES, OPEN_RETRY_MS, OPEN_RETRY_PAUSE_MS};

/// A leg's file or block device, held exclusively until dropped.
pub struct OpenLeg {
    hold: Hold,
    pub path: PathBuf,
    pub geometry: Geometry,
    pub is_file: bool,
}

/// How the device is kept from other processes.
enum Hold {
    /// O_EXCL on a block device keeps mounts and other openers out.
    Exclusive(File),
    /// A lock on the file: a second Ringpost is refused.
    Locked(Flock<File>),
}

impl OpenLeg {
    /// For the ring's file table and the blocking reader.
    pub fn file(&self) -> &File {
        match &self.hold {
            Hold::Exclusive(file) => file,
            Hold::Locked(file) => file,
        }
    }

    /// Whether a file leg is still whole: linked, and as long as when it was opened. Always true of a block device.
    pub fn is_whole(&self) -> bool {
        if !self.is_file {
            return true;
        }
        match self.file().metadata() {
            Ok(metadata) => metadata.nlink() > 0 && metadata.size() >= self.geometry.capacity_bytes,
            Err(_) => false,
        }
    }

    /// A reader of its own descriptor and buffer for the index thread. Fails when no descriptor is left.
    pub fn blocking_reader(&self) -> Result<Arc<dyn BlockingRead>, Misfit> {
        let file = self
            .file()
            .try_clone()
            .map_err(|error| Misfit::new(&self.path, error))?;
        let bounce = Mutex::new(Buffer::zeroed(BLOCKING_READ_BYTES));
        Ok(Arc::new(Blocking { file, bounce }))
    }
}

/// Opens `path` for this process alone. Tries again for `OPEN_RETRY_MS` while another process holds it.
pub fn open(path: &Path) -> Result<OpenLeg, Misfit> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Misfit(format!(
            "{}: there is no such leg; create it, or correct the path",
            path.display()
        )),
        _ => Misfit::new(path, error),
    })?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(Misfit(format!(
            "{} is a directory; a leg is a file or a block device",
            path.display()
        )));
    }
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Misfit(format!(
            "{} is neither a file nor a block device",
            path.display()
        )));
    }
    let is_file = kind.is_file();
    let give_up = Instant::now() + Duration::from_millis(OPEN_RETRY_MS);
    let (hold, direct) = loop {
        // until it is ours or time is up
        match hold(path, is_file) {
            Ok(held) => break held,
            Err(errno) if is_held(errno) && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(OPEN_RETRY_PAUSE_MS));
            }
            Err(errno) if is_held(errno) => {
                return Err(Misfit(format!(
                    "{} is in use by another process (or mounted); stop that first",
                    path.display()
                )));
            }
            Err(errno) => return Err(Misfit::new(path, errno.into())),
        }
    };
    let mut leg = OpenLeg {
        hold,
        path: path.to_owned(),
        geometry: Geometry {
            capacity_bytes: 0,
            stable_id: stable_id(&metadata, is_file),
            direct,
        },
        is_file,
    };
    let capacity_bytes = leg
        .file()
        .seek(SeekFrom::End(0))
        .map_err(|error| Misfit::new(path, error))?;
    if capacity_bytes == 0 {
        return Err(Misfit(format!(
            "{} is empty; a leg must have its full size",
            path.display()
        )));
    }
    if !capacity_bytes.is_multiple_of(BLOCK_BYTES as u64) {
        return Err(Misfit(format!(
            "{} has {capacity_bytes} bytes, which is not a multiple of {BLOCK_BYTES}; a leg must be",
            path.display()
        )));
    }
    leg.geometry.capacity_bytes = capacity_bytes;
    Ok(leg)
}

/// Another process has the device or the lock.
fn is_held(errno: Errno) -> bool {
    matches!(errno, Errno::EBUSY | Errno::EWOULDBLOCK)
}

/// One try: O_DIRECT first, through the page cache where the file system has none.
fn hold(path: &Path, is_file: bool) -> Result<(Hold, bool), Errno> {
    let exclusive = if is_file { 0 } else { libc::O_EXCL };
    let open = |extra: i32| {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC | exclusive | extra);
        options
            .open(path)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    };
    let (file, direct) = match open(libc::O_DIRECT) {
        Ok(file) => (file, true),
        Err(Errno::EINVAL) => (open(0)?, false),
        Err(errno) => return Err(errno),
    };
    if !is_file {
        return Ok((Hold::Exclusive(file), direct));
    }
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok((Hold::Locked(file), direct)),
        Err((_, errno)) => Err(errno),
    }
}

/// The device's own name from sysfs; for a file the file system's number and the inode.
fn stable_id(metadata: &std::fs::Metadata, is_file: bool) -> String {
    if is_file {
        return format!("file-{:x}-{}", metadata.dev(), metadata.ino());
    }
    let (major, minor) = (
        nix::sys::stat::major(metadata.rdev()),
        nix::sys::stat::minor(metadata.rdev()),
    );
    let names = ["wwid", "device/wwid", "serial", "device/serial"];
    let named = names.iter().find_map(|name| {
        let text =
            std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{name}")).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    });
    named.unwrap_or_else(|| format!("block-{major}-{minor}"))
}

/// Creates a file of `bytes` (a multiple of `BLOCK_BYTES`) to serve as a leg, written through once: a file that was only
/// allocated pays a journal commit for every durable write into its unwritten extents. `progress` gets the bytes done.
///
/// Refuses a path that exists. The file gets its name when it is whole: whatever ends this process earlier leaves nothing
/// behind (except on file systems without O_TMPFILE, where a kill leaves a part of it).
pub fn create_file_leg(
    path: &Path,
    bytes: u64,
    mut progress: impl FnMut(u64),
) -> Result<(), Misfit> {
    if bytes == 0 || !bytes.is_multiple_of(BLOCK_BYTES as u64) {
        return Err(Misfit(format!(
            "a leg of {bytes} bytes: the size must be a positive multiple of {BLOCK_BYTES}"
        )));
    }
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(exists(path));
    }
    let told = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => exists(path),
        ErrorKind::StorageFull => Misfit(format!(
            "{}: the file system has no room for a leg of {bytes} bytes",
            path.display()
        )),
        _ => Misfit::new(path, error),
    };
    if let Some(file) = nameless(parent(path)).map_err(told)? {
        return fill(&file, bytes, &mut progress)
            .and_then(|()| give_name(&file, path))
            .and_then(|()| sync_directory(path))
            .map_err(told);
    }
    let file = create_new(path).map_err(told)?;
    let filled = fill(&file, bytes, &mut progress).and_then(|()| sync_directory(path));
    filled.map_err(|error| {
        // Ours: `create_new` made it, and it holds nothing but zeroes.
        match std::fs::remove_file(path) {
            Ok(()) => told(error),
            Err(_) => Misfit(format!("{}; a part of it may have stayed", told(error))),
        }
    })
}

/// The sentence for a leg that would be made over a file.
fn exists(path: &Path) -> Misfit {
    Misfit(format!(
        "{} exists already; remove it or choose another path",
        path.display()
    ))
}

/// The directory of `path`; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A file in `directory` that has no name yet; `None` where the file system cannot do that.
fn nameless(directory: &Path) -> std::io::Result<Option<File>> {
    let open = |extra: i32| {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC | extra);
        options.open(directory)
    };
    let opened = match open(libc::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(0),
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Never in the place of another file: the kernel refuses a name that is taken.
fn give_name(file: &File, path: &Path) -> std::io::Result<()> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(
        AT_FDCWD,
        own.as_str(),
        AT_FDCWD,
        path,
        AtFlags::AT_SYMLINK_FOLLOW,
    )
    .map_err(std::io::Error::from)
}

/// With O_DIRECT where that exists.
fn create_new(path: &Path) -> std::io::Result<File> {
    let create = |extra: i32| {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_CLOEXEC | extra);
        options.open(path)
    };
    match create(libc::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // Some kernels leave the file behind although they refused O_DIRECT: an empty one, which is ours to use.
            match create(0) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let file = OpenOptions::new().write(true).open(path)?;
                    if file.metadata()?.len() == 0 {
                        Ok(file)
                    } else {
                        Err(error)
                    }
                }
                created => created,
            }
        }
        created => created,
    }
}

/// Allocates and writes zeroes, so that no later write needs a new extent. `progress` gets the bytes done.
fn fill(file: &File, bytes: u64, progress: &mut impl FnMut(u64)) -> std::io::Result<()> {
    // Asks for the whole space at once: refused now rather than in the middle, and in long extents.
    match nix::fcntl::posix_fallocate(file, 0, bytes as libc::off_t) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EINVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    let zeroes = Buffer::zeroed(CREATE_WRITE_BYTES);
    let mut done = 0;
    while done < bytes {
        let count = (bytes - done).min(CREATE_WRITE_BYTES as u64);
        file.write_all_at(&zeroes[..count as usize], done)?;
        done += count;
        progress(done);
    }
    file.sync_all()
}

/// Makes the new file's name durable.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// Reads for the index thread. The bounce buffer is there because O_DIRECT wants aligned memory and callers have none.
struct Blocking {
    file: File,
    bounce: Mutex<Buffer>,
}

impl BlockingRead for Blocking {
    fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), IoFault> {
        assert!(at.is_multiple_of(BLOCK_BYTES as u64) && into.len().is_multiple_of(BLOCK_BYTES));
        let mut bounce = self.bounce.lock().expect("no holder of this lock panics");
        for (index, into) in into.chunks_mut(BLOCKING_READ_BYTES).enumerate() {
            let at = at + (index * BLOCKING_READ_BYTES) as u64;
            read_whole(&self.file, at, &mut bounce[..into.len()])?;
            into.copy_from_slice(&bounce[..into.len()]);
        }
        Ok(())
    }
}

/// Reads until `into` is full. `Gone`: the file ends before.
fn read_whole(file: &File, at: u64, into: &mut [u8]) -> Result<(), IoFault> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) => return Err(IoFault::Gone), // past the end: the file was cut short
            // A short direct read ends at a sector; go on from the whole block so that everything stays aligned.
            Ok(count) if count < BLOCK_BYTES && done + count < into.len() => {
                return Err(IoFault::Gone);
            }
            Ok(count) => {
                done = if done + count == into.len() {
                    done + count
                } else {
                    (done + count) / BLOCK_BYTES * BLOCK_BYTES
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(fault::of_errno(error.raw_os_error().unwrap_or(libc::EIO))),
        }
    }
    Ok(())
}
