//! Archives by their bytes, with entries that no tool would write.

/// An entry of a tar file.
pub struct Entry<'a> {
    pub name: &'a str,
    /// The letter of the format: `0` a file, `1` a hard link, `2` a symbolic one, `5` a folder.
    pub kind: u8,
    pub target: &'a str,
    pub mode: u32,
    pub data: &'a [u8],
}

/// A file.
pub fn file<'a>(name: &'a str, data: &'a str) -> Entry<'a> {
    Entry { name, kind: b'0', target: "", mode: 0o644, data: data.as_bytes() }
}

/// Anything else.
pub fn entry<'a>(name: &'a str, kind: u8, target: &'a str) -> Entry<'a> {
    Entry { name, kind, target, mode: 0o755, data: &[] }
}

fn field(header: &mut [u8; 512], at: usize, text: &str) {
    header[at..at + text.len()].copy_from_slice(text.as_bytes());
}

/// A header of a tar file, for an entry of this size.
pub fn header(entry: &Entry<'_>, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    field(&mut header, 0, entry.name);
    field(&mut header, 100, &format!("{:07o}", entry.mode));
    field(&mut header, 108, "0000000");
    field(&mut header, 116, "0000000");
    field(&mut header, 124, &format!("{size:011o}"));
    field(&mut header, 136, "14000000000");
    header[156] = entry.kind;
    field(&mut header, 157, entry.target);
    field(&mut header, 257, "ustar\x0000");
    field(&mut header, 148, "        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    field(&mut header, 148, &format!("{sum:06o}\0 "));
    header
}

/// A tar file.
pub fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(header(entry, entry.data.len() as u64));
        bytes.extend(entry.data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// An entry of a zip file, stored without compression.
#[derive(Default)]
pub struct Zipped<'a> {
    pub name: &'a str,
    pub data: &'a [u8],
    /// Bit 0: encrypted; bit 11: the name is UTF-8.
    pub flags: u16,
    /// How it is compressed; 0: not at all.
    pub method: u16,
    /// The type and the rights as Unix has them; 0: made on DOS.
    pub unix: u32,
    /// What the list claims as size, where that is a lie.
    pub claimed: Option<u32>,
}

/// An entry that a Unix tool would write.
pub fn zipped<'a>(name: &'a str, data: &'a str) -> Zipped<'a> {
    Zipped { name, data: data.as_bytes(), flags: 1 << 11, unix: 0o100_644, ..Zipped::default() }
}

fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 * (sum & 1)))
    })
}

fn number(bytes: &mut Vec<u8>, value: usize, width: usize) {
    bytes.extend(&value.to_le_bytes()[..width]);
}

/// A zip file.
pub fn zip(entries: &[Zipped<'_>]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = bytes.len();
        let mut shared = Vec::new();
        for value in [20, entry.flags, entry.method, 0, 0x5D21] {
            number(&mut shared, value.into(), 2);
        }
        number(&mut shared, crc(entry.data) as usize, 4);
        number(&mut shared, entry.data.len(), 4);
        number(&mut shared, entry.claimed.map_or(entry.data.len(), |claimed| claimed as usize), 4);
        number(&mut shared, entry.name.len(), 2);
        number(&mut shared, 0, 2);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&shared);
        bytes.extend(entry.name.as_bytes());
        bytes.extend(entry.data);
        list.extend(b"PK\x01\x02");
        number(&mut list, if entry.unix == 0 { 20 } else { 0x0314 }, 2);
        list.extend(&shared);
        number(&mut list, 0, 6);
        number(&mut list, (entry.unix as usize) << 16, 4);
        number(&mut list, offset, 4);
        list.extend(entry.name.as_bytes());
    }
    let at = bytes.len();
    bytes.extend(&list);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    number(&mut bytes, entries.len(), 2);
    number(&mut bytes, entries.len(), 2);
    number(&mut bytes, list.len(), 4);
    number(&mut bytes, at, 4);
    number(&mut bytes, 0, 2);
    bytes
}
