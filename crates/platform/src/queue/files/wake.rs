//! Waking who waits: inside the process by a condition variable, across processes by named pipes.
//!
//! A wake-up may be lost (a full pipe, a process that is just starting): whoever waits looks again after
//! [`POLL`] anyway.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a waiter sleeps at most before it looks by itself.
pub(super) const POLL: Duration = Duration::from_millis(250);

/// How long a list of other processes' pipes is trusted.
const LISTING: Duration = Duration::from_millis(250);

/// One thread's bell.
#[derive(Debug, Default)]
pub(super) struct Signal {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Wakes the waiter, now or when it waits next.
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until it is rung, at most `longest` if that is given.
    pub(super) fn wait(&self, longest: Option<Duration>) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = longest.map(|longest| Instant::now() + longest);
        while !*rung {
            rung = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => self.changed.wait_timeout(rung, left).map_or_else(|e| e.into_inner().0, |(rung, _)| rung),
                None => self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *rung = false;
    }
}

/// The bells of a topic's waiters, here and in other processes.
#[derive(Debug)]
pub(super) struct Wake {
    pipes: PathBuf,
    own: String,
    here: Mutex<Vec<(&'static str, Weak<Signal>)>>,
    elsewhere: Mutex<Elsewhere>,
    listening: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Elsewhere {
    listed: Option<Instant>,
    pipes: Vec<(PathBuf, File)>,
}

impl Wake {
    pub(super) fn new(folder: &Path, owner: &str) -> Self {
        Self {
            pipes: folder.join("wake"),
            own: format!("{owner}.pipe"),
            here: Mutex::default(),
            elsewhere: Mutex::default(),
            listening: Mutex::new(false),
        }
    }

    /// Rings `signal` whenever there is something new on `topic`, from any process.
    pub(super) fn register(self: &Arc<Self>, topic: &'static str, signal: &Arc<Signal>) {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).push((topic, Arc::downgrade(signal)));
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if !*listening {
            match self.listen() {
                Ok(()) => *listening = true,
                Err(error) => tracing::debug!(%error, "no named pipe: other processes are noticed by looking"),
            }
        }
    }

    /// There is something new on `topic`: wakes all its waiters.
    pub(super) fn topic(&self, topic: &str) {
        self.ring_here(topic);
        let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if elsewhere.listed.is_none_or(|listed| listed.elapsed() >= LISTING) {
            self.list(&mut elsewhere);
        }
        let line = format!("{topic}\n");
        // A full pipe wakes its reader as well; a pipe without one fails and goes with the next listing.
        elsewhere.pipes.retain_mut(|(_, pipe)| match pipe.write(line.as_bytes()) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
    }

    fn ring_here(&self, topic: &str) {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).retain(|(wanted, signal)| {
            let Some(signal) = signal.upgrade() else { return false };
            if *wanted == topic {
                signal.ring();
            }
            true
        });
    }

    fn list(&self, elsewhere: &mut Elsewhere) {
        elsewhere.listed = Some(Instant::now());
        let Ok(entries) = std::fs::read_dir(&self.pipes) else { return };
        let paths: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| !path.ends_with(&self.own)).collect();
        elsewhere.pipes.retain(|(path, _)| paths.contains(path));
        for path in paths {
            if elsewhere.pipes.iter().all(|(known, _)| *known != path) {
                let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
                // It fails when nobody reads the pipe.
                if let Ok(pipe) = OpenOptions::new().write(true).custom_flags(nonblocking).open(&path) {
                    elsewhere.pipes.push((path, pipe));
                }
            }
        }
    }

    fn listen(self: &Arc<Self>) -> io::Result<()> {
        let path = self.pipes.join(&self.own);
        make_pipe(&path)?;
        // Opened for writing too, so that it never reports an end when the last writer goes.
        let mut pipe = OpenOptions::new().read(true).write(true).open(&path)?;
        let wake = Arc::downgrade(self);
        std::thread::Builder::new().name(String::from("queue-wake")).spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = pipe.read(&mut bytes) {
                let Some(wake) = wake.upgrade() else { return };
                let mut topics: Vec<&str> = std::str::from_utf8(&bytes[..count]).unwrap_or_default().lines().collect();
                topics.sort_unstable();
                topics.dedup();
                for topic in topics {
                    wake.ring_here(topic);
                }
            }
        })?;
        Ok(())
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let path = self.pipes.join(&self.own);
        if let Ok(mut pipe) = OpenOptions::new().read(true).write(true).open(&path) {
            // The listener reads it, sees that its queue is gone, and ends.
            let _ = pipe.write(b"\n");
        }
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(target_os = "linux")]
fn make_pipe(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode};
    Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
}

#[cfg(not(target_os = "linux"))]
fn make_pipe(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_engine_is_woken_through_its_pipe() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("wake")).unwrap();
        let (one, other) = (Arc::new(Wake::new(folder.path(), "one")), Arc::new(Wake::new(folder.path(), "other")));
        let signal = Arc::new(Signal::default());
        other.register("results", &signal);
        one.topic("results");
        let begun = Instant::now();
        signal.wait(Some(Duration::from_secs(10)));
        assert!(begun.elapsed() < Duration::from_secs(9));
    }
}
