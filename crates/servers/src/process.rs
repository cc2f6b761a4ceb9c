//! Processes that end with the test, whatever ends the test.
//!
//! Each server carries a mark in its environment, which its children inherit; beside it runs a watchdog, a small shell
//! script whose standard input is a pipe that only this process holds open. When the pipe closes (the server was dropped,
//! or the test was killed with SIGKILL), the watchdog kills every process that carries the mark and removes the folder.
//! So also a daemon that left its parents, such as Erlang's epmd, is found.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a server may take to be ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The variable that holds the mark.
const MARK: &str = "ANTIPHON_TEST_SERVER";

/// Kills what carries the mark `$1`, and what works in the folder `$2`: PostgreSQL's backends write their titles over
/// their environment. A process leaves its folder last, after the memory that it shares with others.
const KILL: &str = r#"
victims() {
    grep -lzF "ANTIPHON_TEST_SERVER=$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
    find /proc/[0-9]*/cwd -maxdepth 0 -lname "$2*" 2>/dev/null | cut -d/ -f3
}
while found=$(victims "$1" "$2") && [ -n "$found" ]; do
    kill -KILL $found 2>/dev/null
done
"#;

/// A server's folder, its processes and what ends them.
pub struct Process {
    mark: String,
    folder: PathBuf,
    user: Option<&'static str>,
    watchdog: Mutex<Child>,
    launched: Mutex<Vec<Child>>,
}

impl Process {
    /// An empty folder and a watchdog. `user` owns the folder and runs the programs if the test runs as root.
    pub fn new(name: &str, user: Option<&'static str>) -> Self {
        let user = user.filter(|_| rustix::process::geteuid().is_root());
        let folder = tempfile::Builder::new()
            .prefix(&format!("antiphon-{name}-"))
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .expect("a temporary folder")
            .keep();
        if let Some(user) = user {
            let (uid, gid) = ids(user);
            chown(&folder, Some(uid), Some(gid)).expect("root may change owners");
        }
        let mark = folder.file_name().and_then(OsStr::to_str).expect("named here").to_owned();
        let watchdog = Command::new("sh")
            .args(["-c", &format!("cat >/dev/null\n{KILL}\nrm -rf \"$2\""), "watchdog", &mark])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A group of its own: what ends the test's group must not end the watchdog before it has done its work.
            .process_group(0)
            .spawn()
            .expect("sh runs");
        Self { mark, folder, user, watchdog: Mutex::new(watchdog), launched: Mutex::new(Vec::new()) }
    }

    /// What its processes carry in their environment: the folder's name.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The server's own folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file into the folder, readable by the server only.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).expect("the folder can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
        if let Some(user) = self.user {
            let (uid, gid) = ids(user);
            chown(&path, Some(uid), Some(gid)).expect("root may change owners");
        }
        path
    }

    /// A file of the folder.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).expect("the server's own file")
    }

    /// A program of this server: marked, as the server's user, in the server's folder.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = self.user {
            let (uid, gid) = ids(user);
            command.uid(uid).gid(gid);
        }
        command.env(MARK, &self.mark).current_dir(&self.folder).stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs a program of this server to its end.
    pub fn run(&self, command: &mut Command) {
        let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        if !output.status.success() {
            panic!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Launches the server, with its output appended to the log.
    pub fn launch(&self, command: &mut Command) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("the folder can be written");
        let child = command
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        self.launched.lock().expect("no holder panics").push(child);
    }

    /// Waits until `ready` says so; panics with the log if the server ends before, or takes too long.
    pub fn wait_until(&self, ready: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !ready() {
            for child in self.launched.lock().expect("no holder panics").iter_mut() {
                if let Ok(Some(status)) = child.try_wait() {
                    panic!("a server ended ({status}) before it was ready:\n{}", self.log());
                }
            }
            assert!(Instant::now() < deadline, "a server was not ready in time:\n{}", self.log());
            pause(Duration::from_millis(30));
        }
    }

    /// SIGKILL for all processes; returns when they are gone.
    pub fn kill(&self) {
        let status =
            Command::new("sh").args(["-c", KILL, "kill", &self.mark]).arg(&self.folder).status().expect("sh runs");
        assert!(status.success() || status.code() == Some(1), "the kill script failed: {status}");
        for mut child in self.launched.lock().expect("no holder panics").drain(..) {
            let _ = child.wait();
        }
    }

    /// What the server wrote, its last part.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(8_000)..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Ok(watchdog) = self.watchdog.get_mut() else { return };
        // Its end of file is the order to clean up.
        drop(watchdog.stdin.take().map(|mut pipe| pipe.flush()));
        let _ = watchdog.wait();
        for child in self.launched.get_mut().map(std::mem::take).unwrap_or_default().iter_mut() {
            let _ = child.wait();
        }
    }
}

/// Waits without a signal to wait for: another program's readiness can only be asked again and again.
pub fn pause(time: Duration) {
    let deadline = Instant::now() + time;
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// The numbers of a user and its group.
fn ids(user: &str) -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(user))
        .unwrap_or_else(|| panic!("there is no user {user}: run `cargo xtask servers` once"));
    let mut numbers = line.split(':').skip(2).map_while(|field| field.parse().ok());
    (numbers.next().expect("a user has a number"), numbers.next().expect("a user has a group"))
}
