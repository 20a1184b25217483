//! The real worker program against a coordinator that the test plays and a model server that counts.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod coordinator;

use std::process::Stdio;

use roundhouse_proto::link::{CoordMsg, EndpointOffer, WorkerMsg};
use roundhouse_proto::{GenerationOutcome, Role, SessionEvent, Speaker};
use roundhouse_tests::model_server::{Answer, ModelServer, Reply};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use coordinator::{Coordinator, PATIENCE, Side, lease, session};

/// A worker process, whose stderr is read at its end.
struct Worker {
    child: Child,
    /// What was read of its stderr.
    stderr: String,
}

/// How a worker ended: its exit status and its stderr.
type Ended = (Option<i32>, String);

impl Worker {
    fn start(coordinator: &Coordinator, args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_reading(Stdio::null(), coordinator, args, environment)
    }

    /// A worker with this standard input.
    fn start_reading(
        stdin: Stdio,
        coordinator: &Coordinator,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            let is_foreign = ["ROUNDHOUSE_", "OPENAI_", "DEEPSEEK_"]
                .iter()
                .any(|prefix| text.starts_with(prefix));
            if is_foreign || text.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(["join", "--name", "w", "--coordinator", &coordinator.url])
            .args(args)
            .envs(environment.iter().copied())
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            child,
            stderr: String::new(),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until it has said a word.
    async fn says(&mut self, word: &str) {
        let pipe = self.child.stderr.as_mut().unwrap();
        let reading = async {
            while !self.stderr.contains(word) {
                self.stderr.push(char::from(pipe.read_u8().await.unwrap()));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it says so");
    }

    async fn end(mut self) -> Ended {
        let mut pipe = self.child.stderr.take().unwrap();
        let ending = async {
            pipe.read_to_string(&mut self.stderr).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(PATIENCE, ending).await;
        (status.expect("the worker ends").code(), self.stderr)
    }
}

fn joined(coordinator: &Coordinator, slots: &str) -> String {
    format!("joined {} as w ({slots})", coordinator.url)
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// A server that answers as long as the test wants it to: analyst and coder, one program.
fn program() -> Answer {
    Answer::Reply(Reply::text("```python\nprint(1)\n```"))
}

async fn wait_for_calls(server: &ModelServer, n: usize) {
    let waiting = async {
        while server.calls_n() < n {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the model is asked");
}

/// Acknowledges a session's events until one that is none comes, which is given back with the events.
async fn follow(side: &mut Side) -> (Vec<SessionEvent>, Option<WorkerMsg>) {
    let mut events = Vec::new();
    loop {
        match side.hear().await {
            Some(WorkerMsg::Session {
                lease, seq, event, ..
            }) => {
                events.push(event);
                side.say(CoordMsg::Ack { lease, seq }).await;
            }
            other => return (events, other),
        }
    }
}

fn credit(n: u32) -> Option<WorkerMsg> {
    let role = Role::Gen;
    Some(WorkerMsg::Credit { role, n })
}

#[tokio::test]
async fn session_asks_the_model_of_its_endpoint_with_the_key_of_a_file() {
    let server = ModelServer::in_turn([program()]);
    let mut coordinator = Coordinator::start().await;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "sk-secret\n").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let endpoint = format!("far={}", server.url());
    let worker = Worker::start(
        &coordinator,
        &[
            "--role",
            "gen",
            "--slots",
            "2",
            "--endpoint",
            &endpoint,
            "--api-key-file",
            key.to_str().unwrap(),
        ],
        &[],
    );
    let mut side = coordinator.next_link().await;
    let hello = side.welcome().await;
    let offer = EndpointOffer {
        name: "far".to_owned(),
        benched: None,
    };
    assert_eq!(hello.endpoints, [offer]);
    assert!(!format!("{hello:?}").contains("sk-secret"));
    assert_eq!(side.hear().await, credit(2));
    side.say(CoordMsg::Jobs(vec![coordinator.grant(session(1, Some("far")))]))
        .await;
    let (events, next) = follow(&mut side).await;
    assert_eq!(next, credit(1));
    let said: Vec<(Speaker, u64)> = events
        .iter()
        .filter_map(|event| match event {
            SessionEvent::Said { speaker, usage, .. } => Some((*speaker, usage.unwrap().output)),
            _ => None,
        })
        .collect();
    let output = 1 + program_bytes() / 4;
    assert_eq!(said, [(Speaker::Analyst, output), (Speaker::Coder, output)]);
    let Some(SessionEvent::Finished(GenerationOutcome { program, .. })) = events.last() else {
        panic!("the session ends: {events:?}");
    };
    assert!(program.is_some());
    assert_eq!(server.served().output, 2 * output);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.key() == Some("sk-secret") && request.model() == "m")
    );

    // Holding nothing, it leaves at once.
    worker.signal(Signal::TERM);
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    let (code, stderr) = worker.end().await;
    assert_eq!(
        (code, lines(&stderr)),
        (Some(0), vec![joined(&coordinator, "gen 2").as_str()])
    );
}

fn program_bytes() -> u64 {
    "```python\nprint(1)\n```".len() as u64
}

#[tokio::test]
async fn refused_key_benches_the_endpoint_before_its_jobs_are_given_back() {
    let refusal = Answer::refusal(401, "invalid_api_key", "no such key: sk-secret");
    let server = ModelServer::in_turn([program(), refusal]);
    let mut coordinator = Coordinator::start().await;
    let base = server.url();
    let environment = [
        ("OPENAI_API_KEY", "sk-secret"),
        ("OPENAI_BASE_URL", base.as_str()),
    ];
    let worker = Worker::start(&coordinator, &["--role", "gen", "--slots", "1"], &environment);
    let mut side = coordinator.next_link().await;
    side.welcome().await;
    assert_eq!(side.hear().await, credit(1));
    side.say(CoordMsg::Jobs(vec![
        coordinator.grant(session(1, Some("openai"))),
    ]))
    .await;

    let (events, next) = follow(&mut side).await;
    // What was said before is stored; the session goes on from there elsewhere.
    assert!(
        matches!(
            events[..],
            [SessionEvent::Said {
                speaker: Speaker::Analyst,
                ..
            }]
        ),
        "{events:?}"
    );
    let reason = "401 Unauthorized: no such key: ***".to_owned();
    let (endpoint, benched) = ("openai".to_owned(), reason.clone());
    assert_eq!(
        next,
        Some(WorkerMsg::Benched {
            endpoint,
            reason: benched
        })
    );
    let nack = |seq, reason: &str| {
        Some(WorkerMsg::Nack {
            lease: lease(seq),
            reason: reason.to_owned(),
            unaccounted: 0,
        })
    };
    assert_eq!(side.hear().await, nack(1, &reason));
    assert_eq!(side.hear().await, credit(1));

    // Whatever else is handed to it: no call is made.
    side.say(CoordMsg::Jobs(vec![
        coordinator.grant(session(2, Some("openai"))),
    ]))
    .await;
    assert_eq!(side.hear().await, nack(2, &reason));
    assert_eq!(side.hear().await, credit(1));
    side.say(CoordMsg::Jobs(vec![
        coordinator.grant(session(3, Some("elsewhere"))),
    ]))
    .await;
    assert_eq!(
        side.hear().await,
        nack(3, "this worker has no endpoint called `elsewhere`")
    );
    assert_eq!(server.calls_n(), 2);
    drop(side);

    let mut side = coordinator.next_link().await;
    let hello = side.welcome().await;
    let offer = EndpointOffer {
        name: "openai".to_owned(),
        benched: Some(reason),
    };
    assert_eq!(hello.endpoints, [offer]);
    assert_eq!(side.hear().await, credit(1));
    worker.signal(Signal::INT);
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    let (code, stderr) = worker.end().await;
    let url = &coordinator.url;
    assert_eq!(
        (code, lines(&stderr)),
        (
            Some(0),
            vec![
                joined(&coordinator, "gen 1").as_str(),
                "warning: endpoint `openai` refuses the key and is asked nothing more: 401 Unauthorized: no such key: \
                 ***",
                &format!("lost the coordinator at {url}; what runs goes on, and it is tried again"),
                &format!("joined {url} again as w (gen 1)"),
            ]
        )
    );
}

#[tokio::test]
async fn interrupted_worker_finishes_what_it_has_and_gives_back_what_comes_after() {
    let (gate_in, gate) = std::sync::mpsc::sync_channel::<()>(0);
    let gate = std::sync::Mutex::new(gate);
    let server = ModelServer::start(move |_| {
        // Answers once the test lets it.
        let _ = gate.lock().unwrap().recv();
        program()
    });
    let mut coordinator = Coordinator::start().await;
    let base = server.url();
    let environment = [("OPENAI_BASE_URL", base.as_str())];
    let mut worker = Worker::start(&coordinator, &["--role", "gen", "--slots", "4"], &environment);
    let mut side = coordinator.next_link().await;
    side.welcome().await;
    assert_eq!(side.hear().await, credit(4));
    side.say(CoordMsg::Jobs(vec![
        coordinator.grant(session(1, Some("openai"))),
    ]))
    .await;
    wait_for_calls(&server, 1).await;
    worker.signal(Signal::INT);
    worker.says("finishing").await;
    side.say(CoordMsg::Jobs(vec![
        coordinator.grant(session(2, Some("openai"))),
    ]))
    .await;
    let nack = WorkerMsg::Nack {
        lease: lease(2),
        reason: "the worker leaves and takes nothing new".to_owned(),
        unaccounted: 0,
    };
    assert_eq!(side.hear().await, Some(nack));
    drop(gate_in);
    let (events, next) = follow(&mut side).await;
    assert!(
        matches!(events.last(), Some(SessionEvent::Finished(_))),
        "{events:?}"
    );
    assert!(matches!(next, Some(WorkerMsg::Goodbye { .. })), "{next:?}");
    drop(side);
    let (code, stderr) = worker.end().await;
    assert_eq!(
        (code, lines(&stderr)),
        (
            Some(0),
            vec![
                joined(&coordinator, "gen 4").as_str(),
                "finishing 1 job; Ctrl-C once more gives them back",
            ]
        )
    );
}

#[tokio::test]
async fn worker_interrupted_twice_gives_everything_back_at_once() {
    let server = ModelServer::in_turn([Answer::Hang]);
    let mut coordinator = Coordinator::start().await;
    let base = server.url();
    let environment = [("OPENAI_BASE_URL", base.as_str())];
    let mut worker = Worker::start(&coordinator, &["--role", "gen", "--slots", "2"], &environment);
    let mut side = coordinator.next_link().await;
    side.welcome().await;
    assert_eq!(side.hear().await, credit(2));
    let grants = [1, 2].map(|seq| coordinator.grant(session(seq, Some("openai"))));
    side.say(CoordMsg::Jobs(grants.to_vec())).await;
    wait_for_calls(&server, 2).await;
    worker.signal(Signal::INT);
    // Two signals at once would be one.
    worker.says("finishing").await;
    worker.signal(Signal::TERM);
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    let (code, stderr) = worker.end().await;
    assert_eq!(
        (code, lines(&stderr)),
        (
            Some(0),
            vec![
                joined(&coordinator, "gen 2").as_str(),
                "finishing 2 jobs; Ctrl-C once more gives them back",
                "giving back 2 jobs",
            ]
        )
    );
}

#[tokio::test]
async fn worker_without_any_endpoint_says_once_what_it_can_do_and_how_to_give_it_more() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::start(&coordinator, &["--role", "gen", "--slots", "1"], &[]);
    let mut side = coordinator.next_link().await;
    assert_eq!(side.welcome().await.endpoints, []);
    worker.signal(Signal::INT);
    while side
        .hear()
        .await
        .is_some_and(|msg| !matches!(msg, WorkerMsg::Goodbye { .. }))
    {}
    drop(side);
    let (code, stderr) = worker.end().await;
    assert_eq!(
        (code, lines(&stderr)),
        (
            Some(0),
            vec![
                "note: no endpoint and no key: only offline models can be run here",
                "hint: set `OPENAI_API_KEY` or `DEEPSEEK_API_KEY`, or `OPENAI_BASE_URL` for a server of your own, or \
                 give `--endpoint NAME=URL` and `--api-key-file FILE`",
                joined(&coordinator, "gen 1").as_str(),
            ]
        )
    );
}

#[tokio::test]
async fn worker_that_is_not_let_in_says_why_and_ends() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::start(&coordinator, &["--role", "gen"], &[("OPENAI_API_KEY", "sk-1")]);
    let mut side = coordinator.next_link().await;
    assert!(matches!(side.hear().await, Some(WorkerMsg::Hello(_))));
    side.say(CoordMsg::Reject {
        reason: "use the same release of both".to_owned(),
        protocol_min: 9,
        protocol_max: 9,
    })
    .await;
    let (code, stderr) = worker.end().await;
    assert_eq!(
        (code, lines(&stderr)),
        (
            Some(1),
            vec!["error: the coordinator does not let this worker in: use the same release of both"]
        )
    );
}

#[tokio::test]
async fn mistakes_in_flags_and_keys_end_the_worker_before_it_joins() {
    let coordinator = Coordinator::start().await;
    for (args, environment, expected) in [
        (
            &["--role", "eval", "--endpoint", "a=http://h/v1"][..],
            &[][..],
            "error: `--endpoint` is for workers that generate\nhint: add `--role gen`, or leave the flag out: programs \
             are run without any key\n",
        ),
        (
            &["--role", "gen", "--api-key-file", "/nowhere/key"],
            &[],
            "error: read the key from `/nowhere/key`: No such file or directory (os error 2)\n",
        ),
        (
            &["--role", "gen"],
            &[("DEEPSEEK_API_KEY", "sk one")],
            "error: `DEEPSEEK_API_KEY` holds a space, a line break or another character that no key has: expected the \
             key alone, on one line\n",
        ),
    ] {
        let ended = Worker::start(&coordinator, args, environment).end().await;
        assert_eq!(ended, (Some(1), expected.to_owned()));
    }
}

#[tokio::test]
async fn worker_of_a_run_pays_no_heed_to_ctrl_c_says_nothing_and_leaves_with_its_parent() {
    let mut coordinator = Coordinator::start().await;
    let args = ["--role", "gen", "--slots", "1", "--with-parent"];
    let mut worker = Worker::start_reading(Stdio::piped(), &coordinator, &args, &[]);
    let mut side = coordinator.next_link().await;
    side.welcome().await;
    assert_eq!(side.hear().await, credit(1));
    worker.signal(Signal::INT);
    side.say(CoordMsg::Jobs(vec![
        coordinator.grant(session(1, Some("nowhere"))),
    ]))
    .await;
    let nack = WorkerMsg::Nack {
        lease: lease(1),
        reason: "this worker has no endpoint called `nowhere`".to_owned(),
        unaccounted: 0,
    };
    assert_eq!(side.hear().await, Some(nack));
    assert_eq!(side.hear().await, credit(1));
    drop(worker.child.stdin.take());
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    assert_eq!(worker.end().await, (Some(0), String::new()));
}

/// Somebody ends the process of a run's worker: what it holds goes back at no cost.
#[tokio::test]
async fn worker_with_a_parent_that_is_told_to_end_says_goodbye() {
    let mut coordinator = Coordinator::start().await;
    let args = ["--role", "gen", "--slots", "1", "--with-parent"];
    let worker = Worker::start_reading(Stdio::piped(), &coordinator, &args, &[]);
    let mut side = coordinator.next_link().await;
    side.welcome().await;
    assert_eq!(side.hear().await, credit(1));
    worker.signal(Signal::TERM);
    assert!(matches!(side.hear().await, Some(WorkerMsg::Goodbye { .. })));
    drop(side);
    assert_eq!(worker.end().await, (Some(0), String::new()));
}
