//! Compiled kernels on disk, for the processes that come later.
//!
//! `KILN_CACHE_DIR` says where; else they are in `kiln/kernels` of the user's cache folder (`XDG_CACHE_HOME`,
//! `~/.cache`, or what the system has for it). `KILN_CACHE=0` turns this off. A disk that is full or read-only
//! is no error: kernels are compiled then.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

/// All files together; the oldest go first.
const MOST_BYTES: u64 = 256 << 20;
/// So many files are written before somebody counts again.
const COUNT_EVERY: usize = 64;
/// A temporary file that is older was left by a process that died.
const STALE_SECONDS: u64 = 3600;
const MAGIC: &[u8; 8] = b"KILNKRN1";
/// Magic, length, checksum.
const HEADER: usize = 24;

static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if set("KILN_CACHE").is_some_and(|value| value == "0") {
        return None;
    }
    set("KILN_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| dirs::cache_dir().map(|cache| cache.join("kiln").join("kernels")))
});
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// A kernel's file, whether there is one or not.
#[derive(Debug)]
pub(crate) struct Entry(PathBuf);

impl Entry {
    /// The file of what these parts name; `None` if the cache is off.
    pub(crate) fn find(parts: &[&str]) -> Option<Entry> {
        FOLDER.as_ref().map(|folder| Entry::of(folder, parts))
    }

    fn of(folder: &Path, parts: &[&str]) -> Entry {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, env!("CARGO_PKG_VERSION"), parts).hash(&mut hasher);
            hasher.finish()
        };
        Entry(folder.join(format!("{:016x}{:016x}.kernel", half(0), half(1))))
    }

    /// What was written, if it is whole.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = fs::read(&self.0).ok()?;
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let (length, sum) = (number(8)?, number(16)?);
        let whole = bytes.starts_with(MAGIC)
            && length == (bytes.len() - HEADER) as u64
            && sum == checksum(&bytes[HEADER..]);
        if !whole {
            return None;
        }
        // What is in use is young.
        if let Ok(file) = File::options().append(true).open(&self.0) {
            let _ = file.set_modified(SystemTime::now());
        }
        bytes.drain(..HEADER);
        Some(bytes)
    }

    /// Writes a kernel; other processes see all of it or nothing.
    pub(crate) fn write(&self, binary: &[u8]) {
        let folder = self.0.parent().expect("a file in a folder");
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let temporary = self.0.with_extension(format!("{}-{number}.tmp", process::id()));
        let written = fs::create_dir_all(folder)
            .and_then(|()| write_all(&temporary, binary))
            .and_then(|()| fs::rename(&temporary, &self.0));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        } else if number.is_multiple_of(COUNT_EVERY) {
            let _ = prune(folder, MOST_BYTES);
        }
    }
}

fn write_all(path: &Path, binary: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&(binary.len() as u64).to_le_bytes())?;
    file.write_all(&checksum(binary).to_le_bytes())?;
    file.write_all(binary)
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Removes the files that were not used for longest, until the rest is small enough, and temporary files that
/// nobody will finish. Only files that this module has named.
fn prune(folder: &Path, most: u64) -> io::Result<()> {
    let mut kernels = Vec::new();
    for file in fs::read_dir(folder)?.flatten() {
        let Ok(meta) = file.metadata() else { continue };
        let (path, modified) = (file.path(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("kernel") => kernels.push((modified, meta.len(), path)),
            Some("tmp") if modified.elapsed().is_ok_and(|age| age.as_secs() > STALE_SECONDS) => {
                let _ = fs::remove_file(path);
            }
            _ => {}
        }
    }
    let mut total: u64 = kernels.iter().map(|(_, length, _)| length).sum();
    kernels.sort();
    for (_, length, path) in kernels {
        if total <= most {
            break;
        }
        if fs::remove_file(path).is_ok() {
            total -= length;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let entry = Entry::of(folder.path(), &["device", "source"]);
        assert_eq!(entry.read(), None);
        entry.write(b"binary");
        assert_eq!(entry.read().as_deref(), Some(&b"binary"[..]));
        let good = fs::read(&entry.0).unwrap();
        for length in 0..good.len() {
            fs::write(&entry.0, &good[..length]).unwrap();
            assert_eq!(entry.read(), None, "{length} bytes of {}", good.len());
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&entry.0, &bad).unwrap();
            assert_eq!(entry.read(), None, "byte {at}");
        }
        entry.write(b"again");
        assert_eq!(entry.read().as_deref(), Some(&b"again"[..]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn other_parts_are_another_file() {
        let folder = Path::new("folder");
        let names = [&["a", "bc"][..], &["ab", "c"], &["abc"], &["a", "b", "c"]];
        let files: Vec<PathBuf> = names.iter().map(|name| Entry::of(folder, name).0).collect();
        for (i, file) in files.iter().enumerate() {
            assert!(!files[..i].contains(file), "{:?}", names[i]);
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let entries: Vec<Entry> =
            ["a", "b", "c"].iter().map(|name| Entry::of(folder.path(), &[name])).collect();
        for (age, entry) in entries.iter().enumerate() {
            entry.write(&[0; 1000]);
            let then = SystemTime::now() - std::time::Duration::from_secs(100 - age as u64);
            File::options().append(true).open(&entry.0).unwrap().set_modified(then).unwrap();
        }
        assert!(entries[0].read().is_some());
        let other = folder.path().join("someone.else");
        fs::write(&other, [0; 9000]).unwrap();
        prune(folder.path(), 2500).unwrap();
        let left: Vec<bool> = entries.iter().map(|entry| entry.0.exists()).collect();
        assert_eq!(left, [true, false, true]);
        assert!(other.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let entry = Entry::of(&file, &["kernel"]);
        entry.write(b"binary");
        assert_eq!(entry.read(), None);
    }
}
