//! One writer for each name that does not exist yet: two owners that desire one child must not both find its
//! name free. It makes no request.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::{cluster::ObjectKey, foreign::ChildKind};

type Name = (ChildKind, ObjectKey);

/// The names that are being looked up and created.
///
/// Server-side apply cannot tell two owners apart, because they share a field manager: the second one's
/// apply replaces the ownerReference of the first without a conflict. So the GET and the write that follows
/// it are one critical section for each name. Only the leader writes, so a lock in its memory is enough.
#[derive(Debug, Default)]
pub struct NameLocks(Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>);

impl NameLocks {
    /// Waits until no other owner is creating a child of that name.
    pub async fn lock(&self, kind: ChildKind, key: ObjectKey) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry((kind, key)).or_default().clone()
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_name_is_locked_once_and_forgotten_when_it_is_free() {
        let locks = NameLocks::default();
        let key = |name: &str| ObjectKey { namespace: "shop".into(), name: name.into() };
        let first = locks.lock(ChildKind::Service, key("web")).await;
        assert!(locks.lock(ChildKind::Service, key("web")).now_or_never().is_none(), "it is locked");
        assert!(locks.lock(ChildKind::Deployment, key("web")).now_or_never().is_some(), "another kind");
        assert!(locks.lock(ChildKind::Service, key("api")).now_or_never().is_some(), "another name");
        drop(first);
        assert!(locks.lock(ChildKind::Service, key("web")).now_or_never().is_some(), "it is free again");
        assert_eq!(locks.0.lock().len(), 1, "names without a waiter are forgotten");
    }
}
