//! Quantities, compared with apimachinery: tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::render::quantity::Quantity;

/// Checked against `ParseQuantity` and `CanonicalizeBytes` of apimachinery 0.35, except `1000E` (printed as
/// `1` there).
#[test]
fn canonical_forms_are_those_of_apimachinery() {
    let cases = [
        ("0", "0"),
        ("0Mi", "0"),
        ("00", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("-1", "-1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1.50", "1500m"),
        ("100m", "100m"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1000M", "1G"),
        ("1500M", "1500M"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("0.5Ki", "512"),
        ("1023", "1023"),
        ("100Ki", "100Ki"),
        ("1.1Ki", "1126400m"),
        ("0.0001Ki", "102400u"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1e1", "10"),
        ("12e6", "12e6"),
        ("1.5e3", "1500"),
        ("1e-3", "1e-3"),
        ("100e-1", "10"),
        ("1E", "1E"),
        ("1Ei", "1Ei"),
        ("8Ei", "9223372036854775807"),
        ("10E", "10E"),
        ("1e21", "1e21"),
        ("1000E", "1e21"),
        ("0.0000000001", "1n"),
        ("1.0000000001", "1000000001n"),
        ("12345678901234567891", "12345678901234567891"),
        ("1n", "1n"),
        ("1u", "1u"),
        ("1000000n", "1m"),
        ("250m", "250m"),
        ("2Ti", "2Ti"),
        ("3Pi", "3Pi"),
    ];
    for (text, canonical) in cases {
        let quantity = Quantity::parse(text).unwrap_or_else(|| panic!("{text} is a quantity"));
        assert_eq!(quantity.to_string(), canonical, "{text}");
        assert_eq!(Quantity::parse(canonical), Some(quantity), "{canonical} is the same amount as {text}");
    }
}

#[test]
fn what_is_no_quantity_is_refused() {
    for text in [
        "", " 1", "1 ", "abc", "1K", "1ki", "1mi", "1KI", "1.2.3", ".", "+", "-", "--1", "1e", "1e1.5",
        "1Zi", "1mm", "0x10", "1,5", "1e99", "m", "Mi", "½",
    ] {
        assert_eq!(Quantity::parse(text), None, "{text:?}");
    }
}

#[test]
fn equality_and_order_are_by_value() {
    let quantity = |text| Quantity::parse(text).expect("a quantity");
    for (one, other) in
        [("1", "1000m"), ("1Gi", "1024Mi"), ("1e3", "1k"), ("0.1", "100m"), ("1G", "1000000k")]
    {
        assert_eq!(quantity(one), quantity(other));
    }
    assert!(quantity("1G") < quantity("1Gi"));
    assert!(quantity("999m") < quantity("1"));
    assert!(quantity("-1").is_negative() && !quantity("0").is_negative());
}

#[test]
fn thousandths_are_rounded_up_as_the_api_server_does() {
    for (text, millis) in [("1", 1000), ("1u", 1), ("1500u", 2), ("0", 0), ("1001n", 1), ("-1u", -1)] {
        assert_eq!(Quantity::parse(text).expect("a quantity").in_millis(), millis, "{text}");
    }
}
