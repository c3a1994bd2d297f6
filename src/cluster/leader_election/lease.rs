//! The Lease object: its name, and the note that a releasing leader leaves on it. Makes no requests.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use sha2::{Digest, Sha256};

/// The Lease's name for all namespaces, and the prefix of the names for other installations.
pub const LEASE_NAME: &str = "elpio-operator";

/// On a released Lease: all spans up to this time were exported, so the next leader does not send them again.
const EXPORTED_UNTIL: &str = "elpio.io/exported-until";

/// The name of an installation's Lease: two installations in one namespace that watch different namespaces
/// must not lock each other out. `namespaces` is sorted.
#[must_use]
pub fn lease_name(namespaces: &[String]) -> String {
    if namespaces.is_empty() {
        return LEASE_NAME.to_owned();
    }
    let digest = Sha256::digest(namespaces.join(","));
    let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
    format!("{LEASE_NAME}-{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// Writes the time for the next leader.
pub(super) fn set_exported_until(lease: &mut Lease, until: Option<Timestamp>) {
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.remove(EXPORTED_UNTIL);
    annotations.extend(until.map(|at| (EXPORTED_UNTIL.to_owned(), at.to_string())));
}

/// Takes the time off the Lease: only the next leader may use it, since only its predecessor's clock counts.
pub(super) fn take_exported_until(lease: &mut Lease) -> Option<Timestamp> {
    lease.metadata.annotations.as_mut()?.remove(EXPORTED_UNTIL)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_the_installation() {
        let name =
            |namespaces: &[&str]| lease_name(&namespaces.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert_eq!(name(&[]), LEASE_NAME);
        // It must not change between versions: an upgraded replica would lead in parallel with the old one.
        assert_eq!(name(&["team-a"]), "elpio-operator-96c2886c");
        assert_ne!(name(&["team-a"]), name(&["team-b"]));
        assert_ne!(name(&["team-a"]), name(&["team-a", "team-b"]));
    }

    #[test]
    fn the_time_is_left_once_and_a_spoilt_one_is_none() {
        let (mut lease, at) = (Lease::default(), Timestamp::from_microsecond(1_700_000_000_123_456).ok());
        set_exported_until(&mut lease, at);
        assert_eq!(take_exported_until(&mut lease), at);
        assert_eq!(take_exported_until(&mut lease), None);
        set_exported_until(&mut lease, at);
        set_exported_until(&mut lease, None);
        assert_eq!(take_exported_until(&mut lease), None);
        lease.metadata.annotations = Some([(EXPORTED_UNTIL.to_owned(), "soon".to_owned())].into());
        assert_eq!(take_exported_until(&mut lease), None);
    }
}
