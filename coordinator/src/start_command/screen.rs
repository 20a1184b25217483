//! Lines on standard error that never hold up the coordinator: whoever reads them may be slow, stopped or gone.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lines that wait to be printed; those that come while there are so many are left out and counted.
const LINES_MAX: usize = 1_024;
/// How long the last lines may take at the end.
const END_TIMEOUT: Duration = Duration::from_secs(1);

enum Said {
    Line(String),
    /// Everything before is printed when this is answered.
    End(SyncSender<()>),
}

/// Prints lines on standard error. A clone prints to the same.
#[derive(Clone)]
pub(super) struct Screen {
    lines: SyncSender<Said>,
    left_out: Arc<Mutex<u64>>,
}

impl Screen {
    /// Starts the thread that prints; it ends with the process.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        Self::to(io::stderr())
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, said) = sync_channel(LINES_MAX);
        std::thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || print(out, &said))?;
        let left_out = Arc::default();
        Ok(Self { lines, left_out })
    }

    /// Prints a line, or several.
    pub(super) fn say(&self, line: String) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if *left_out > 0 {
            let note = Said::Line(format!(
                "note: {left_out} lines were left out: nobody read them in time"
            ));
            if self.lines.try_send(note).is_err() {
                *left_out += 1;
                return;
            }
            *left_out = 0;
        }
        match self.lines.try_send(Said::Line(line)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => *left_out += 1,
        }
    }

    /// Waits until what was said is printed, as long as somebody reads it.
    pub(super) fn finish(self) {
        let (end, ended) = sync_channel(1);
        if self.lines.try_send(Said::End(end)).is_ok() {
            let _ = ended.recv_timeout(END_TIMEOUT);
        }
    }
}

fn print(mut out: impl Write, said: &Receiver<Said>) {
    for said in said {
        match said {
            // Where nobody reads it any more, that ends nothing.
            Said::Line(line) => drop(writeln!(out, "{line}")),
            Said::End(end) => drop(end.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    /// Keeps what is written once the gate was opened.
    struct Gate {
        open: Option<Receiver<()>>,
        kept: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(open) = self.open.take() {
                let _ = open.recv();
            }
            self.kept.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_reads_hold_nothing_up_and_are_counted() {
        let (gate, open) = sync_channel(1);
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let out = Gate {
            open: Some(open),
            kept: Arc::clone(&kept),
        };
        let screen = Screen::to(out).unwrap();
        for n in 0..LINES_MAX + 100 {
            screen.say(n.to_string());
        }
        let left_out = *screen.left_out.lock().unwrap();
        assert!((99..=100).contains(&left_out), "{left_out}");
        gate.send(()).unwrap();
        screen.clone().finish_at_last();
        screen.say("last".to_owned());
        screen.finish();
        let text = String::from_utf8(kept.lock().unwrap().clone()).unwrap();
        let end = format!("note: {left_out} lines were left out: nobody read them in time\nlast\n");
        assert!(text.starts_with("0\n1\n2\n") && text.ends_with(&end), "{text}");
    }

    impl Screen {
        /// As [`Self::finish`], for a queue that may still be full.
        fn finish_at_last(self) {
            let (end, ended) = sync_channel(1);
            self.lines.send(Said::End(end)).unwrap();
            ended.recv_timeout(END_TIMEOUT * 10).unwrap();
        }
    }
}
