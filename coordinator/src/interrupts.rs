//! Requests to stop: Ctrl-C, and those of whoever manages this process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Who asked this process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// Whoever manages this process.
    Terminate,
}

/// Requests to stop. Listened to from the beginning to the end, so that none is lost.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Listens from now on; the process is no longer ended by them.
    ///
    /// # Errors
    /// The system does not let it listen.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next request.
    ///
    /// # Cancel safety
    /// A request that came is not lost when the future is dropped before it is done.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}
