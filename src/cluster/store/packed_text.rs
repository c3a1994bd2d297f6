//! A long-lived text, compressed. Children's texts are similar, so each is compressed against a dictionary of
//! examples; the shared parts take almost no memory. It knows no objects.

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

/// Example texts of all kinds of children. It may change between versions, as compressed texts do not outlive
/// the process.
const DICTIONARY: &[u8] = include_bytes!("packed_text.dictionary");

/// A compressed text.
#[derive(Clone, Debug)]
pub struct PackedText(Box<[u8]>);

impl PackedText {
    /// Compresses a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(compress_prepend_size_with_dict(text.as_bytes(), DICTIONARY).into_boxed_slice())
    }

    /// Returns the original text.
    #[must_use]
    pub fn unpack(&self) -> String {
        let text = decompress_size_prepended_with_dict(&self.0, DICTIONARY);
        text.ok().and_then(|text| String::from_utf8(text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        let example = String::from_utf8_lossy(DICTIONARY);
        let lengths = (0..24).chain([65_535 - DICTIONARY.len(), 65_536, 1 << 20]);
        let repeated = lengths.map(|length| "äb".chars().cycle().take(length).collect());
        let random = (0..64).map(|_| std::iter::repeat_with(|| fastrand::char(..)).take(999).collect());
        for text in repeated.chain(random).chain([example.into_owned()]) {
            let text: String = text;
            assert_eq!(PackedText::new(&text).unpack(), text);
        }
    }

    #[test]
    fn what_is_like_the_examples_takes_little() {
        let example = String::from_utf8_lossy(DICTIONARY);
        for line in example.lines() {
            let text = line.replace("shop", "cart");
            let packed = PackedText::new(&text).0.len();
            assert!(packed * 4 < text.len(), "{packed} of {}: {text}", text.len());
        }
    }
}
