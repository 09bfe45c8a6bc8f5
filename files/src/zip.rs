//! Zip archives as PyTorch and NumPy write them: entries stored or deflated, also beyond 4 GB.
//! APPNOTE.TXT of PKWARE, sections 4.3 and 4.5.3.

use std::io::{self, Read, Write};

use flate2::read::{DeflateDecoder, DeflateEncoder};
use flate2::{Compression, Crc};

use crate::MAX_INFLATION;

/// What each record starts with.
const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The kind of an extra field with 64-bit sizes, and of one that only fills.
const EXTRA_64: u16 = 1;
const EXTRA_FILL: u16 = 0x4246;

type Parsed<T> = Result<T, String>;

/// Whether this may be an archive.
pub(crate) fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(&LOCAL.to_le_bytes()) || bytes.starts_with(&END.to_le_bytes())
}

/// An archive in memory.
pub(crate) struct Archive<'a> {
    bytes: &'a [u8],
    pub(crate) entries: Vec<Entry>,
}

/// A file in an archive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    at: u64,
}

/// Numbers from a slice, little-endian.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).ok_or("the archive is cut off")?;
        self.0 = tail;
        Ok(head)
    }

    fn number(&mut self, bytes: usize) -> Parsed<u64> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn u16(&mut self) -> Parsed<u16> {
        Ok(self.number(2)? as u16)
    }

    fn u32(&mut self) -> Parsed<u32> {
        Ok(self.number(4)? as u32)
    }

    fn expect(&mut self, signature: u32, what: &str) -> Parsed<()> {
        match self.u32()? {
            found if found == signature => Ok(()),
            _ => Err(format!("there is no {what} where the archive says")),
        }
    }
}

impl<'a> Archive<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Parsed<Self> {
        // The end record is the last one, before a comment of at most 65,535 bytes.
        let from = bytes.len().saturating_sub(22 + 65_535);
        let end = (from..bytes.len().saturating_sub(21))
            .rev()
            .find(|&at| bytes[at..].starts_with(&END.to_le_bytes()))
            .ok_or("not a zip archive, or its end is cut off")?;
        let archive = Archive { bytes, entries: Vec::new() };
        let mut fields = Fields(&bytes[end + 4..]);
        fields.take(6)?;
        let mut count = u64::from(fields.u16()?);
        fields.take(4)?;
        let mut start = u64::from(fields.u32()?);
        if count == 0xffff || start == 0xffff_ffff {
            let mut locator = archive.at(end.saturating_sub(20) as u64)?;
            locator.expect(LOCATOR_64, "64-bit locator")?;
            locator.take(4)?;
            let mut record = archive.at(locator.number(8)?)?;
            record.expect(END_64, "64-bit end record")?;
            record.take(28)?;
            count = record.number(8)?;
            record.take(8)?;
            start = record.number(8)?;
        }
        let mut fields = archive.at(start)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(central(&mut fields)?);
        }
        Ok(Archive { bytes, entries })
    }

    #[cfg(test)]
    fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    fn at(&self, offset: u64) -> Parsed<Fields<'a>> {
        let offset = usize::try_from(offset).ok().filter(|&at| at <= self.bytes.len());
        Ok(Fields(&self.bytes[offset.ok_or("a record lies outside the archive")?..]))
    }

    /// The bytes of an entry as they are in the archive.
    fn packed(&self, entry: &Entry) -> Parsed<&'a [u8]> {
        let mut fields = self.at(entry.at)?;
        fields.expect(LOCAL, "entry")?;
        fields.take(22)?;
        let (name, extra) = (fields.u16()?, fields.u16()?);
        fields.take(usize::from(name) + usize::from(extra))?;
        let packed = usize::try_from(entry.packed).map_err(|_| "the archive is cut off")?;
        fields.take(packed)
    }

    /// What a stored entry holds, without a copy.
    pub(crate) fn stored(&self, entry: &Entry) -> Parsed<&'a [u8]> {
        let name = &entry.name;
        if entry.method != STORED || entry.packed != entry.size {
            return Err(format!("{name} is compressed, which this format does not do"));
        }
        let bytes = self.packed(entry)?;
        let mut crc = Crc::new();
        crc.update(bytes);
        if crc.sum() != entry.crc {
            return Err(format!("{name} is damaged: its checksum is wrong"));
        }
        Ok(bytes)
    }

    /// What an entry holds, decompressed as it is read; the checksum is checked at the end.
    pub(crate) fn reader(&self, entry: &Entry) -> Parsed<Unpacked<'a>> {
        let (name, packed) = (&entry.name, self.packed(entry)?);
        if entry.size > (packed.len() as u64).saturating_mul(MAX_INFLATION) {
            return Err(format!("{name} claims {} bytes in {}", entry.size, packed.len()));
        }
        let reader: Box<dyn Read + 'a> = match entry.method {
            STORED => Box::new(packed),
            DEFLATED => Box::new(DeflateDecoder::new(packed)),
            method => return Err(format!("{name} is compressed by method {method}")),
        };
        Ok(Unpacked { reader, left: entry.size, crc: Crc::new(), wanted: entry.crc })
    }
}

