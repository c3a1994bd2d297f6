//! Bytes as lower-case hexadecimal digits; it reads none.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digits of every byte.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0x0f]];
        byte += 1;
    }
    pairs
};

/// Writes the digits of `bytes` to the beginning of `into`, as many as fit.
pub(crate) fn write_hex(bytes: &[u8], into: &mut [u8]) {
    for (digits, byte) in into.chunks_exact_mut(2).zip(bytes) {
        digits.copy_from_slice(&PAIRS[usize::from(*byte)]);
    }
}

/// The digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| PAIRS[usize::from(*byte)]).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        for byte in 0..=255 {
            assert_eq!(hex(&[byte, 0]), format!("{byte:02x}00"));
        }
        let mut text = *b"------";
        write_hex(&[0x00, 0xaf], &mut text);
        assert_eq!(&text, b"00af--");
    }
}
