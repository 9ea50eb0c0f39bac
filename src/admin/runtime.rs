//! Where the admin socket is if nobody says: in the first folder that is this user's alone, named by the port of the
//! traffic, so that who operates finds it without being told.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Of a socket's file name.
const ENDING: &str = "sock";
/// A folder of ours: nobody else may even look into it.
const MODE: u32 = 0o700;
/// Who may write there could put a socket of theirs in our place.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Where to look, in this order: what the session manager gives this user (XDG base directories), what the system or its
/// service manager gives the service (`RuntimeDirectory=sessmux` of systemd), and what there is else.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|folder| folder.is_absolute());
    let user = rustix::process::geteuid().as_raw();
    own.map(|folder| folder.join("sessmux"))
        .into_iter()
        .chain([
            PathBuf::from("/run/sessmux"),
            std::env::temp_dir().join(format!("sessmux-{user}")),
        ])
        .collect()
}

/// The sockets there are in these folders, in use or not.
#[must_use]
pub fn sockets(folders: &[PathBuf]) -> Vec<PathBuf> {
    // what others may write to is not looked at: it would be their word that is shown
    let trusted = folders.iter().filter(|folder| check(folder, is_trusted).is_ok());
    let entries = trusted.filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut sockets: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
        .collect();
    sockets.sort();
    sockets
}

/// The path of the socket in this folder, which is made if it is not there.
///
/// # Errors
///
/// It cannot be made, or others may write to it.
pub(super) fn prepare(folder: &Path, port: u16) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(MODE).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    check(folder, |user| user == rustix::process::geteuid().as_raw())?;
    Ok(folder.join(port.to_string()).with_extension(ENDING))
}

/// Root sees the sockets of its services, whoever they run as; nobody else sees another's.
fn is_trusted(owner: u32) -> bool {
    let user = rustix::process::geteuid();
    owner == user.as_raw() || user.is_root()
}

fn check(folder: &Path, is_trusted: impl Fn(u32) -> bool) -> io::Result<()> {
    // a link could lead anywhere, and be changed meanwhile
    let found = fs::symlink_metadata(folder)?;
    if found.is_dir() && is_trusted(found.uid()) && found.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "is there already, and is not a folder of this user's alone",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sessmux-test-{name}-{}", std::process::id()));
        // left by an earlier run
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn a_folder_is_made_that_is_ours_alone() {
        let base = folder("made");
        let path = prepare(&base.join("own"), 8080).unwrap();
        assert_eq!(path, base.join("own/8080.sock"));
        assert_eq!(fs::metadata(base.join("own")).unwrap().mode() & 0o777, MODE);
        fs::write(&path, "").unwrap();
        fs::write(base.join("own/notes"), "").unwrap();
        assert_eq!(sockets(&[base.join("none"), base.join("own")]), [path]);
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_others_may_write_to_is_neither_used_nor_believed() {
        let base = folder("open");
        fs::create_dir(base.join("theirs")).unwrap();
        fs::write(base.join("theirs/1.sock"), "").unwrap();
        fs::set_permissions(base.join("theirs"), Permissions::from_mode(0o777)).unwrap();
        symlink("theirs", base.join("link")).unwrap();
        fs::write(base.join("file"), "").unwrap();
        for name in ["theirs", "link", "file"] {
            assert!(prepare(&base.join(name), 1).is_err(), "{name}");
            assert!(sockets(&[base.join(name)]).is_empty(), "{name}");
        }
        fs::remove_dir_all(base).unwrap();
    }
}