/// An entry of the central directory.
fn central(fields: &mut Fields<'_>) -> Parsed<Entry> {
    fields.expect(CENTRAL, "directory entry")?;
    fields.take(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.take(4)?;
    let crc = fields.u32()?;
    let (mut packed, mut size) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
    let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
    fields.take(8)?;
    let mut at = u64::from(fields.u32()?);
    let name = String::from_utf8_lossy(fields.take(name.into())?).into_owned();
    let mut extra = Fields(fields.take(extra.into())?);
    fields.take(comment.into())?;
    while extra.0.len() >= 4 {
        let (kind, len) = (extra.u16()?, extra.u16()?);
        let mut field = Fields(extra.take(len.into())?);
        if kind == EXTRA_64 {
            // Holds, in this order, those numbers that did not fit.
            for number in [&mut size, &mut packed, &mut at] {
                if *number == 0xffff_ffff {
                    *number = field.number(8)?;
                }
            }
        }
    }
    if flags & 1 != 0 {
        return Err(format!("{name} is encrypted"));
    }
    Ok(Entry { name, method, crc, packed, size, at })
}

/// See [`Archive::reader`].
pub(crate) struct Unpacked<'a> {
    reader: Box<dyn Read + 'a>,
    left: u64,
    crc: Crc,
    wanted: u32,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.reader.read(&mut buffer[..most])?;
        self.crc.update(&buffer[..count]);
        self.left -= count as u64;
        let over = count == 0 && most > 0 && self.left > 0;
        if over || (self.left == 0 && self.crc.sum() != self.wanted) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "damaged: wrong checksum"));
        }
        Ok(count)
    }
}

