//! Colours and text styles of the pictures. It draws nothing.

use plotters::{
    coord::Shift,
    prelude::{DrawingArea, RGBColor, SVGBackend},
    style::{Color as _, FontStyle, IntoFont as _, TextStyle},
};

/// An area of a picture in pixels.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// An error of the backend, which cannot occur: it writes to a string.
pub(super) type DrawingError = Box<dyn std::error::Error>;

/// Series in this order; they differ in lightness, too.
const PALETTE: [RGBColor; 10] = [
    RGBColor(0x2f, 0x6f, 0xde),
    RGBColor(0xe0, 0x7b, 0x1f),
    RGBColor(0x2a, 0x9d, 0x6f),
    RGBColor(0xb0, 0x48, 0x9c),
    RGBColor(0x8a, 0x6d, 0x3b),
    RGBColor(0x17, 0xa2, 0xb8),
    RGBColor(0xc9, 0xa4, 0x00),
    RGBColor(0x6a, 0x5a, 0xcd),
    RGBColor(0x7a, 0x87, 0x94),
    RGBColor(0xd4, 0x52, 0x6e),
];
pub(super) const BACKGROUND: RGBColor = RGBColor(0xf7, 0xf9, 0xfb);
pub(super) const PANEL: RGBColor = RGBColor(0xff, 0xff, 0xff);
pub(super) const BORDER: RGBColor = RGBColor(0xd8, 0xde, 0xe4);
pub(super) const GRID: RGBColor = RGBColor(0xe4, 0xe8, 0xec);
pub(super) const TEXT: RGBColor = RGBColor(0x1f, 0x29, 0x33);
pub(super) const FAINT: RGBColor = RGBColor(0x6b, 0x77, 0x83);
pub(super) const ERROR: RGBColor = RGBColor(0xd0, 0x34, 0x2c);
pub(super) const ACCENT: RGBColor = PALETTE[0];

/// `plotters` divides font sizes by this.
const FONT_SCALE: f64 = 1.24;

pub(super) fn series_color(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// The colour, mixed with white.
pub(super) fn lighten(color: RGBColor, opacity: f64) -> RGBColor {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255")]
    let mix = |channel: u8| (f64::from(channel) * opacity + 255.0 * (1.0 - opacity)) as u8;
    RGBColor(mix(color.0), mix(color.1), mix(color.2))
}

pub(super) fn text(size: i32, color: RGBColor) -> TextStyle<'static> {
    with_color(("sans-serif", f64::from(size) * FONT_SCALE).into_font().into(), color)
}

pub(super) fn bold(size: i32, color: RGBColor) -> TextStyle<'static> {
    with_color(("sans-serif", f64::from(size) * FONT_SCALE, FontStyle::Bold).into_font().into(), color)
}

fn with_color(mut style: TextStyle<'static>, color: RGBColor) -> TextStyle<'static> {
    style.color = color.to_backend_color();
    style
}
