//! Where the state of a run lies: in its run directory, or in another that a file there names.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Name of the state's directory within a run directory.
pub const STATE_DIR: &str = ".state";

/// Where the state of a run lies: in the run directory, or where a file there says.
///
/// # Errors
/// There is none.
pub fn state_dir_of(run_dir: &Path) -> anyhow::Result<PathBuf> {
    let place = run_dir.join(STATE_DIR);
    if place.is_dir() {
        return Ok(place);
    }
    match std::fs::read_to_string(&place) {
        Ok(text) if Path::new(text.trim_end()).is_dir() => Ok(PathBuf::from(text.trim_end())),
        Ok(text) => bail!(
            "`{}` says that the state lies in `{}`, which is no directory",
            place.display(),
            text.trim_end()
        ),
        Err(_) => bail!(
            "`{}` is no run directory with a state: expected `{}` in it\nhint: run directories are named \
             `OUTPUT_DIR/run_YYYYmmdd_HHMMSS`",
            run_dir.display(),
            STATE_DIR
        ),
    }
}

/// Notes in `place` that the state lies in `data_dir`.
///
/// # Errors
/// The note cannot be written.
pub fn write_state_link(place: &Path, data_dir: &Path) -> anyhow::Result<()> {
    let target = std::path::absolute(data_dir).with_context(|| format!("find `{}`", data_dir.display()))?;
    let text = format!("{}\n", target.display());
    std::fs::write(place, text).with_context(|| format!("write `{}`", place.display()))
}