/// Writes an archive, entry by entry.
pub(crate) struct Writer<W> {
    out: W,
    at: u64,
    entries: Vec<Entry>,
    /// Numbers from here on are written as 64-bit ones.
    large: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Writer { out, at: 0, entries: Vec::new(), large: 0xffff_ffff }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Adds an entry whose bytes begin at a multiple of `align`.
    pub(crate) fn add(
        &mut self,
        name: &str,
        bytes: &[u8],
        deflate: bool,
        align: u64,
    ) -> io::Result<()> {
        let name_len = u16::try_from(name.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut crc = Crc::new();
        crc.update(bytes);
        let deflated = if deflate {
            let mut packed = Vec::new();
            DeflateEncoder::new(bytes, Compression::default()).read_to_end(&mut packed)?;
            Some(packed)
        } else {
            None
        };
        let data = deflated.as_deref().unwrap_or(bytes);
        let entry = Entry {
            name: name.into(),
            method: if deflate { DEFLATED } else { STORED },
            crc: crc.sum(),
            packed: data.len() as u64,
            size: bytes.len() as u64,
            at: self.at,
        };
        let large = entry.packed.max(entry.size) >= self.large;
        let mut extra = Vec::new();
        if large {
            extra.extend(header(EXTRA_64, 16));
            extra.extend(entry.size.to_le_bytes());
            extra.extend(entry.packed.to_le_bytes());
        }
        let start = self.at + 30 + u64::from(name_len) + extra.len() as u64;
        if align > 1 && !start.is_multiple_of(align) {
            // The filling field has four bytes of its own.
            let fill = (align - (start + 4) % align) % align;
            extra.extend(header(EXTRA_FILL, fill as u16));
            extra.resize(extra.len() + fill as usize, 0);
        }
        let mut record = Vec::new();
        record.extend(LOCAL.to_le_bytes());
        entry.common(&mut record, large);
        record.extend(name_len.to_le_bytes());
        record.extend((extra.len() as u16).to_le_bytes());
        record.extend(name.as_bytes());
        record.extend(extra);
        self.put(&record)?;
        self.put(data)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Writes the directory.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let start = self.at;
        for entry in std::mem::take(&mut self.entries) {
            let large = [entry.size, entry.packed, entry.at].iter().any(|&n| n >= self.large);
            let mut record = Vec::new();
            record.extend(CENTRAL.to_le_bytes());
            record.extend(45u16.to_le_bytes());
            entry.common(&mut record, large);
            record.extend((entry.name.len() as u16).to_le_bytes());
            record.extend((if large { 28u16 } else { 0 }).to_le_bytes());
            record.extend([0; 10]);
            record.extend(small(entry.at, large));
            record.extend(entry.name.as_bytes());
            if large {
                record.extend(header(EXTRA_64, 24));
                [entry.size, entry.packed, entry.at]
                    .iter()
                    .for_each(|number| record.extend(number.to_le_bytes()));
            }
            self.put(&record)?;
            self.entries.push(entry);
        }
        let (size, end, count) = (self.at - start, self.at, self.entries.len() as u64);
        let large = end >= self.large || count >= 0xffff;
        let mut record = Vec::new();
        if large {
            record.extend(END_64.to_le_bytes());
            record.extend(44u64.to_le_bytes());
            record.extend([45, 0, 45, 0]);
            record.extend([0; 8]);
            [count, count, size, start].iter().for_each(|n| record.extend(n.to_le_bytes()));
            record.extend(LOCATOR_64.to_le_bytes());
            record.extend(0u32.to_le_bytes());
            record.extend(end.to_le_bytes());
            record.extend(1u32.to_le_bytes());
        }
        record.extend(END.to_le_bytes());
        record.extend([0; 4]);
        let short = if large { 0xffff } else { count as u16 };
        record.extend([short.to_le_bytes(), short.to_le_bytes()].concat());
        record.extend(small(size, large));
        record.extend(small(start, large));
        record.extend([0; 2]);
        self.put(&record)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl Entry {
    /// The fields that the local record and the directory share.
    fn common(&self, record: &mut Vec<u8>, large: bool) {
        record.extend(45u16.to_le_bytes());
        record.extend([0; 2]);
        record.extend(self.method.to_le_bytes());
        // 1 January 1980, midnight: equal contents make equal files.
        record.extend([0, 0, 0x21, 0]);
        record.extend(self.crc.to_le_bytes());
        record.extend(small(self.packed, large));
        record.extend(small(self.size, large));
    }
}

fn header(kind: u16, len: u16) -> Vec<u8> {
    [kind.to_le_bytes(), len.to_le_bytes()].concat()
}

/// A number of 32 bits, or the sign that the 64-bit one counts.
fn small(number: u64, large: bool) -> [u8; 4] {
    if large { [0xff; 4] } else { (number as u32).to_le_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(large: u64) -> Vec<u8> {
        let mut writer = Writer { large, ..Writer::new(Vec::new()) };
        writer.add("a/stored", b"some bytes", false, 64).unwrap();
        writer.add("deflated", &[7; 9000], true, 1).unwrap();
        writer.add("empty", b"", false, 64).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read_with_small_and_with_large_numbers() {
        for large in [0xffff_ffff, 0] {
            let bytes = archive(large);
            let archive = Archive::open(&bytes).unwrap();
            let stored = archive.find("a/stored").unwrap();
            let slice = archive.stored(stored).unwrap();
            assert_eq!(slice, b"some bytes");
            assert_eq!((slice.as_ptr() as usize - bytes.as_ptr() as usize) % 64, 0);
            let mut unpacked = Vec::new();
            let deflated = archive.find("deflated").unwrap();
            archive.reader(deflated).unwrap().read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, [7; 9000]);
            assert!(archive.stored(deflated).unwrap_err().contains("compressed"));
            assert_eq!(archive.stored(archive.find("empty").unwrap()).unwrap(), b"");
        }
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let whole = archive(0);
        for at in 0..whole.len() {
            for bytes in [whole[..at].to_vec(), {
                let mut flipped = whole.clone();
                flipped[at] ^= 0x55;
                flipped
            }] {
                let Ok(archive) = Archive::open(&bytes) else { continue };
                for entry in &archive.entries {
                    let stored = archive.stored(entry);
                    assert!(
                        stored.is_err()
                            || entry.name != "a/stored"
                            || stored.unwrap() == b"some bytes"
                    );
                    if let Ok(mut reader) = archive.reader(entry) {
                        let _ = reader.read_to_end(&mut Vec::new());
                    }
                }
            }
        }
    }
}
