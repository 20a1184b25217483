//! The init's life: build the cage, say what holds, then answer `Load` and `Run` until the worker is gone.
//!
//! Pid 1 of its namespace: every process that loses its parent becomes its child and is reaped here, so that the
//! program's first process is an ordinary one (pid 2 or more).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::sched_getaffinity;

use super::cgroup::{Bounds, Controls, Grip};
use super::processes::{Census, Scope};
use super::scratch::Scratch;
use super::victims::Victims;
use super::watch::{Lost, Watch};
use super::{Refusal, Step, privileges, tree};
use crate::channel::Channel;
use crate::containment::{Layer, Layers};
use crate::message::{Attempt, Reply, Request, Setup};
use crate::run::RunLimits;
use crate::sys::{self, Execution, Identity, ResourceLimit, StartReport, StringList};

/// Address space beyond the memory limit: the interpreter's and libraries' mappings, which are mostly not resident.
const ADDRESS_SLACK_BYTES: u64 = 1 << 30;
/// Room for the arguments and the first frames, whatever the memory limit.
const STACK_BYTES_MIN: u64 = 1 << 20;
/// CPU seconds between the soft and the hard backstop, and between the limit and the soft one.
const CPU_BACKSTOP_S: u64 = 1;
/// Open files of one program.
const FILES_MAX: u64 = 256;
/// Files that the init itself may hold open.
const INIT_FILES_MAX: u64 = 1024;

/// A cage that is ready.
struct Init {
    census: Census,
    scratch: Scratch,
    environment: StringList,
    scratch_bytes: u64,
    /// Whom a program becomes, where it is somebody else than the init.
    identity: Option<Identity>,
    /// Processes that count against the program's limit and are not its own.
    others: Others,
    report: StartReport,
    processors: u32,
    /// What bounds all processes together, where the host has it.
    controls: Option<Controls>,
    victims: Victims,
}

/// Whose processes count against a program's process limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// So many, always.
    Fixed(u64),
    /// All of this user's on the host, counted at each start.
    OfUser(u32),
}

/// The init's life in namespaces. `warden` is where it asks for its id maps.
///
/// # Errors
/// A step that the host refused, before anything was answered.
pub(super) fn within_namespaces(
    channel: &mut Channel,
    setup: &Setup,
    warden: &OwnedFd,
    cgroup: Grip,
) -> Result<(), Refusal> {
    let mut layers: Layers = [
        Layer::UserNamespace,
        Layer::MountNamespace,
        Layer::PidNamespace,
        Layer::NetworkNamespace,
        Layer::IpcNamespace,
        Layer::UtsNamespace,
    ]
    .into_iter()
    .collect();
    let mut refusals = Vec::new();

    let own = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    sys::unshare(own).step("make mount, network, ipc and uts namespaces")?;
    grant(
        &mut layers,
        &mut refusals,
        Layer::CgroupNamespace,
        sys::unshare(libc::CLONE_NEWCGROUP),
    );
    // After the namespace, in which the kernel might refuse what it granted outside.
    let controls = bound(setup, cgroup, &mut layers, &mut refusals);
    rustix::system::sethostname(b"cage").step("name the host")?;

    let proc = match tree::detached_proc() {
        Ok(proc) => {
            layers.add(Layer::AllProcessesWatched);
            Some(proc)
        }
        Err(error) => {
            refusals.push(Refusal::of("watch all processes", error).text());
            None
        }
    };
    // Before the change of user, after which this process's own files in `/proc` are not its any more.
    let victims = Victims::new(proc.as_ref());
    grant(
        &mut layers,
        &mut refusals,
        Layer::NoSystemVIpc,
        forbid_system_v_ipc(proc.as_ref()),
    );

    let directories = tree::enter(setup)?;
    layers.add(Layer::ReadOnlyRoot);
    if setup.attempt == Attempt::Privileged {
        give_to_init(&directories).step("give the scratch to the init")?;
        rustix::thread::set_thread_groups(&[]).step("leave the groups")?;
        layers.add(Layer::InitOutOfReach);
    }

    sys::unshare(libc::CLONE_NEWUSER).step("make the programs' user namespace")?;
    ask_for_maps(warden).step("write the id maps")?;
    privileges::become_init(setup.attempt).step("change the user")?;
    grant(
        &mut layers,
        &mut refusals,
        Layer::NoNestedNamespaces,
        forbid_nested_namespaces(proc.as_ref()),
    );
    privileges::seal_init().step("give up privileges")?;
    layers.add(Layer::NoCapabilities);
    layers.add(Layer::NoNewPrivileges);

    let scratch = Scratch::new(directories, None).step("open the scratch")?;
    let mut init = Init {
        census: Census {
            proc,
            scope: Scope::Namespace,
        },
        scratch,
        environment: environment(setup).step("read the environment")?,
        scratch_bytes: setup.scratch_bytes,
        identity: (setup.attempt == Attempt::Privileged).then_some(privileges::PROGRAM),
        // Without an id of its own the init is one of the program's processes.
        others: Others::Fixed(u64::from(setup.attempt != Attempt::Privileged)),
        report: StartReport::new().step("map a page")?,
        processors: processors(),
        controls,
        victims,
    };
    init.live(channel, layers, &refusals);
    Ok(())
}

