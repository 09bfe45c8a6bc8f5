//! TFRecord: the length of a record, its checksum, the record, its checksum. And the wire format of
//! protocol buffers, as much as event files need.

/// CRC-32C (Castagnoli), by bytes.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut crc, mut bit) = (at as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8;
    !bytes.iter().fold(!0, step)
}

/// A checksum of data that may hold checksums: turned and shifted.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

pub(super) fn framed(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    let checks = [masked(&length), masked(record)].map(u32::to_le_bytes);
    [&length[..], &checks[0][..], record, &checks[1][..]].concat()
}

/// Takes the next record; nothing at the end.
pub(super) fn unframe<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut take = |count: u64| {
        let count = usize::try_from(count).ok().filter(|&count| count <= bytes.len());
        let (head, tail) = bytes.split_at(count.ok_or("a record is cut off")?);
        *bytes = tail;
        Ok::<_, String>(head)
    };
    let number = |b: &[u8]| b.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let length = take(8)?;
    if number(take(4)?) != u64::from(masked(length)) {
        return Err("the checksum of a record's length is wrong".into());
    }
    let record = take(number(length))?;
    if number(take(4)?) != u64::from(masked(record)) {
        return Err("the checksum of a record is wrong".into());
    }
    Ok(Some(record))
}

/// A message that is being written, field by field.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut number: u64) -> Self {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
        self
    }

    pub(super) fn int(self, field: u64, number: i64) -> Self {
        self.varint(field << 3).varint(number as u64)
    }

    pub(super) fn double(self, field: u64, number: f64) -> Self {
        let mut message = self.varint(field << 3 | 1);
        message.0.extend(number.to_le_bytes());
        message
    }

    pub(super) fn float(self, field: u64, number: f32) -> Self {
        let mut message = self.varint(field << 3 | 5);
        message.0.extend(number.to_le_bytes());
        message
    }

    pub(super) fn bytes(self, field: u64, bytes: &[u8]) -> Self {
        let mut message = self.varint(field << 3 | 2).varint(bytes.len() as u64);
        message.0.extend(bytes);
        message
    }

    pub(super) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(super) fn message(self, field: u64, message: Message) -> Self {
        self.bytes(field, &message.0)
    }

    pub(super) fn doubles(self, field: u64, numbers: &[f64]) -> Self {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.bytes(field, &bytes)
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// What a field holds.
pub(super) enum Field<'a> {
    Int(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

impl Field<'_> {
    pub(super) fn double(&self) -> f64 {
        match self {
            Field::Fixed64(bytes) => f64::from_le_bytes(*bytes),
            _ => 0.0,
        }
    }

    /// Packed doubles.
    pub(super) fn doubles(&self) -> Vec<f64> {
        match self {
            Field::Bytes(bytes) => {
                let number = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap_or_default());
                bytes.chunks_exact(8).map(number).collect()
            }
            _ => vec![self.double()],
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Field::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }
}

/// The numbers and contents of a message's fields.
pub(super) fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>, String> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Int(varint(&mut bytes)?),
            1 => Field::Fixed64(fixed(&mut bytes)?),
            5 => Field::Fixed32(fixed(&mut bytes)?),
            2 => {
                let count = varint(&mut bytes)?;
                let count = usize::try_from(count).ok().filter(|&count| count <= bytes.len());
                let (head, tail) = bytes.split_at(count.ok_or("a field is cut off")?);
                bytes = tail;
                Field::Bytes(head)
            }
            kind => return Err(format!("a field of the unknown kind {kind}")),
        };
        fields.push((key >> 3, field));
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("a number is cut off")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number of more than 64 bits".into())
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
    let (&head, rest) = bytes.split_first_chunk().ok_or("a number is cut off")?;
    *bytes = rest;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
    }

    #[test]
    fn numbers_have_seven_bits_a_byte() {
        let bytes = Message::default().int(1, 300).int(2, -1).finish();
        assert_eq!(bytes[..3], [8, 0xAC, 2]);
        let fields = fields(&bytes).unwrap();
        assert!(matches!(fields[..], [(1, Field::Int(300)), (2, Field::Int(u64::MAX))]));
    }
}
