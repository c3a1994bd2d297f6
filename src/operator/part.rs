//! The error for a background task that exited unexpectedly.

use tokio::task::JoinError;

/// A background task of the operator exited unexpectedly.
#[derive(Debug, thiserror::Error)]
#[error("a background task of the operator exited unexpectedly: {0}")]
pub struct TaskExited(String);

impl From<Option<Result<(), JoinError>>> for TaskExited {
    fn from(ended: Option<Result<(), JoinError>>) -> Self {
        Self(match ended {
            Some(Err(error)) => error.to_string(),
            Some(Ok(())) | None => "it returned".to_owned(),
        })
    }
}
