//! How runs and workers stand, in the words of the wire; and what a person can do about a run that cannot move.

use roundhouse_core::status::{RunState, RunView, Stuck, WorkerView};
use roundhouse_proto::Role;
use roundhouse_proto::wire::{REASON_MAX_BYTES, v1};

use crate::report::line::{MESSAGE_CHARS_MAX, one_line};
use crate::report::moment;
use crate::server::Url;

pub(super) fn of_run(view: &RunView, dir: &str, url: &Url) -> v1::RunStatus {
    let (state, reason) = match &view.state {
        RunState::Active => (v1::RunState::Active, ""),
        RunState::Paused { reason } => (v1::RunState::Paused, reason.as_str()),
        RunState::Complete => (v1::RunState::Complete, ""),
        RunState::Incomplete { reason } => (v1::RunState::Incomplete, reason.as_str()),
        RunState::Cancelled { reason } => (v1::RunState::Cancelled, reason.as_str()),
    };
    v1::RunStatus {
        run: view.run().into(),
        dir: dir.to_owned(),
        state: state.into(),
        reason: cut(reason.to_owned()),
        problems_n: view.spec.problems.len() as u64,
        passed_n: view.passed_n.into(),
        failed_n: view.failed_n.into(),
        errors_n: view.errors_n.into(),
        generated_n: view.generated_n.into(),
        jobs_ready_n: view.jobs_ready_n.into(),
        jobs_leased_n: view.jobs_leased_n.into(),
        usage: Some(view.usage.into()),
        calls_n: view.calls_n.into(),
        calls_unaccounted_n: view.calls_unaccounted_n.into(),
        active_ms: view.active_ms,
        started: moment::to_the_second(view.spec.started),
        model: view.spec.session.model.clone(),
        endpoint: view.endpoint.clone().unwrap_or_default(),
        data_set: view.spec.data_set.name.clone(),
        generation_slots: view.generation_slots.into(),
        evaluation_slots: view.evaluation_slots.into(),
        cores: view.cores.into(),
        warnings: view.stuck.iter().map(|stuck| warning(stuck, url)).collect(),
    }
}

/// Whether nothing is to come any more unless somebody asks for it.
pub(super) fn is_over(state: &RunState) -> bool {
    match state {
        RunState::Active | RunState::Paused { .. } => false,
        RunState::Complete | RunState::Incomplete { .. } | RunState::Cancelled { .. } => true,
    }
}

pub(super) fn of_worker(view: WorkerView) -> v1::WorkerStatus {
    let state = if view.is_lost {
        v1::WorkerState::Lost
    } else {
        v1::WorkerState::Joined
    };
    let load = |(role, slots, busy): (Role, u32, u32)| v1::RoleLoad {
        role: v1::Role::from(role).into(),
        slots: slots.into(),
        busy: busy.into(),
    };
    v1::WorkerStatus {
        worker: view.worker.into(),
        name: view.name,
        state: state.into(),
        build: view.build,
        roles: view.roles.into_iter().map(load).collect(),
        languages: view.languages.into_iter().map(Into::into).collect(),
        isolation: view
            .isolation
            .map(|isolation| v1::Isolation::from(isolation).into()),
        cores: view.cores.into(),
        endpoints: view.endpoints.into_iter().map(Into::into).collect(),
        silent_ms: view.silent_ms,
        joined_ms: view.joined_ms,
    }
}

/// Why a run cannot move and, on a line of its own, the command that helps; at most 4 KiB.
pub fn warning(stuck: &Stuck, url: &Url) -> String {
    // What endpoints and workers say is put on one line.
    let why = one_line(&stuck.to_string(), REASON_MAX_BYTES / 8);
    cut(format!("{why}\nhint: {}", hint(stuck, url)))
}

fn hint(stuck: &Stuck, url: &Url) -> String {
    let with_a_key = |name: &str| {
        let name = one_line(name, MESSAGE_CHARS_MAX);
        format!("`worker join --role gen --endpoint {name}=URL --api-key-file FILE --coordinator {url}`")
    };
    match stuck {
        Stuck::NoWorker { role } => format!("`worker join --role {role} --slots 8 --coordinator {url}`"),
        Stuck::NoEndpoint { name: None } => format!(
            "{}, or one with `OPENAI_API_KEY` or `DEEPSEEK_API_KEY` in its environment",
            with_a_key("NAME")
        ),
        Stuck::NoEndpoint { name: Some(name) } => with_a_key(name),
        Stuck::ManyEndpoints { .. } => {
            "cancel the run and submit it again with `--endpoint NAME`, or let only one endpoint's workers join"
                .to_owned()
        }
        Stuck::NoKey { endpoint, .. } => format!("{}, with a key that works", with_a_key(endpoint)),
        Stuck::NoInterpreter { .. } => {
            format!("`worker join --role eval --slots 8 --python PATH --coordinator {url}`")
        }
        Stuck::OtherInterpreters { bound, .. } => format!(
            "`worker join --role eval --slots 8 --python PATH --coordinator {url}`, with a {}; or submit it again with \
             `--mixed-versions`",
            one_line(bound, MESSAGE_CHARS_MAX)
        ),
    }
}

/// The beginning of a text for people that is as long as the wire takes.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(REASON_MAX_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_says_why_and_below_it_the_command_that_helps() {
        let url = Url::of_port("127.0.0.1:7717".parse().expect("an address"), "host");
        let role = Role::Eval;
        assert_eq!(
            warning(&Stuck::NoWorker { role }, &url),
            "no evaluation worker is joined\n\
             hint: `worker join --role eval --slots 8 --coordinator http://127.0.0.1:7717`"
        );
        let refused = Stuck::NoKey {
            endpoint: "main".to_owned(),
            reason: "401: \u{1b}[2Jno\nhint: `rm -r /`".to_owned(),
        };
        assert_eq!(
            warning(&refused, &url),
            "the endpoint `main` refuses every worker's key: 401:  [2Jno hint: `rm -r /`\n\
             hint: `worker join --role gen --endpoint main=URL --api-key-file FILE --coordinator \
             http://127.0.0.1:7717`, with a key that works"
        );
        let other = Stuck::OtherInterpreters {
            bound: "CPython 3.11".to_owned(),
            offered: vec!["CPython 3.12".to_owned()],
        };
        assert_eq!(
            warning(&other, &url),
            "its programs are judged by CPython 3.11, and the evaluation workers have only CPython 3.12; a run with \
             `--mixed-versions` takes any\n\
             hint: `worker join --role eval --slots 8 --python PATH --coordinator http://127.0.0.1:7717`, with a \
             CPython 3.11; or submit it again with `--mixed-versions`"
        );
        let several = Stuck::ManyEndpoints {
            names: vec!["x".repeat(4_000), "y".repeat(4_000)],
        };
        let text = warning(&several, &url);
        assert!(
            text.len() <= REASON_MAX_BYTES && text.contains("\nhint: cancel the run"),
            "{text}"
        );
    }
}
