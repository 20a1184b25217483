//! The Unix socket of `coordinator run`.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::net::UnixListener;

/// The longest path that a Unix socket may have, with room for the final zero.
const SOCKET_PATH_MAX: usize = 107;

/// A Unix socket's path, removed when dropped.
#[derive(Debug)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// A directory that was made only for it.
    own_dir: Option<PathBuf>,
}

impl Socket {
    /// In the data directory, or, where that path is too long for a socket or no text, in a new directory of its own among the
    /// temporary files that only this user may enter.
    pub(super) fn make(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("coordinator.sock");
        // The path is also an argument of the workers, as text.
        if path.as_os_str().len() <= SOCKET_PATH_MAX && path.to_str().is_some() {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove the old socket `{}`", path.display()));
                }
                Ok(()) | Err(_) => return Ok(Self { path, own_dir: None }),
            }
        }
        let own_dir = std::env::temp_dir().join(format!("roundhouse-{}", uuid::Uuid::new_v4()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&own_dir)
            .with_context(|| format!("make `{}` for the socket", own_dir.display()))?;
        std::fs::set_permissions(&own_dir, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("close `{}` to others", own_dir.display()))?;
        Ok(Self {
            path: own_dir.join("s"),
            own_dir: Some(own_dir),
        })
    }

    /// Listens on it; only this user may connect.
    pub(super) fn listen(&self) -> anyhow::Result<UnixListener> {
        let listener =
            UnixListener::bind(&self.path).with_context(|| format!("listen on `{}`", self.path.display()))?;
        // A data directory that was there before may let others in.
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("close `{}` to others", self.path.display()))?;
        Ok(listener)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What stays behind after a crash in the data directory is removed by the next start.
        let _ = std::fs::remove_file(&self.path);
        if let Some(dir) = &self.own_dir {
            let _ = std::fs::remove_dir(dir);
        }
    }
}
