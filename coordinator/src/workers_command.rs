//! `coordinator workers`: the fleet in a table.

use std::process::ExitCode;

use clap::Args;

use crate::client::seen::{SeenEndpoint, SeenWorker};
use crate::client::table::{print, print_json, table};
use crate::client::{Client, CoordinatorArgs, block_on};

/// Which fleet is looked at.
#[derive(Debug, Args)]
pub struct WorkersArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The coordinator.
    #[command(flatten)]
    pub at: CoordinatorArgs,
}

/// Prints how the workers are doing.
///
/// # Errors
/// The coordinator does not answer.
pub fn run(args: &WorkersArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let client = Client::new(&args.at.coordinator);
        let workers = client.workers().await?;
        if args.json {
            print_json(&workers)?;
            return Ok(ExitCode::SUCCESS);
        }
        if workers.is_empty() {
            crate::notices::note("no worker has joined");
            crate::notices::hint(&format!(
                "`worker join --role gen --coordinator {0}` and `worker join --role eval --coordinator {0}` join one of \
                 each role",
                client.address()
            ));
        } else {
            print(&rows(&workers))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn rows(workers: &[SeenWorker]) -> String {
    let headings = [
        "NAME",
        "STATE",
        "BUSY",
        "LANGUAGES",
        "ISOLATION",
        "HEARD",
        "ENDPOINTS",
    ];
    let row = |worker: &SeenWorker| {
        let loads = worker.roles.iter();
        let loads = loads.map(|load| format!("{} {}/{}", load.role, load.busy, load.slots));
        let languages = worker.languages.iter().map(|installed| {
            if installed.version.is_empty() {
                installed.language.word().to_owned()
            } else {
                installed.version.clone()
            }
        });
        [
            worker.name.clone(),
            worker.state.word().to_owned(),
            listed(loads),
            listed(languages),
            worker
                .isolation
                .map_or("-", |isolation| isolation.word())
                .to_owned(),
            ago(worker.silent_ms),
            listed(worker.endpoints.iter().map(endpoint)),
        ]
    };
    table(headings, &workers.iter().map(row).collect::<Vec<_>>())
}

fn listed(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

fn endpoint(endpoint: &SeenEndpoint) -> String {
    match &endpoint.benched {
        None => endpoint.name.clone(),
        Some(reason) => format!("{} (benched: {reason})", endpoint.name),
    }
}

/// How long ago, roughly.
fn ago(ms: u64) -> String {
    match ms / 1_000 {
        0 => "now".to_owned(),
        seconds if seconds < 120 => format!("{seconds} s ago"),
        seconds if seconds < 7_200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use bytes::Bytes;
    use roundhouse_proto::wire::v1;

    use super::*;

    fn load(role: v1::Role, busy: u64, slots: u64) -> v1::RoleLoad {
        v1::RoleLoad {
            role: role.into(),
            slots,
            busy,
        }
    }

    fn worker(name: &str, roles: Vec<v1::RoleLoad>) -> v1::WorkerStatus {
        v1::WorkerStatus {
            worker: Bytes::from_static(&[7; 16]),
            name: name.to_owned(),
            state: v1::WorkerState::Joined.into(),
            build: "0.1.0".to_owned(),
            roles,
            languages: Vec::new(),
            isolation: None,
            cores: 4,
            endpoints: Vec::new(),
            silent_ms: 300,
            joined_ms: 60_000,
        }
    }

    /// A generation worker, an evaluation worker, and one that was lost.
    pub(crate) fn fleet_of_three() -> Vec<SeenWorker> {
        let mut generation = worker("gen-1\n", vec![load(v1::Role::Gen, 5, 8)]);
        generation.endpoints = vec![
            v1::EndpointOffer {
                name: "deepseek".to_owned(),
                benched: Some("401 Unauthorized".to_owned()),
            },
            v1::EndpointOffer {
                name: "local".to_owned(),
                benched: None,
            },
        ];
        let mut evaluation = worker("eval-1", vec![load(v1::Role::Eval, 1, 2)]);
        evaluation.isolation = Some(v1::Isolation::FullNocg.into());
        evaluation.silent_ms = 90_000;
        evaluation.languages = vec![v1::InstalledLanguage {
            language: v1::Language::Python3.into(),
            version: "CPython 3.13.5".to_owned(),
        }];
        let mut lost = worker(
            "both",
            vec![load(v1::Role::Gen, 0, 2), load(v1::Role::Eval, 1, 4)],
        );
        lost.state = v1::WorkerState::Lost.into();
        lost.silent_ms = 300_000;
        let fleet = [generation, evaluation, lost].into_iter();
        fleet.map(|status| status.try_into().unwrap()).collect()
    }

    #[test]
    fn workers_are_a_table_with_the_reason_of_a_benched_endpoint() {
        let wanted = "\
NAME    STATE   BUSY               LANGUAGES       ISOLATION  HEARD      ENDPOINTS
gen-1   joined  gen 5/8            -               -          now        deepseek (benched: 401 Unauthorized), local
eval-1  joined  eval 1/2           CPython 3.13.5  full-nocg  90 s ago   -
both    lost    gen 0/2, eval 1/4  -               -          5 min ago  -
";
        assert_eq!(rows(&fleet_of_three()), wanted);
    }

    #[test]
    fn worker_as_json_keeps_its_words() {
        let json = serde_json::to_value(&fleet_of_three()[1]).unwrap();
        let wanted = serde_json::json!({
            "worker": "07070707-0707-0707-0707-070707070707",
            "name": "eval-1",
            "state": "joined",
            "build": "0.1.0",
            "roles": [{"role": "eval", "slots": 2, "busy": 1}],
            "languages": [{"language": "python3", "version": "CPython 3.13.5"}],
            "isolation": "full-nocg",
            "cores": 4,
            "endpoints": [],
            "silent_ms": 90_000,
            "joined_ms": 60_000,
        });
        assert_eq!(json, wanted);
    }
}
