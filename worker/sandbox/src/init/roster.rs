//! The roster: which fork servers there are, which one serves a run, and which stands by.
//!
//! Called by `serve` between runs. A server that holds nothing lives as long as the cage. One that holds the program
//! lives until the next program is loaded; when it has served, a spare is executed ahead, in a moment when the cage
//! has nothing else to do, so that the next program does not wait for an interpreter to start. A server that fails is
//! buried, and the next run that asks for it gets a new one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::pipe::{PipeFlags, pipe_with};

use super::backstops;
use super::nursery::{Files, Nursery};
use super::server::{ANSWER_WITHIN, Fault, Server, Shape, Word};
use super::watch::{Lost, Wish};
use crate::cage::Holds;
use crate::channel::{self, Channel};
use crate::message::Setup;
use crate::run::RunLimits;
use crate::sys::{Identity, ProcessId, ResourceLimit};

/// Most processes that servers of one post are at a time: the one that serves, the spare, and one not yet reaped of
/// each.
const PROCESSES_OF_A_POST: u64 = 4;

/// How many servers are asked for one run: the one that serves, the spare, a new one.
const ASKED_MAX: u32 = 3;

/// All servers of a cage.
pub(super) struct Roster {
    nursery: Nursery,
    /// The programs' pid namespace.
    programs: OwnedFd,
    posts: Vec<Post>,
    /// Killed, not yet reaped.
    dying: Vec<Server>,
}

/// The place of one configured server.
struct Post {
    holds: Holds,
    serving: Option<Server>,
    spare: Option<Server>,
    /// The limits of the last run that went well: a spare is executed for these.
    served: Option<RunLimits>,
}

/// A run to be served.
pub(super) struct Order<'a> {
    pub(super) post: usize,
    pub(super) seq: u64,
    pub(super) limits: RunLimits,
    /// The limits that a program of this run is executed with.
    pub(super) resources: &'a [ResourceLimit],
    /// How many processes the program's user may have beside the servers.
    pub(super) processes: u64,
    /// Whom a program is, where it is somebody else than the init.
    pub(super) identity: Option<Identity>,
    pub(super) files: [BorrowedFd<'a>; 3],
}

/// A run that has begun.
pub(super) struct Begun {
    pub(super) pid: ProcessId,
    pub(super) started: Instant,
    /// What the worker wants by now.
    pub(super) wish: Wish,
}

/// Whether a server could be asked at all.
enum Asked {
    Yes,
    /// It had ended while nobody asked it anything.
    Gone,
}

impl Roster {
    /// `programs` is the pid namespace where servers' children are born.
    pub(super) fn new(nursery: Nursery, programs: OwnedFd, setup: &Setup) -> Self {
        let posts = setup.servers.iter().map(|server| Post {
            holds: server.holds,
            serving: None,
            spare: None,
            served: None,
        });
        Self {
            nursery,
            programs,
            posts: posts.collect(),
            dying: Vec::new(),
        }
    }

    /// Every process that is no program's.
    pub(super) fn processes(&self) -> impl Iterator<Item = ProcessId> {
        [self.nursery.pid].into_iter().chain(self.servers())
    }

    /// Every server's process, until it is reaped.
    pub(super) fn servers(&self) -> impl Iterator<Item = ProcessId> {
        let at_posts = self
            .posts
            .iter()
            .flat_map(|post| post.serving.iter().chain(&post.spare));
        let living = at_posts.chain(&self.dying).filter(|server| !server.is_buried());
        living.map(|server| server.pid)
    }

    /// Has a server fork for a run.
    ///
    /// One that had ended while nobody asked it anything is replaced: by the spare, and that by a new one.
    pub(super) fn begin(&mut self, order: &Order<'_>, channel: &mut Channel) -> Result<Begun, Fault> {
        if order.post >= self.posts.len() {
            let reason = format!("there is no fork server {}", order.post);
            return Err(Fault::Unserved(reason));
        }
        let mut wish = Wish::Run;
        let mut started = None;
        let mut gone = String::new();
        for _ in 0..ASKED_MAX {
            match self.ask(order, channel, &mut wish)? {
                (Asked::Yes, at) => {
                    started = Some(at);
                    break;
                }
                (Asked::Gone, _) => gone = self.server(order.post)?.bury(""),
            }
        }
        let started = started.ok_or(Fault::Unserved(gone))?;
        let server = self.server(order.post)?;
        match server.answer(started + ANSWER_WITHIN, channel, order.seq, &mut wish)? {
            Word::Forked(pid) => {
                self.posts[order.post].served = Some(order.limits);
                Ok(Begun { pid, started, wish })
            }
            Word::NoFork(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                Err(Fault::Unserved(format!("it could not fork: {error}")))
            }
            Word::Refuses(reason) => {
                server.bury(&reason);
                Err(Fault::Unserved(reason))
            }
            word @ (Word::Ready | Word::Ended { .. }) => {
                let why = format!("it said {word:?} instead of that it had forked");
                Err(Fault::Unserved(server.bury(&why)))
            }
        }
    }

    /// Gets the post's server ready and tells it to run, at the moment that is given back.
    fn ask(
        &mut self,
        order: &Order<'_>,
        channel: &mut Channel,
        wish: &mut Wish,
    ) -> Result<(Asked, Instant), Fault> {
        let ready = self.get_ready(order, channel, wish)?;
        // One that was replaced counts until it is reaped, and the fork's bound is exact.
        self.reap().map_err(|error| Fault::Lost(Lost::Failed(error)))?;
        let bound = order.processes.saturating_add(self.servers().count() as u64);
        let now = Instant::now();
        let server = self.posts[order.post].serving.as_mut();
        Ok((
            match (ready, server) {
                (Asked::Yes, Some(server)) => asked(server.run(&order.files, bound, order.identity))?,
                (Asked::Gone, _) | (_, None) => Asked::Gone,
            },
            now,
        ))
    }

