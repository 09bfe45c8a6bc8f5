//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_tensor_core::{Error, Result};

/// Writes `bytes` to a temporary file beside `path`, then renames it, so that nobody ever sees half a
/// file and a failure leaves the old one.
///
/// # Errors
/// [`Error::Io`] if the folder does not exist or cannot be written to.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    replace(path.as_ref(), |temporary| fs::write(temporary, bytes))
}

/// Lets `write` make a file beside `path`, makes sure that it is on the disk, and gives it the name.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    inner(path, write).map_err(|source| Error::Io { path: path.into(), source })
}

fn inner(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    struct Temporary(PathBuf);
    impl Drop for Temporary {
        fn drop(&mut self) {
            // Gone already where it took its name; after an error there is nothing more to do.
            let _ = fs::remove_file(&self.0);
        }
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary =
        Temporary(path.with_file_name(format!(".{name}.{}.{count}.tmp", std::process::id())));
    write(&temporary.0)?;
    File::options().write(true).open(&temporary.0)?.sync_all()?;
    fs::rename(&temporary.0, path)?;
    // The new name is in the folder, which is to be on the disk too. Not every file system can say so,
    // and the file itself is whole either way.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, b"one").unwrap();
        let error = replace(&path, |temporary| {
            fs::write(temporary, b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(error.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/such.txt");
        let error = write_atomic(&path, b"").unwrap_err();
        assert!(matches!(&error, Error::Io { .. }));
        assert!(error.to_string().contains("such.txt"), "{error}");
    }
}
