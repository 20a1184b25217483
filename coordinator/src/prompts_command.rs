//! Prompt templates as files: `prompts show`, `prompts export`, and reading the directory of `run --prompts`.
//!
//! What a template says is the worker crate's; here are only names of files and their texts.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use roundhouse_proto::{Digest, PromptSet};
use roundhouse_worker::generate::prompts::{self, PromptError, Prompts};

use crate::exit;

/// How a template's file ends.
const EXTENSION: &str = "j2";
/// Longest template, in bytes.
const TEMPLATE_BYTES_MAX: u64 = 1 << 20;

/// What can be done with prompts.
#[derive(Debug, Subcommand)]
pub enum PromptsCommand {
    /// Print the names of the built-in templates, or one template
    Show(ShowArgs),
    /// Write the built-in templates as files, to be changed and used with `run --prompts DIR`
    Export(ExportArgs),
}

/// Which template is printed.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Name of a template
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// Where the templates go.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The directory, which is made if it is not there; a template's file that is there already is an error
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Why a directory gives no prompts.
#[derive(Debug, thiserror::Error)]
pub enum PromptDirError {
    /// It, or something in it, cannot be read.
    #[error("read prompts from `{}`", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no template's.
    #[error(
        "`{}` is the file of no prompt: expected names such as `coder.{EXTENSION}`\n\
         hint: `coordinator prompts show` prints all names",
        path.display()
    )]
    Unknown {
        /// The path.
        path: PathBuf,
    },
    /// A file is too long for a template.
    #[error("`{}` has {found} bytes: expected at most {TEMPLATE_BYTES_MAX}", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        found: u64,
    },
    /// There is nothing to use.
    #[error(
        "there is no prompt in `{}`\n\
         hint: `coordinator prompts export DIR` writes the built-in ones",
        dir.display()
    )]
    Empty {
        /// The directory.
        dir: PathBuf,
    },
    /// A template cannot be used.
    #[error("use the prompts in `{}`", dir.display())]
    Template {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: PromptError,
    },
}

/// The addresses of all templates by name, those of a set in place of built-in ones.
pub fn addresses(set: &PromptSet) -> BTreeMap<String, Digest> {
    prompts::hashes(&set.templates)
}

/// Reads the templates in a directory, `NAME.j2` each, and tries them out. Hidden files are passed over.
///
/// # Errors
/// Says which file is not as it should be.
pub fn load(dir: &Path) -> Result<PromptSet, PromptDirError> {
    let read = |path: &Path, source| PromptDirError::Read {
        path: path.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| read(dir, error))? {
        paths.push(entry.map_err(|error| read(dir, error))?.path());
    }
    // So that of several mistakes the same one is always named.
    paths.sort();
    let mut templates = BTreeMap::new();
    for path in paths {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if file.starts_with('.') {
            continue;
        }
        let name = prompts::names()
            .into_iter()
            .find(|name| file == file_name(name))
            .ok_or_else(|| PromptDirError::Unknown { path: path.clone() })?;
        let found = std::fs::metadata(&path)
            .map_err(|error| read(&path, error))?
            .len();
        if found > TEMPLATE_BYTES_MAX {
            return Err(PromptDirError::TooLong { path, found });
        }
        let text = std::fs::read_to_string(&path).map_err(|error| read(&path, error))?;
        templates.insert(name.to_owned(), text);
    }
    let dir = dir.to_owned();
    if templates.is_empty() {
        return Err(PromptDirError::Empty { dir });
    }
    match Prompts::new(&templates) {
        Ok(_) => Ok(PromptSet { templates }),
        Err(source) => Err(PromptDirError::Template { dir, source }),
    }
}

fn file_name(name: &str) -> String {
    format!("{name}.{EXTENSION}")
}

/// Does what a command says.
///
/// # Errors
/// A name is unknown, or a file cannot be written.
pub fn run(command: &PromptsCommand) -> anyhow::Result<ExitCode> {
    match command {
        PromptsCommand::Show(args) => show(args.name.as_deref()),
        PromptsCommand::Export(args) => export(&args.dir),
    }
}

fn show(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let sources = prompts::sources();
    let text = match name {
        Some(name) => {
            let unknown = || PromptError::Unknown {
                name: name.to_owned(),
            };
            let source = sources
                .get(name)
                .ok_or_else(|| exit::usage(unknown().to_string()))?;
            (*source).to_owned()
        }
        None => prompts::names()
            .into_iter()
            .map(|name| format!("{name:<14} {}\n", prompts::purpose(name).unwrap_or_default()))
            .collect(),
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A program that stops reading is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

fn export(dir: &Path) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(dir).with_context(|| format!("make `{}`", dir.display()))?;
    let sources = prompts::sources();
    let places: Vec<(PathBuf, &str)> = sources
        .iter()
        .map(|(name, source)| (dir.join(file_name(name)), *source))
        .collect();
    if let Some((place, _)) = places.iter().find(|(place, _)| place.exists()) {
        return Err(exit::usage(format!(
            "`{}` is there already\nhint: name another directory, or remove what is to be written anew",
            place.display()
        )));
    }
    for (place, source) in &places {
        std::fs::write(place, source).with_context(|| format!("write `{}`", place.display()))?;
    }
    crate::notices::note(&format!("{} templates are in `{}`", places.len(), dir.display()));
    crate::notices::hint(&format!(
        "`coordinator run --prompts {}` uses them; those that you remove stay built in",
        dir.display()
    ));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    #[test]
    fn exported_templates_are_read_back_and_never_written_over() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b");
        export(&dir).unwrap();
        std::fs::write(dir.join(".coder.j2.swp"), "an editor's").unwrap();
        let read = load(&dir).unwrap().templates;
        let written = prompts::sources()
            .into_iter()
            .map(|(name, text)| (name, text.to_owned()));
        assert_eq!(read, written.collect());
        std::fs::write(dir.join("coder.j2"), "Mine.").unwrap();
        let error = export(&dir).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        assert_eq!(load(&dir).unwrap().templates["coder"], "Mine.");
    }

    #[test]
    fn one_template_is_enough() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("analyst.j2"), "Plan.").unwrap();
        let expected = BTreeMap::from([("analyst".to_owned(), "Plan.".to_owned())]);
        assert_eq!(load(place.path()).unwrap(), PromptSet { templates: expected });
    }

    #[test]
    fn file_too_long_for_a_template_is_refused_with_its_length() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("analyst.j2");
        std::fs::write(&path, vec![b'a'; (1 << 20) + 1]).unwrap();
        assert_eq!(
            load(place.path()).unwrap_err().to_string(),
            format!("`{}` has 1048577 bytes: expected at most 1048576", path.display())
        );
    }
}
