//! Encodes fields in the Protocol Buffers wire format; it knows no messages.

/// The wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

/// The encoded size of a `bytes`, `string` or message field of this length, for field numbers up to 15.
pub(super) fn length_delimited_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

/// The encoded size of a varint.
pub(super) fn varint_len(value: u64) -> usize {
    let bits = (value | 1).ilog2() as usize;
    bits / 7 + 1
}

/// Writes a message. Writes every field, even with its default value.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageWriter(Vec<u8>);

impl MessageWriter {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends the fields of another message.
    pub(super) fn fields(&mut self, of: &Self) {
        self.0.extend_from_slice(&of.0);
    }

    /// `bool`, `int64`, `uint32` and enums; negative numbers in two's complement.
    pub(super) fn varint(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.raw_varint(value);
    }

    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, FIXED32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// `bytes`, `string`, or an encoded message.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.begin_message(field, value.len());
        self.0.extend_from_slice(value);
    }

    /// Begins a message of `length` bytes, which the caller appends.
    pub(super) fn begin_message(&mut self, field: u32, length: usize) {
        self.tag(field, LENGTH_DELIMITED);
        self.raw_varint(length as u64);
    }

    /// Writes a nested message. Its length precedes it but is known only afterwards: most lengths need one
    /// byte; for longer ones, the message is moved.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH_DELIMITED);
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let end = self.0.len();
        self.raw_varint((end - start - 1) as u64);
        let length_bytes = self.0.len() - end;
        if length_bytes == 1 {
            self.0[start] = self.0[end];
            self.0.truncate(end);
        } else {
            // From `byte, message, length` to `length, message`.
            let mut length = [0; 10];
            length[..length_bytes].copy_from_slice(&self.0[end..]);
            self.0.copy_within(start + 1..end, start + length_bytes);
            self.0[start..start + length_bytes].copy_from_slice(&length[..length_bytes]);
            self.0.truncate(end + length_bytes - 1);
        }
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.raw_varint(u64::from(field << 3 | wire_type));
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computed_lengths_equal_written_lengths() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut writer = MessageWriter::default();
            writer.raw_varint(value);
            assert_eq!(varint_len(value), writer.into_bytes().len(), "{value}");
        }
        for length in [0, 127, 128, 20_000] {
            let mut writer = MessageWriter::default();
            writer.bytes(15, &vec![0; length]);
            assert_eq!(length_delimited_len(length), writer.into_bytes().len(), "{length}");
        }
    }

    /// The examples in the format's documentation, and a message for each size of the length.
    #[test]
    fn fields_are_in_the_wire_format() {
        let mut writer = MessageWriter::default();
        writer.varint(1, 150);
        writer.bytes(2, b"testing");
        writer.message(3, |message| message.varint(1, 150));
        let expected = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01";
        assert_eq!(writer.into_bytes(), expected);
        for length in [0_usize, 1, 127, 128, 129, 16_383, 16_384, 3_000_000] {
            let content = vec![7; length];
            let (mut nested, mut flat) = (MessageWriter::default(), MessageWriter::default());
            nested.message(4, |message| message.0.extend_from_slice(&content));
            flat.bytes(4, &content);
            assert!(nested.into_bytes() == flat.into_bytes(), "{length}");
        }
    }
}