    /// A new program is coming: servers that hold the one before end.
    pub(super) fn forget_program(&mut self) {
        for post in &mut self.posts {
            match post.holds {
                Holds::Program => {
                    if let Some(server) = post.serving.take() {
                        dismiss(server, &mut self.dying);
                    }
                }
                Holds::Nothing => {}
            }
        }
    }

    /// Reaps servers that were killed.
    pub(super) fn reap(&mut self) -> io::Result<()> {
        while let Some(server) = self.dying.pop() {
            server.end()?;
        }
        Ok(())
    }

    /// A post that lacks the server of the next program, and the limits for it.
    pub(super) fn lacks_spare(&self) -> Option<(usize, RunLimits)> {
        let lacks = |(at, post): (usize, &Post)| match (post.holds, &post.spare, post.served) {
            (Holds::Program, None, Some(limits)) => Some((at, limits)),
            _ => None,
        };
        self.posts.iter().enumerate().find_map(lacks)
    }

    /// Executes a spare; one that cannot be is left for the run that needs it to say why.
    pub(super) fn start_spare(
        &mut self,
        post: usize,
        limits: RunLimits,
        resources: &[ResourceLimit],
    ) -> Result<(), Lost> {
        match self.start(post, Shape::of(&limits), resources) {
            Ok(spare) => self.posts[post].spare = Some(spare),
            Err(Fault::Unserved(_)) => self.posts[post].served = None,
            Err(Fault::Lost(lost)) => return Err(lost),
        }
        Ok(())
    }

    /// The server that serves a post, as [`Roster::begin`] left it.
    pub(super) fn server(&self, post: usize) -> Result<&Server, Fault> {
        let server = self.posts[post].serving.as_ref();
        server.ok_or_else(|| Fault::Unserved("it is gone".to_owned()))
    }

    /// Sees to it that the post has a server of this run's shape that may be told to run.
    fn get_ready(
        &mut self,
        order: &Order<'_>,
        channel: &mut Channel,
        wish: &mut Wish,
    ) -> Result<Asked, Fault> {
        let shape = Shape::of(&order.limits);
        let post = &mut self.posts[order.post];
        if post
            .serving
            .as_ref()
            .is_some_and(|server| server.is_buried() || server.shape != shape)
            && let Some(server) = post.serving.take()
        {
            dismiss(server, &mut self.dying);
        }
        if post.serving.is_none() {
            // Whatever goes wrong from here on is no reason to make more of the same.
            post.served = None;
            let spare = post.spare.take();
            let fits = spare.as_ref().is_some_and(|spare| spare.shape == shape);
            let server = match spare {
                Some(spare) if fits => spare,
                other => {
                    if let Some(spare) = other {
                        dismiss(spare, &mut self.dying);
                    }
                    self.start(order.post, shape, order.resources)?
                }
            };
            self.posts[order.post].serving = Some(server);
        }
        let post = &mut self.posts[order.post];
        let Some(server) = &mut post.serving else {
            return Ok(Asked::Gone);
        };
        if server.ready {
            return Ok(Asked::Yes);
        }
        if post.holds == Holds::Program
            && let Asked::Gone = asked(server.prepare())?
        {
            return Ok(Asked::Gone);
        }
        match server.answer(Instant::now() + ANSWER_WITHIN, channel, order.seq, wish)? {
            Word::Ready => {
                server.ready = true;
                Ok(Asked::Yes)
            }
            Word::Refuses(reason) => {
                server.bury(&reason);
                Err(Fault::Unserved(reason))
            }
            word @ (Word::Forked(_) | Word::Ended { .. } | Word::NoFork(_)) => {
                let why = format!("it said {word:?} instead of that it is ready");
                Err(Fault::Unserved(server.bury(&why)))
            }
        }
    }

    fn start(&mut self, post: usize, shape: Shape, resources: &[ResourceLimit]) -> Result<Server, Fault> {
        let failed = |error: io::Error| Fault::Lost(Lost::Failed(error));
        let (socket, theirs) = channel::pair().map_err(failed)?;
        let (output, errors) = output().map_err(failed)?;
        let headroom = PROCESSES_OF_A_POST * self.posts.len() as u64;
        let files = Files {
            children: self.programs.as_fd(),
            socket: theirs.as_fd(),
            output: errors.as_fd(),
        };
        let (pid, report) = self
            .nursery
            .start(post, backstops::of_server(resources, headroom), &files)?;
        Server::new(pid, shape, socket, output, report).map_err(failed)
    }
}

/// A pipe for what a server writes; reading it does not wait.
fn output() -> io::Result<(OwnedFd, OwnedFd)> {
    let (output, errors) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&output, true)?;
    Ok((output, errors))
}

/// Kills a server, to be reaped when there is time.
fn dismiss(server: Server, dying: &mut Vec<Server>) {
    if !server.is_buried() {
        server.kill();
        dying.push(server);
    }
}

/// What sending a word to a server came to.
fn asked(sent: io::Result<()>) -> Result<Asked, Fault> {
    match sent {
        Ok(()) => Ok(Asked::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Asked::Gone),
        Err(error) => Err(Fault::Lost(Lost::Failed(error))),
    }
}
