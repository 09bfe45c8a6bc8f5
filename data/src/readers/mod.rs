//! Readers of real files. None trusts what it reads: sizes are held against the file before anything
//! is allocated, and every complaint names the file and the reason.

mod csv;
mod folder;
mod idx;

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use kiln_tensor_core::{Error, Result};

pub use csv::{Column, CsvReader, Table};
pub use folder::ImageFolder;
pub use idx::{IdxArray, read_idx, read_idx_images};

/// The most that a compressed byte can become: DEFLATE spends at least two bits on 258 bytes.
pub(crate) const MAX_INFLATION: u64 = 1032;

/// A file, or bytes of the program, decompressed on the way if they are gzip.
pub(crate) struct Source<'a> {
    path: PathBuf,
    reader: Box<dyn Read + 'a>,
    /// No more bytes than this can come.
    most: u64,
}

impl Source<'static> {
    /// Opens a file. Whether it is gzip is seen by its first bytes, not by its name.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fail = |source| Error::Io { path: path.into(), source };
        let file = File::open(path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        Self::detect(path, BufReader::new(file), len)
    }
}

impl<'a> Source<'a> {
    /// Reads bytes that are in memory already; `name` stands for the path in messages.
    pub(crate) fn bytes(name: &str, bytes: &'a [u8]) -> Result<Self> {
        Self::detect(Path::new(name), bytes, bytes.len() as u64)
    }

    fn detect(path: &Path, mut reader: impl BufRead + 'a, len: u64) -> Result<Self> {
        let start = reader.fill_buf().map_err(|source| Error::Io { path: path.into(), source })?;
        let path = path.to_owned();
        Ok(if start.starts_with(&[0x1f, 0x8b]) {
            let most = len.saturating_mul(MAX_INFLATION);
            Source { path, reader: Box::new(MultiGzDecoder::new(reader)), most }
        } else {
            Source { path, reader: Box::new(reader), most: len }
        })
    }

    /// The complaint that the content is not what it claims to be.
    pub(crate) fn wrong(&self, why: impl Into<String>) -> Error {
        wrong(&self.path, why)
    }

    /// The next `count` bytes. Memory grows with what has really been read.
    pub(crate) fn take(&mut self, count: u64, what: &str) -> Result<Vec<u8>> {
        if count > self.most {
            let most = self.most;
            return Err(self.wrong(format!(
                "{what} should take {count} bytes, and the file cannot hold more than {most}"
            )));
        }
        let bytes = self.read_up_to(count)?;
        if (bytes.len() as u64) < count {
            let got = bytes.len();
            return Err(self.wrong(format!("{what} is cut off: {got} of {count} bytes are there")));
        }
        Ok(bytes)
    }

    /// All the bytes, if they are no more than `limit`.
    pub(crate) fn take_all(&mut self, limit: u64) -> Result<Vec<u8>> {
        let bytes = self.read_up_to(limit.saturating_add(1))?;
        if bytes.len() as u64 > limit {
            return Err(self.wrong(format!("holds more than the limit of {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Requires that nothing follows; of a gzip file this checks the checksum as well.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.read_up_to(1)?.len() {
            0 => Ok(()),
            _ => Err(self.wrong("holds more data than its header declares")),
        }
    }

    fn read_up_to(&mut self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.reader.by_ref().take(count).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
                    self.wrong(format!("damaged gzip data: {error}"))
                }
                _ => Error::Io { path: self.path.clone(), source: error },
            }),
        }
    }
}

pub(crate) fn wrong(path: &Path, why: impl Into<String>) -> Error {
    Error::Format { what: path.display().to_string(), why: why.into() }
}
