//! Writes `src/generated` from `schema/`, or with `--check` says whether it is stale.
//!
//! Stands beside the data's path: its output is checked in, so that a build needs neither this nor `protoc`.
//! Messages and services go to files of their own, because the services need a runtime and the messages do not.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

const PACKAGE: &str = "roundhouse.v1";
const MESSAGES_FILE: &str = "roundhouse.v1.rs";
const SERVICES_FILE: &str = "roundhouse.v1.rpc.rs";
const WRITE_COMMAND: &str = "cargo run -p roundhouse-proto --features codegen --bin generate-wire";

enum Task {
    Write,
    Check,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let task = match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => Task::Write,
        ["--check"] => Task::Check,
        _ => {
            complain(&format!(
                "error: unknown arguments {arguments:?}: expected none or `--check`"
            ));
            return ExitCode::from(2);
        }
    };
    match run(&task) {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            for path in stale {
                complain(&format!(
                    "error: `{}` is not what `proto/schema` says",
                    path.display()
                ));
            }
            complain(&format!("hint: `{WRITE_COMMAND}`"));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("error: generate the wire code: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the only way this binary speaks")]
fn complain(line: &str) {
    eprintln!("{line}");
}

/// Gives the files that are stale; none once they are written.
fn run(task: &Task) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = here.join("src/generated");
    let files = generate(&here.join("schema"))?.map(|(name, text)| (generated.join(name), text));
    let mut stale = Vec::new();
    for (path, text) in files {
        match task {
            Task::Write => {
                fs::create_dir_all(&generated)?;
                fs::write(&path, text).map_err(|error| format!("write `{}`: {error}", path.display()))?;
            }
            Task::Check => {
                // A file that cannot be read is as stale as one that differs.
                if fs::read_to_string(&path).unwrap_or_default() != text {
                    stale.push(path);
                }
            }
        }
    }
    Ok(stale)
}

/// The generated files: name and text.
fn generate(schema: &Path) -> Result<[(&'static str, String); 2], Box<dyn Error>> {
    let folder = schema.join("roundhouse/v1");
    let mut sources = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| format!("list `{}`: {error}", folder.display()))? {
        sources.push(entry?.path());
    }
    sources.sort();
    let all = protox::compile(&sources, [schema])?;
    let mut messages_only = all.clone();
    for file in &mut messages_only.file {
        file.service.clear();
    }
    let builder = || {
        tonic_prost_build::configure()
            .bytes(".")
            .emit_rerun_if_changed(false)
    };
    let place = tempfile::tempdir()?;
    let messages = place.path().join("messages");
    fs::create_dir(&messages)?;
    builder().out_dir(&messages).compile_fds(messages_only)?;
    // Messages that are said to be elsewhere are not written again, which leaves the services.
    let services = place.path().join("services");
    fs::create_dir(&services)?;
    builder()
        .out_dir(&services)
        .extern_path(format!(".{PACKAGE}"), "crate::wire::v1")
        .compile_fds(all)?;
    let output = format!("{PACKAGE}.rs");
    Ok([
        (MESSAGES_FILE, fs::read_to_string(messages.join(&output))?),
        (SERVICES_FILE, fs::read_to_string(services.join(&output))?),
    ])
}
