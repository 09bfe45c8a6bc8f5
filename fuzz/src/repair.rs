//! Checksums put right, so that damage gets past them.

use flate2::Crc;

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.get(..width)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
}

/// Formats without checksums.
pub fn nothing(_bytes: &mut [u8]) {}

/// The checksum after each chunk.
pub fn png(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = length.iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
        let Some(chunk) = bytes.get(at + 4..).and_then(|rest| rest.get(..length + 4)) else {
            return;
        };
        let crc = crc32(chunk).to_be_bytes();
        let end = at + 8 + length;
        let Some(place) = bytes.get_mut(end..end + 4) else { return };
        place.copy_from_slice(&crc);
        at = end + 4;
    }
}

/// The checksums in an archive's directory.
pub fn zip(bytes: &mut [u8]) {
    const CENTRAL: &[u8] = b"PK\x01\x02";
    const END: &[u8] = b"PK\x05\x06";
    let Some(end) = bytes.windows(4).rposition(|four| four == END) else { return };
    let Some(mut at) = number(bytes, end + 16, 4) else { return };
    while bytes.get(at..at + 4) == Some(CENTRAL) {
        let field = |at, width| number(bytes, at, width);
        let (Some(packed), Some(name), Some(extra), Some(comment), Some(local)) = (
            field(at + 20, 4),
            field(at + 28, 2),
            field(at + 30, 2),
            field(at + 32, 2),
            field(at + 42, 4),
        ) else {
            return;
        };
        if let (Some(local_name), Some(local_extra)) = (field(local + 26, 2), field(local + 28, 2))
        {
            let start = local + 30 + local_name + local_extra;
            if let Some(data) = bytes.get(start..).and_then(|rest| rest.get(..packed)) {
                let crc = crc32(data).to_le_bytes();
                // That of a deflated entry is of what it unpacks to: left as it is.
                if field(at + 10, 2) == Some(0) {
                    bytes[at + 16..at + 20].copy_from_slice(&crc);
                }
            }
        }
        at += 46 + name + extra + comment;
    }
}

/// The checksums of each record of an event file.
pub fn events(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(length) = number(bytes, at, 8) {
        let Some(end) = length.checked_add(at + 12).filter(|end| end + 4 <= bytes.len()) else {
            return;
        };
        let (head, record) = (masked(&bytes[at..at + 8]), masked(&bytes[at + 12..end]));
        bytes[at + 8..at + 12].copy_from_slice(&head.to_le_bytes());
        bytes[end..end + 4].copy_from_slice(&record.to_le_bytes());
        at = end + 4;
    }
}

/// CRC-32C as TFRecord masks it, bit by bit: not the code that is tested.
fn masked(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xA282_EAD8)
}
