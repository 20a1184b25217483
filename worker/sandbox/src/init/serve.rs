//! The init's life: build the cage, say what holds, then answer `Load`, `Add` and `Run` until the worker is gone.
//!
//! Pid 1 of its own namespace, in which fork servers live beside it. Its other children, the programs, are born in a
//! namespace below, whose pid 1 is the `reaper`: a program's first process is an ordinary one (pid 2 or more), can
//! name neither init nor server, and everything it leaves behind can be ended at one instant.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::sched_getaffinity;

use super::backstops::{self, Memory};
use super::cgroup::{Bounds, Controls, Grip};
use super::errands::Errands;
use super::nursery::{Nursery, ShutIn};
use super::processes::{Census, Scope};
use super::reaper::Reaper;
use super::roster::{self, Roster};
use super::scratch::Scratch;
use super::server::Fault;
use super::settings::{forbid_nested_namespaces, forbid_system_v_ipc, give_to_init};
use super::victims::Victims;
use super::walls::{Reach, Signals, Walls};
use super::watch::{Finish, Lost, Main, Watch, Wish};
use super::{Refusal, Step, privileges, tree};
use crate::channel::{Channel, can_be_read};
use crate::containment::{Layer, Layers};
use crate::memfd;
use crate::message::{Attempt, Origin, Reply, Request, Setup};
use crate::run::RunLimits;
use crate::sys::{self, Execution, Identity, Parent, ResourceLimit, StartReport, StringList};

/// So long nothing must be asked of a cage before it makes a fork server ahead.
const SPARE_AFTER: Duration = Duration::from_millis(2);

/// A cage that is ready.
struct Init {
    census: Census,
    scratch: Scratch,
    /// The fork servers, where there are any.
    roster: Option<Roster>,
    environment: StringList,
    scratch_bytes: u64,
    /// Whom a program becomes, where it is somebody else than the init.
    identity: Option<Identity>,
    /// Processes that count against the program's limit and are not its own.
    others: Others,
    walls: Walls,
    report: StartReport,
    processors: u32,
    /// What bounds all processes together, where the host has it.
    controls: Option<Controls>,
    victims: Victims,
}

/// Whose processes count against a program's process limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// So many, and the fork servers.
    Fixed(u64),
    /// All of this user's on the host, counted at each start.
    OfUser(u32),
}

