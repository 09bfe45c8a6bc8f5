//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use kiln_tensor_core::{Error, Result};

/// Writes `bytes` to a temporary file beside `path`, then renames it, so that nobody ever sees half a
/// file and a failure leaves the old one.
///
/// # Errors
/// [`Error::Io`] if the folder does not exist or cannot be written to.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut builder = tempfile::Builder::new();
        // A temporary file is private; the file that it becomes follows the umask like any other.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| Error::Io { path: path.into(), source })
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
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
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
