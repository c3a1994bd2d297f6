//! Kubernetes quantities: value and canonical form. Pure.
//!
//! `kube_quantity`, `kube_quantity_2` and `k8s_quantity_parser` parse and add, but do not produce the
//! canonical form: they keep `2.5Gi`, which the API server stores as `2560Mi`.
//!
//! The rules are those of `k8s.io/apimachinery/pkg/api/resource`: `ParseQuantity` and `CanonicalizeBytes`.

use std::{cmp::Ordering, fmt};

/// The significant digits kept: 20 digits times 2^60 still fit into 128 bits; the API server keeps 18.
const DIGITS: u32 = 20;

/// 10^-9 in a milli.
const NANOS_IN_MILLI: i128 = 1_000_000;

/// 10^-9 in one.
const NANOS_IN_ONE: i128 = 1_000_000_000;

/// The largest quantity with a binary suffix: the API server caps it there.
const BINARY_MAX: i128 = i64::MAX as i128 * NANOS_IN_ONE;

/// A quantity with nano precision; smaller fractions are rounded up, away from zero. Compares by value.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    form: SuffixFamily,
}

/// The suffix family of the original text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SuffixFamily {
    Binary,
    Decimal,
    Exponent,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Quantity {
    /// Parses user input; `None` if it is not a quantity or exceeds the supported range.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let number = Number::parse(number)?;
        let (form, nanos) = match suffix_exponent(suffix)? {
            (SuffixFamily::Binary, exponent) => {
                (SuffixFamily::Binary, number.nanos(1 << exponent, 0)?.min(BINARY_MAX))
            }
            (form, exponent) => (form, number.nanos(1, exponent)?),
        };
        Some(Self { nanos: if negative { -nanos } else { nanos }, form })
    }

    /// Whether the quantity is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The quantity as the API server stores a pod's resources: rounded up to thousandths
    /// (`SetDefaults_ResourceList`).
    #[must_use]
    pub fn in_millis(self) -> i128 {
        let millis = self.nanos / NANOS_IN_MILLI;
        millis + (self.nanos % NANOS_IN_MILLI).signum()
    }
}

/// The canonical form: no fraction, and the largest suffix of the family that keeps the value.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANOS_IN_ONE == 0;
        if self.form == SuffixFamily::Binary && whole && self.nanos.abs() >= 1024 * NANOS_IN_ONE {
            let (number, times) = without_factor(self.nanos / NANOS_IN_ONE, 1024);
            let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
            return write!(f, "{number}{}", suffix.get(times).copied().unwrap_or_default());
        }
        let (number, times) = without_factor(self.nanos, 1000);
        let suffix = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].get(times).copied();
        match (self.form, suffix) {
            (SuffixFamily::Exponent, _) | (_, None) if times != 3 => {
                write!(f, "{number}e{}", i128::try_from(times).unwrap_or_default() * 3 - 9)
            }
            _ => write!(f, "{number}{}", suffix.unwrap_or_default()),
        }
    }
}

/// Divides by the factor for as long as there is no remainder. Returns the quotient and the number of divisions.
fn without_factor(mut number: i128, factor: i128) -> (i128, usize) {
    let mut times = 0;
    while number % factor == 0 {
        number /= factor;
        times += 1;
    }
    (number, times)
}

/// A suffix's family and exponent, of 2 for binary suffixes, else of 10.
fn suffix_exponent(suffix: &str) -> Option<(SuffixFamily, i32)> {
    let decimal = |exponent| Some((SuffixFamily::Decimal, exponent));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => Some((SuffixFamily::Binary, 10)),
        "Mi" => Some((SuffixFamily::Binary, 20)),
        "Gi" => Some((SuffixFamily::Binary, 30)),
        "Ti" => Some((SuffixFamily::Binary, 40)),
        "Pi" => Some((SuffixFamily::Binary, 50)),
        "Ei" => Some((SuffixFamily::Binary, 60)),
        other => Some((SuffixFamily::Exponent, other.strip_prefix(['e', 'E'])?.parse().ok()?)),
    }
}

/// An unsigned decimal number: `digits × 10^exponent`, rounded up.
struct Number {
    digits: i128,
    exponent: i32,
}

impl Number {
    /// Parses `12`, `1.5`, `.5` and `5.`.
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let mut number = Self { digits: 0, exponent: 0 };
        let limit = 10_i128.pow(DIGITS - 1);
        let mut lost = false;
        for (digit, after_point) in
            whole.bytes().map(|digit| (digit, false)).chain(fraction.bytes().map(|digit| (digit, true)))
        {
            if number.digits < limit {
                number.digits = number.digits * 10 + i128::from(digit - b'0');
                number.exponent -= i32::from(after_point);
            } else {
                lost |= digit != b'0';
                number.exponent += i32::from(!after_point);
            }
        }
        number.digits += i128::from(lost);
        Some(number)
    }

    /// The number times a factor times 10^exponent, in nanos; `None` if that overflows.
    fn nanos(&self, factor: i128, exponent: i32) -> Option<i128> {
        let digits = self.digits * factor;
        let shift = self.exponent.checked_add(exponent)?.checked_add(9)?;
        match (digits, 10_i128.checked_pow(shift.unsigned_abs())) {
            (0, _) => Some(0),
            (_, Some(power)) if shift >= 0 => digits.checked_mul(power),
            (_, Some(power)) => Some(digits / power + i128::from(digits % power != 0)),
            (_, None) => (shift < 0).then_some(1),
        }
    }
}

#[cfg(test)]
#[path = "quantity_test.rs"]
mod tests;
