//! The children of an `ElpioService`. Pure.

use super::{Defaults, Desired, Owner, ValidService};

/// The objects that a valid service asks for, in the order in which they are applied.
#[must_use]
pub fn render(_owner: &Owner<'_>, _valid: &ValidService, _defaults: &Defaults) -> Desired {
    Desired::default()
}
