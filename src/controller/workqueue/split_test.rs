//! The split of the slots by load.
use super::*;

/// The load of 16 slots in a burst of creates.
pub const MANY_CREATES: Load = Load {
    precedence: Precedence::Edit,
    is_create: true,
    waiting: 16 * MANY_PER_SLOT,
    in_flight: 16 * MAX_AHEAD_PER_SLOT - 1,
};

#[test]
fn children_go_first_in_a_wave_of_creates() {
    for (what, load, expected) in [
        ("a wave of creates", MANY_CREATES, Some(CHILDREN_FIRST)),
        ("few creates", Load { waiting: 16 * MANY_PER_SLOT - 1, ..MANY_CREATES }, Some(IN_STEP)),
        ("a wave of edits", Load { is_create: false, ..MANY_CREATES }, Some(IN_STEP)),
        ("a child woke it", Load { precedence: Precedence::Normal, is_create: false, ..MANY_CREATES }, None),
        ("far ahead", Load { in_flight: 16 * MAX_AHEAD_PER_SLOT, ..MANY_CREATES }, Some(IN_STEP)),
        (
            "far ahead, and a child woke it",
            Load { precedence: Precedence::Normal, in_flight: 16 * MAX_AHEAD_PER_SLOT, ..MANY_CREATES },
            Some(IN_STEP),
        ),
    ] {
        assert_eq!(load.split(16), expected, "{what}");
    }
}
