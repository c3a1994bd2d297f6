//! The split of the slots by load, and when it changes.
use super::*;

/// The load of 16 slots in a burst of creates.
pub const MANY_CREATES: Load = Load {
    precedence: Precedence::Edit,
    is_create: true,
    waiting: 16 * MANY_PER_SLOT,
    in_flight: 16 * FAR_AHEAD_PER_SLOT - 1,
};

#[test]
fn children_go_first_in_a_wave_of_creates_until_half_of_them_exist() {
    let woken = Load { precedence: Precedence::Normal, is_create: false, ..MANY_CREATES };
    let (half, far_ahead) = (16 * FAR_AHEAD_PER_SLOT, 16 * MAX_AHEAD_PER_SLOT);
    let caught_up = 16 * CAUGHT_UP_PER_SLOT;
    for (what, load, before, expected) in [
        ("a wave of creates", MANY_CREATES, IN_STEP, CHILDREN_FIRST),
        ("few creates", Load { waiting: 16 * MANY_PER_SLOT - 1, ..MANY_CREATES }, CHILDREN_FIRST, IN_STEP),
        ("a wave of edits", Load { is_create: false, ..MANY_CREATES }, CHILDREN_FIRST, IN_STEP),
        ("a child woke it", woken, CHILDREN_FIRST, CHILDREN_FIRST),
        ("far ahead, and a child woke it", Load { in_flight: half, ..woken }, CHILDREN_FIRST, IN_STEP),
        (
            "half of the children exist",
            Load { waiting: half, in_flight: half, ..MANY_CREATES },
            CHILDREN_FIRST,
            STATUSES_FIRST,
        ),
        (
            "fewer exist",
            Load { waiting: half + 1, in_flight: half, ..MANY_CREATES },
            CHILDREN_FIRST,
            CHILDREN_FIRST,
        ),
        (
            "a huge wave",
            Load { waiting: 10_000, in_flight: far_ahead, ..MANY_CREATES },
            CHILDREN_FIRST,
            STATUSES_FIRST,
        ),
        (
            "statuses catch up",
            Load { in_flight: caught_up + 1, ..MANY_CREATES },
            STATUSES_FIRST,
            STATUSES_FIRST,
        ),
        ("an edit while they do", Load { is_create: false, ..MANY_CREATES }, STATUSES_FIRST, IN_STEP),
        ("a child woke it while they do", woken, STATUSES_FIRST, STATUSES_FIRST),
        (
            "statuses have caught up",
            Load { in_flight: caught_up, ..MANY_CREATES },
            STATUSES_FIRST,
            CHILDREN_FIRST,
        ),
    ] {
        assert_eq!(load.split(before, 16), expected, "{what}");
    }
}

#[test]
fn a_split_scales_and_keeps_a_slot_for_each() {
    for (count, expected) in [
        (1, [(1, 1), (2, 1), (2, 1)]),
        (2, [(2, 1), (3, 1), (3, 2)]),
        (4, [(3, 2), (5, 1), (5, 4)]),
        (16, [(12, 9), (20, 2), (20, 16)]),
    ] {
        let scaled = [IN_STEP, CHILDREN_FIRST, STATUSES_FIRST].map(|split| split.of(count));
        assert_eq!(scaled.map(|split| (split.open, split.for_statuses)), expected, "{count}");
    }
}