/// The init's life in namespaces. `program` is whom a program becomes where there is no user namespace, `warden` where
/// the init asks for what it has no rights for.
///
/// # Errors
/// A step that the host refused, before anything was answered.
pub(super) fn within_namespaces(
    channel: &mut Channel,
    setup: &Setup,
    texts: Option<OwnedFd>,
    (program, warden): (Identity, Option<OwnedFd>),
    cgroup: Grip,
) -> Result<(), Refusal> {
    let mut layers: Layers = [
        Layer::MountNamespace,
        Layer::PidNamespace,
        Layer::NetworkNamespace,
        Layer::IpcNamespace,
        Layer::UtsNamespace,
    ]
    .into_iter()
    .collect();
    let mut refusals = Vec::new();

    // While the host's `/proc` is there.
    let own_namespaces = open(
        "/proc/self/ns",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step("open `/proc/self/ns`")?;
    let empty = memfd::seal(b"").and_then(|empty| memfd::reopen(empty.as_fd()));
    let empty = empty.step("make an empty input")?;

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
    let no_ipc = forbid_system_v_ipc(proc.as_ref());

    let directories = tree::enter(setup, texts)?;
    layers.add(Layer::ReadOnlyRoot);
    if setup.attempt != Attempt::Unprivileged {
        give_to_init(&directories).step("give the scratch to the init")?;
        rustix::thread::set_thread_groups(&[]).step("leave the groups")?;
        layers.add(Layer::InitOutOfReach);
    }

    let warden = warden.ok_or(io::ErrorKind::NotConnected);
    let mut errands = Errands::asked_over(warden.step("ask the warden")?);
    let no_nesting = if setup.attempt == Attempt::WithoutUsers {
        privileges::become_init_of_host().step("change the user")?;
        // The setting would be the whole host's; only the filter can forbid it here.
        Err(io::ErrorKind::Unsupported.into())
    } else {
        sys::unshare(libc::CLONE_NEWUSER).step("make the programs' user namespace")?;
        errands.write_maps().step("write the id maps")?;
        layers.add(Layer::UserNamespace);
        privileges::become_init(setup.attempt).step("change the user")?;
        forbid_nested_namespaces(proc.as_ref())
    };
    privileges::seal_init().step("give up privileges")?;
    layers.add(Layer::NoCapabilities);
    layers.add(Layer::NoNewPrivileges);
    let reach = Reach::of_tree().step("list the tree")?;
    let walls = Walls::raise(&reach, &mut layers, &mut refusals);
    for (layer, forbidden) in [
        (Layer::NoSystemVIpc, no_ipc),
        (Layer::NoNestedNamespaces, no_nesting),
    ] {
        // The filter refuses the calls themselves.
        match layers.has(Layer::SystemCallFilter) {
            true => layers.add(layer),
            false => grant(&mut layers, &mut refusals, layer, forbidden),
        }
    }

    let scratch = Scratch::new(directories, None).step("open the scratch")?;
    settle(&scratch).step("set its own limits")?;
    // Whom a program becomes, where it is somebody else than the init.
    let identity = match setup.attempt {
        Attempt::Privileged => Some(privileges::PROGRAM),
        Attempt::WithoutUsers => Some(program),
        Attempt::Unprivileged | Attempt::Limits => None,
    };
    let nursery = match setup.servers.as_slice() {
        [] => None,
        _ => {
            let shut_in = ShutIn {
                identity,
                walls: walls.as_sys(),
                groups: controls.as_ref().map_or(&[], Controls::doors),
            };
            let nursery = victims.first(|| Nursery::open(setup, &empty, shut_in));
            Some(nursery.step("fork the nursery")?)
        }
    };
    drop(empty);
    sys::unshare(libc::CLONE_NEWPID).step("make the programs' pid namespace")?;
    // Only the filter keeps a program from making processes that are no descendants of it.
    let listing = proc.as_ref().filter(|_| layers.has(Layer::SystemCallFilter));
    let reaper = Reaper::start(listing).step("fork the reaper")?;
    let namespace = |name: &str| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        openat(&own_namespaces, name, flags, Mode::empty())
    };
    let programs = namespace("pid_for_children").step("open the programs' pid namespace")?;
    // Without Landlock some of its files would tell of the host.
    if layers.has(Layer::Landlock) {
        let tree = namespace("mnt").step("open the mount namespace")?;
        let mounted = errands.mount_proc(programs.as_fd(), tree.as_fd());
        grant(&mut layers, &mut refusals, Layer::OwnProc, mounted);
    }
    // From here on the warden has no rights either.
    drop((errands, own_namespaces));
    let roster = nursery.map(|nursery| Roster::new(nursery, programs, setup));

    // Without an id of its own, init, reaper and nursery are processes of the program's user.
    let others = match identity {
        Some(_) => 0,
        None => 2 + u64::from(roster.is_some()),
    };
    let mut init = Init {
        census: Census {
            proc,
            scope: Scope::Namespace {
                reaper,
                own: Vec::new(),
            },
        },
        scratch,
        roster,
        environment: StringList::of_variables(setup.environment.iter()).step("read the environment")?,
        scratch_bytes: setup.scratch_bytes,
        identity,
        others: Others::Fixed(others),
        walls,
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
    let mut layers: Layers = [
        Layer::NoCapabilities,
        Layer::NoNewPrivileges,
        Layer::AllProcessesWatched,
    ]
    .into_iter()
    .collect();
    let mut refusals = Vec::new();
    let controls = bound(setup, cgroup, &mut layers, &mut refusals);
    match Init::on_host(setup, controls, &mut layers, &mut refusals) {
        Ok(mut init) => init.live(&mut channel, layers, &refusals),
        Err(refusal) => {
            let reason = refusal.text().into_bytes();
            // A worker that is gone hears nothing, and needs nothing.
            let _ = say(&channel, &Reply::Refused { reason });
        }
    }
}

impl Init {
    fn on_host(
        setup: &Setup,
        controls: Option<Controls>,
        layers: &mut Layers,
        refusals: &mut Vec<String>,
    ) -> Result<Self, Refusal> {
        let proc = open(
            "/proc",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let proc = proc.step("open `/proc`")?;
        let home = tree::home_on_host().step("make a directory for the scratch")?;
        let directories = tree::scratch_on_host(&home).step(&format!("make `{}`", home.display()))?;
        let scratch = Scratch::new(directories, Some(home.clone())).step("open the scratch")?;
        settle(&scratch).step("set its own limits")?;
        let root = privileges::is_root();
        let program = privileges::program_of(setup.attempt);
        if root {
            give_to_init(scratch.directories()).step("give the scratch to the init")?;
            rustix::fs::chown(
                &home,
                Some(rustix::fs::Uid::from_raw(privileges::HOST_INIT.user)),
                Some(rustix::fs::Gid::from_raw(privileges::HOST_INIT.group)),
            )
            .step("give the scratch to the init")?;
            privileges::become_init_of_host().step("change the user")?;
            layers.add(Layer::InitOutOfReach);
        }
        let user = if root {
            program.user
        } else {
            rustix::process::geteuid().as_raw()
        };
        privileges::empty_bounding_set();
        rustix::process::set_child_subreaper(Pid::from_raw(1)).step("adopt lost processes")?;
        let victims = Victims::new(Some(&proc));
        rustix::thread::set_no_new_privs(true).step("give up privileges")?;
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .step("give up privileges")?;
        let runtime = setup.runtime.iter();
        let reach = Reach::of_host(
            runtime.map(|path| OsStr::from_bytes(path).into()).collect(),
            vec![home.join("work"), home.join("temporary")],
            if root {
                Signals::HeldAnyway
            } else {
                Signals::HeldByLandlock
            },
        );
        let walls = Walls::raise(&reach, layers, refusals);
        if layers.has(Layer::SystemCallFilter) {
            layers.add(Layer::NoSystemVIpc);
            layers.add(Layer::NoNestedNamespaces);
        }
        let mut environment = setup.environment.clone();
        if environment.iter().all(|(name, _)| name != b"TMPDIR") {
            let temporary = home.join("temporary").into_os_string().into_vec();
            environment.push((b"TMPDIR".to_vec(), temporary));
        }
        Ok(Self {
            census: Census {
                proc: Some(proc),
                scope: Scope::Descendants,
            },
            scratch,
            roster: None,
            environment: StringList::of_variables(environment.iter()).step("read the environment")?,
            scratch_bytes: setup.scratch_bytes,
            identity: root.then_some(program),
            others: Others::OfUser(user),
            walls,
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
        let end = say(channel, &ready).map_err(Lost::Failed).and_then(|()| {
            loop {
                self.use_idle_time(channel)?;
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

    fn answer(&mut self, channel: &mut Channel) -> Result<(), Lost> {
        let Some(received) = channel.receive().map_err(Lost::Failed)? else {
            return Err(Lost::WorkerGone);
        };
        let files = received.files;
        let reply = match Request::decode(received.bytes) {
            Ok(Request::Load { name }) => {
                if let Some(roster) = &mut self.roster {
                    roster.forget_program();
                }
                loaded(files, |text| self.scratch.load(&name, text))
            }
            Ok(Request::Add { name }) => loaded(files, |text| self.scratch.add(&name, text)),
            Ok(Request::Run { seq, limits, origin }) => self.run(channel, seq, limits, origin, files)?,
            // The run had ended already.
            Ok(Request::Kill { .. }) => return Ok(()),
            Ok(Request::Setup(_)) => return Err(Lost::Nonsense("a second setup came".to_owned())),
            Err(error) => return Err(Lost::Nonsense(error.to_string())),
        };
        say(channel, &reply).map_err(Lost::Failed)?;
        // After the answer, so that the worker reads the output meanwhile.
        self.scratch.clean_if_dirty().map_err(Lost::Failed)?;
        let Some(roster) = &mut self.roster else {
            return Ok(());
        };
        roster.reap().map_err(Lost::Failed)?;
        if reply == Reply::Loaded {
            // Its first run will ask for a server: the sooner it starts, the better.
            self.start_spare()?;
        }
        Ok(())
    }

    /// Makes a fork server ahead, unless the worker has something else to do first.
    fn use_idle_time(&mut self, channel: &Channel) -> Result<(), Lost> {
        if self
            .roster
            .as_ref()
            .is_none_or(|roster| roster.lacks_spare().is_none())
        {
            return Ok(());
        }
        if !can_be_read(channel.fd(), SPARE_AFTER).map_err(Lost::Failed)? {
            self.start_spare()?;
        }
        Ok(())
    }

    fn start_spare(&mut self) -> Result<(), Lost> {
        let Some((post, limits)) = self.roster.as_ref().and_then(Roster::lacks_spare) else {
            return Ok(());
        };
        let resources = self.backstops(&limits);
        match &mut self.roster {
            Some(roster) => roster.start_spare(post, limits, &resources),
            None => Ok(()),
        }
    }

    fn run(
        &mut self,
        channel: &mut Channel,
        seq: u64,
        limits: RunLimits,
        origin: Origin,
        files: Vec<OwnedFd>,
    ) -> Result<Reply, Lost> {
        let Ok(files) = <[OwnedFd; 3]>::try_from(files) else {
            return Err(Lost::Nonsense("a run needs three files".to_owned()));
        };
        self.census.begin();
        match origin {
            Origin::Execute(argv) => self.execute(channel, seq, limits, argv, files),
            Origin::Fork(server) => self.fork(channel, seq, limits, server, files),
        }
    }

    /// A run of a program that is executed for it.
    fn execute(
        &mut self,
        channel: &mut Channel,
        seq: u64,
        limits: RunLimits,
        argv: Vec<Vec<u8>>,
        files: [OwnedFd; 3],
    ) -> Result<Reply, Lost> {
        let not_started = |step, error: io::Error| Reply::NotStarted {
            seq,
            step,
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
        };
        let arguments: Result<Vec<_>, _> = argv.into_iter().map(CString::new).collect();
        let Ok(arguments) = arguments else {
            return Err(Lost::Nonsense("a run needs arguments without NUL".to_owned()));
        };
        let Some(program) = arguments.first().cloned() else {
            return Err(Lost::Nonsense("a run needs a program".to_owned()));
        };
        let started = Instant::now();
        let resources = self.backstops(&limits);
        self.begin(&limits)?;
        let execution = Execution {
            program: &program,
            arguments: &StringList::new(arguments),
            environment: &self.environment,
            files: files.each_ref().map(OwnedFd::as_fd),
            service: None,
            limits: &resources,
            groups: self.doors(),
            identity: self.identity,
            walls: self.walls.as_sys(),
            report: &self.report,
        };
        let pid = match self.victims.first(|| sys::execute(&execution, Parent::Caller)) {
            Ok(pid) => pid,
            Err(error) => {
                self.census.check().map_err(Lost::Failed)?;
                return Ok(not_started(0, error));
            }
        };
        let end = Pid::from_raw(pid)
            .ok_or(io::ErrorKind::NotFound.into())
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
            .map_err(Lost::Failed)?;
        self.census
            .set_own(self.roster.iter().flat_map(Roster::processes));
        let main = Main::Child { pid, end: &end };
        // The run's files are held here until its end: the worker would wake up for each that is closed before.
        let finish = self.watch(main, seq, limits, started).until_end(channel)?;
        Ok(match (self.report.take(), finish) {
            (Some((step, errno)), _) => not_started(step, io::Error::from_raw_os_error(errno)),
            (None, finish) => self.told(seq, finish)?,
        })
    }

    /// A run for which a server forks.
    fn fork(
        &mut self,
        channel: &mut Channel,
        seq: u64,
        limits: RunLimits,
        server: u32,
        files: [OwnedFd; 3],
    ) -> Result<Reply, Lost> {
        let resources = self.backstops(&limits);
        let processes = self.processes_beside_servers(&limits);
        self.begin(&limits)?;
        let Some(roster) = &mut self.roster else {
            let reason = match self.census.scope {
                Scope::Namespace { .. } => format!("there is no fork server {server}"),
                Scope::Descendants => "it needs namespaces".to_owned(),
            };
            return Ok(told(seq, Finish::Unserved(reason)));
        };
        let order = roster::Order {
            post: server as usize,
            seq,
            limits,
            resources: &resources,
            processes,
            identity: self.identity,
            files: files.each_ref().map(OwnedFd::as_fd),
        };
        let unserved = |census: &Census, fault| match fault {
            Fault::Unserved(reason) => {
                // What a server did before it failed is no run; but nothing of it may be left for one either.
                census.end_all(|_| ()).map_err(Lost::Failed)?;
                Ok(told(seq, Finish::Unserved(reason)))
            }
            Fault::Lost(lost) => Err(lost),
        };
        let begun = match roster.begin(&order, channel) {
            Ok(begun) => begun,
            Err(fault) => {
                self.census.set_own(roster.processes());
                return unserved(&self.census, fault);
            }
        };
        self.census.set_own(roster.processes());
        let of_fork = backstops::of_fork(&limits, self.processes(&limits));
        privileges::set_limits(self.identity, || {
            of_fork.iter().try_for_each(|limit| limit.set_for(begun.pid))
        })
        .map_err(Lost::Failed)?;
        let server = self.roster.as_ref().map(|roster| roster.server(server as usize));
        let server = match server {
            Some(Ok(server)) => server,
            Some(Err(fault)) => return unserved(&self.census, fault),
            None => return Err(Lost::Nonsense("a server was lost".to_owned())),
        };
        let main = Main::Forked {
            pid: begun.pid,
            server,
        };
        let watch = Watch {
            wish: begun.wish,
            ..self.watch(main, seq, limits, begun.started)
        };
        let finish = watch.until_end(channel)?;
        self.told(seq, finish)
    }

    /// Where a program has to write a zero before it is executed.
    fn doors(&self) -> &[OwnedFd] {
        self.controls.as_ref().map_or(&[], Controls::doors)
    }

    /// Bounds all processes of the run that begins together. What the kernel kills from here on is the run's.
    fn begin(&mut self, limits: &RunLimits) -> Result<(), Lost> {
        match &mut self.controls {
            Some(controls) => controls.begin(limits, self.scratch_bytes).map_err(Lost::Failed),
            None => Ok(()),
        }
    }

    /// The reply for what a run came to, with what the kernel did to it.
    fn told(&self, seq: u64, finish: Finish) -> Result<Reply, Lost> {
        let finish = match (finish, &self.controls) {
            (Finish::Ended(ending), Some(controls)) => {
                Finish::Ended(controls.told(ending).map_err(Lost::Failed)?)
            }
            (finish, _) => finish,
        };
        Ok(told(seq, finish))
    }

    fn watch<'a>(&'a self, main: Main<'a>, seq: u64, limits: RunLimits, started: Instant) -> Watch<'a> {
        Watch {
            census: &self.census,
            main,
            seq,
            limits,
            started,
            wish: Wish::Run,
            processors: self.processors,
            controls: self.controls.as_ref(),
        }
    }

    /// How many processes the program's user may have, the fork servers not counted.
    fn processes_beside_servers(&self, limits: &RunLimits) -> u64 {
        let others = match self.others {
            Others::Fixed(count) => count,
            Others::OfUser(user) => self.census.threads_of_user(user),
        };
        u64::from(limits.processes).saturating_add(others)
    }

    /// How many processes the program's user may have in all.
    fn processes(&self, limits: &RunLimits) -> u64 {
        let servers = self.roster.iter().flat_map(Roster::servers).count() as u64;
        self.processes_beside_servers(limits).saturating_add(servers)
    }

    fn backstops(&self, limits: &RunLimits) -> Vec<ResourceLimit> {
        let memory = match self.census.proc {
            Some(_) => Memory::Watched,
            None => Memory::Unwatched,
        };
        backstops::of_program(limits, self.processes(limits), self.scratch_bytes, memory)
    }
}

/// The init's own directory and limits, which its children inherit.
fn settle(scratch: &Scratch) -> io::Result<()> {
    rustix::process::fchdir(scratch.work())?;
    for limit in backstops::of_init() {
        limit.set().map_err(io::Error::from_raw_os_error)?;
    }
    Ok(())
}

/// The reply for a file put into the work directory.
fn loaded(files: Vec<OwnedFd>, load: impl FnOnce(OwnedFd) -> io::Result<()>) -> Reply {
    let loaded = match <[OwnedFd; 1]>::try_from(files) {
        Ok([text]) => load(text),
        Err(_) => Err(io::Error::other("a text comes as one file")),
    };
    match loaded {
        Ok(()) => Reply::Loaded,
        Err(error) => Reply::LoadFailed {
            reason: error.to_string().into_bytes(),
        },
    }
}

/// The reply for what a run came to.
fn told(seq: u64, finish: Finish) -> Reply {
    match finish {
        Finish::Ended(ending) => Reply::Ended(ending),
        Finish::Unserved(reason) => Reply::NotServed {
            seq,
            reason: reason.into_bytes(),
        },
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