/// The init's life without namespaces, in the warden's own process.
pub(super) fn without_namespaces(mut channel: Channel, setup: &Setup, cgroup: Grip) {
    let layers = [
        Layer::NoCapabilities,
        Layer::NoNewPrivileges,
        Layer::AllProcessesWatched,
    ];
    let (mut layers, mut refusals) = (layers.into_iter().collect(), Vec::new());
    let controls = bound(setup, cgroup, &mut layers, &mut refusals);
    match Init::on_host(setup, controls) {
        Ok(mut init) => init.live(&mut channel, layers, &refusals),
        Err(refusal) => {
            let reason = refusal.text().into_bytes();
            // A worker that is gone hears nothing, and needs nothing.
            let _ = say(&channel, &Reply::Refused { reason });
        }
    }
}

impl Init {
    fn on_host(setup: &Setup, controls: Option<Controls>) -> Result<Self, Refusal> {
        let proc = open(
            "/proc",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let proc = proc.step("open `/proc`")?;
        let home = std::env::temp_dir().join(format!("roundhouse-cage-{}", std::process::id()));
        std::fs::create_dir(&home).step(&format!("make `{}`", home.display()))?;
        let directories = tree::scratch_on_host(&home).step(&format!("make `{}`", home.display()))?;
        let scratch = Scratch::new(directories, Some(home)).step("open the scratch")?;
        let root = rustix::process::geteuid().is_root();
        if root {
            rustix::thread::set_thread_groups(&[]).step("leave the groups")?;
        }
        let user = if root {
            privileges::HOST_PROGRAM.user
        } else {
            rustix::process::geteuid().as_raw()
        };
        rustix::process::set_child_subreaper(Pid::from_raw(1)).step("adopt lost processes")?;
        let victims = Victims::new(Some(&proc));
        rustix::thread::set_no_new_privs(true).step("give up privileges")?;
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .step("give up privileges")?;
        Ok(Self {
            census: Census {
                proc: Some(proc),
                scope: Scope::Descendants,
            },
            scratch,
            environment: environment(setup).step("read the environment")?,
            scratch_bytes: setup.scratch_bytes,
            identity: root.then_some(privileges::HOST_PROGRAM),
            others: Others::OfUser(user),
            report: StartReport::new().step("map a page")?,
            processors: processors(),
            controls,
            victims,
        })
    }

    /// Answers until the worker is gone; then every process is killed and reaped.
    fn live(&mut self, channel: &mut Channel, layers: Layers, refusals: &[String]) {
        let ready = Reply::Ready {
            layers: layers.bits(),
            refusals: refusals.join("; ").into_bytes(),
        };
        let end = self
            .prepare()
            .and_then(|()| say(channel, &ready))
            .map_err(Lost::Failed);
        let end = end.and_then(|()| {
            loop {
                self.answer(channel)?;
            }
        });
        // What is said to a worker that is gone is lost, as it should be.
        let _ = match end {
            Ok(()) | Err(Lost::WorkerGone) => Ok(()),
            Err(Lost::Nonsense(reason)) => say(
                channel,
                &Reply::Broken {
                    reason: reason.into_bytes(),
                },
            ),
            Err(Lost::Failed(error)) => say(
                channel,
                &Reply::Broken {
                    reason: error.to_string().into_bytes(),
                },
            ),
        };
        let _ = self.census.end_all(|_| ());
    }

    fn prepare(&self) -> io::Result<()> {
        rustix::process::fchdir(self.scratch.work())?;
        for limit in [
            fixed(libc::RLIMIT_CORE, 0),
            fixed(libc::RLIMIT_MSGQUEUE, 0),
            fixed(libc::RLIMIT_NOFILE, INIT_FILES_MAX),
        ] {
            limit.set().map_err(io::Error::from_raw_os_error)?;
        }
        Ok(())
    }

    fn answer(&mut self, channel: &mut Channel) -> Result<(), Lost> {
        let Some(received) = channel.receive().map_err(Lost::Failed)? else {
            return Err(Lost::WorkerGone);
        };
        let files = received.files;
        let reply = match Request::decode(received.bytes) {
            Ok(Request::Load { name }) => self.load(&name, files),
            Ok(Request::Run { seq, limits, argv }) => self.run(channel, seq, limits, argv, files)?,
            // The run had ended already.
            Ok(Request::Kill { .. }) => return Ok(()),
            Ok(Request::Setup(_)) => return Err(Lost::Nonsense("a second setup came".to_owned())),
            Err(error) => return Err(Lost::Nonsense(error.to_string())),
        };
        say(channel, &reply).map_err(Lost::Failed)?;
        // After the answer, so that the worker reads the output meanwhile.
        self.scratch.clean_if_dirty().map_err(Lost::Failed)
    }

    fn load(&mut self, name: &[u8], files: Vec<OwnedFd>) -> Reply {
        let loaded = match <[OwnedFd; 1]>::try_from(files) {
            Ok([text]) => self.scratch.load(name, text),
            Err(_) => Err(io::Error::other("a program's text comes as one file")),
        };
        match loaded {
            Ok(()) => Reply::Loaded,
            Err(error) => Reply::LoadFailed {
                reason: error.to_string().into_bytes(),
            },
        }
    }

    fn run(
        &mut self,
        channel: &mut Channel,
        seq: u64,
        limits: RunLimits,
        argv: Vec<Vec<u8>>,
        files: Vec<OwnedFd>,
    ) -> Result<Reply, Lost> {
        let not_started = |step, error: io::Error| Reply::NotStarted {
            seq,
            step,
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
        };
        let arguments: Result<Vec<_>, _> = argv.into_iter().map(CString::new).collect();
        let (Ok(arguments), Ok([stdin, stdout, stderr])) = (arguments, <[OwnedFd; 3]>::try_from(files))
        else {
            return Err(Lost::Nonsense(
                "a run needs arguments without NUL and three files".to_owned(),
            ));
        };
        let Some(program) = arguments.first().cloned() else {
            return Err(Lost::Nonsense("a run needs a program".to_owned()));
        };
        let started = Instant::now();
        let resources = self.resources(limits);
        if let Some(controls) = &mut self.controls {
            controls
                .begin(&limits, self.scratch_bytes)
                .map_err(Lost::Failed)?;
        }
        let controls = self.controls.as_ref();
        let execution = Execution {
            program: &program,
            arguments: &StringList::new(arguments),
            environment: &self.environment,
            files: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            limits: &resources,
            groups: controls.map_or(&[], Controls::doors),
            identity: self.identity,
            report: &self.report,
        };
        let main = self.victims.first(|| sys::execute(&execution));
        drop((stdin, stdout, stderr));
        let main = match main {
            Ok(main) => main,
            Err(error) => return Ok(not_started(0, error)),
        };
        let main_end = Pid::from_raw(main)
            .ok_or(io::ErrorKind::NotFound.into())
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
            .map_err(Lost::Failed)?;
        let watch = Watch {
            census: &self.census,
            main,
            main_end: &main_end,
            seq,
            limits,
            started,
            processors: self.processors,
            controls,
        };
        let ending = watch.until_end(channel)?;
        let ending = match controls {
            Some(controls) => controls.told(ending).map_err(Lost::Failed)?,
            None => ending,
        };
        Ok(match self.report.take() {
            Some((step, errno)) => not_started(step, io::Error::from_raw_os_error(errno)),
            None => Reply::Ended(ending),
        })
    }

    /// The kernel's own limits: backstops for what `watch` does, and what it cannot do.
    fn resources(&self, limits: RunLimits) -> Vec<ResourceLimit> {
        let cpu_s = limits.cpu_ms.div_ceil(1000).saturating_add(CPU_BACKSTOP_S);
        let processes = u64::from(limits.processes);
        // The main stack may grow to the memory limit. It is also the address space of each new thread's stack, so
        // that the limit on addresses must leave room for all of them: what is resident is what counts, and `watch`
        // counts that. Where nobody watches, addresses are the only bound and threads get less room.
        let stack = limits.memory_bytes.max(STACK_BYTES_MIN);
        let stacks = if self.census.proc.is_some() {
            processes.max(1)
        } else {
            1
        };
        let addresses = limits
            .memory_bytes
            .saturating_add(ADDRESS_SLACK_BYTES)
            .saturating_add(stack.saturating_mul(stacks));
        let others = match self.others {
            Others::Fixed(count) => count,
            Others::OfUser(user) => self.census.threads_of_user(user),
        };
        vec![
            ResourceLimit {
                resource: libc::RLIMIT_CPU,
                soft: cpu_s,
                hard: cpu_s.saturating_add(CPU_BACKSTOP_S),
            },
            fixed(libc::RLIMIT_AS, addresses),
            fixed(libc::RLIMIT_STACK, stack),
            fixed(libc::RLIMIT_NPROC, processes.saturating_add(others)),
            fixed(libc::RLIMIT_FSIZE, self.scratch_bytes),
            fixed(libc::RLIMIT_NOFILE, FILES_MAX),
            fixed(libc::RLIMIT_MEMLOCK, 0),
        ]
    }
}

fn fixed(resource: libc::__rlimit_resource_t, value: u64) -> ResourceLimit {
    ResourceLimit {
        resource,
        soft: value,
        hard: value,
    }
}

fn say(channel: &Channel, reply: &Reply) -> io::Result<()> {
    channel.send(&reply.encode().map_err(io::Error::other)?, &[])
}

fn grant(layers: &mut Layers, refusals: &mut Vec<String>, layer: Layer, result: io::Result<()>) {
    match result {
        Ok(()) => layers.add(layer),
        Err(error) => refusals.push(Refusal::of(layer.words(), error).text()),
    }
}

/// Sets the group's first bounds: what cannot be set now cannot be set for a run.
fn bound(setup: &Setup, cgroup: Grip, layers: &mut Layers, refusals: &mut Vec<String>) -> Option<Controls> {
    refusals.extend(cgroup.refusals);
    let mut controls = cgroup.controls?;
    match controls.set(Bounds::without_program(setup.scratch_bytes)) {
        Ok(()) => {
            if controls.are_complete() {
                layers.add(Layer::ControlGroup);
            }
            Some(controls)
        }
        Err(error) => {
            refusals.push(Refusal::of(Layer::ControlGroup.words(), error).text());
            None
        }
    }
}

fn processors() -> u32 {
    sched_getaffinity(None).map_or(1, |set| set.count())
}

fn environment(setup: &Setup) -> io::Result<StringList> {
    let variables = setup.environment.iter().map(|(name, value)| {
        let mut variable = name.clone();
        variable.push(b'=');
        variable.extend(value);
        CString::new(variable)
    });
    Ok(StringList::new(variables.collect::<Result<_, _>>()?))
}

/// Has the warden write this process's id maps.
///
/// A warden that has died is no refusal of the host, and there is nobody to serve: this process ends.
fn ask_for_maps(warden: &OwnedFd) -> io::Result<()> {
    let mut errno = [0; 4];
    let answer = rustix::io::write(warden, b"?").and_then(|_| rustix::io::read(warden, &mut errno));
    if !matches!(answer, Ok(n) if n == errno.len()) {
        sys::exit_now(1);
    }
    match i32::from_le_bytes(errno) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The scratch's directories belong to the init, so that a program cannot remove what it did not make.
fn give_to_init(directories: &tree::ScratchDirectories) -> io::Result<()> {
    let (user, group) = (
        rustix::fs::Uid::from_raw(privileges::HOST_INIT.user),
        rustix::fs::Gid::from_raw(privileges::HOST_INIT.group),
    );
    for directory in [
        &directories.root,
        &directories.work,
        &directories.temporary,
        &directories.kept,
    ] {
        rustix::fs::fchown(directory, Some(user), Some(group))?;
    }
    Ok(())
}

/// Segments outlive processes and no limit of a process counts them.
fn forbid_system_v_ipc(proc: Option<&OwnedFd>) -> io::Result<()> {
    let proc = proc.ok_or(io::ErrorKind::NotFound)?;
    write_setting(proc, "sys/kernel/shmmni", "0")?;
    write_setting(proc, "sys/kernel/msgmni", "0")?;
    write_setting(proc, "sys/kernel/sem", "0 0 0 0")
}

/// A user namespace would give a program capabilities over further namespaces.
fn forbid_nested_namespaces(proc: Option<&OwnedFd>) -> io::Result<()> {
    write_setting(
        proc.ok_or(io::ErrorKind::NotFound)?,
        "sys/user/max_user_namespaces",
        "0",
    )
}

fn write_setting(proc: &OwnedFd, path: &str, text: &str) -> io::Result<()> {
    let file = openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text.as_bytes())?;
    Ok(())
}
