//! Writing to the terminal, to files, and nothing else.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes to standard output. A reader that went away (`| head`) ends the program quietly.
pub(super) fn say(text: &str) {
    let mut out = io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes one line to standard error.
pub(super) fn complain(text: &str) {
    // Nobody listens: then there is nobody to tell either.
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

/// Whether standard error is a terminal that shows colours.
pub(super) fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Whether standard output is a terminal that shows colours.
pub(super) fn colour_out() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Writes a file that holds keys: mode 0600 from its first octet on, and there at once or not at all. Says under
/// which name the file is kept that was there before, when it had other content.
///
/// # Errors
/// The kernel's; nothing is left then.
pub(super) fn write_private(path: &Path, text: &str) -> io::Result<Option<PathBuf>> {
    // A symbolic link stays one; what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let kept = keep(&target, text)?;
    let fresh = beside(&target);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, &target));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written.map(|()| kept)
}

/// Keeps a file that is about to be replaced by another `text` as `NAME.old`, as private as the new one: what
/// somebody wrote into it by hand is nowhere else.
fn keep(target: &Path, text: &str) -> io::Result<Option<PathBuf>> {
    match fs::read(target) {
        Ok(before) if before == text.as_bytes() => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut old = target.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    match fs::remove_file(&old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A second name, so that the first one is never without a file.
    fs::hard_link(target, &old)?;
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600))?;
    Ok(Some(old))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_keys_is_private_and_replaces_an_open_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cgwd.toml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // What was there is kept, as private as the new one.
        let old = directory.path().join("cgwd.toml.old");
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
        assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        // The same once more changes nothing, least of all the kept file.
        assert_eq!(write_private(&path, "new").unwrap(), None);
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_private(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
    }
}
