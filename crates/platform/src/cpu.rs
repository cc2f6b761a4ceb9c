//! The one place where CPU work leaves the async threads.
//!
//! A pool has a fixed number of threads. Work for which nobody waits, such as analysis, runs at a lower
//! scheduling priority, so that requests are accepted quickly while all cores are busy with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Semaphore, oneshot};

/// Jobs that may wait for each thread; more callers wait for their turn to hand theirs in.
const QUEUED_PER_THREAD: usize = 4;

/// What threads of [`Priority::Background`] add to their nice value, of 19 at most.
const NICE: i32 = 10;

/// How the threads of a pool compete with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As any other thread: somebody waits for the answer.
    Foreground,
    /// Only what others leave.
    Background,
}

/// Why a job has no result.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CpuError {
    /// The job panicked; its message.
    #[error("the computation failed: {0}")]
    Panicked(String),
    /// The pool's threads are gone: the process is ending, or could not start them.
    #[error("no thread takes computations")]
    Stopped,
}

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads for CPU work. Dropping it lets them finish what was handed in.
pub struct Pool {
    name: &'static str,
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
}

/// The number of cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Computes in the process's own foreground pool (one thread a core): short work for which a request waits.
///
/// # Errors
/// As [`Pool::run`].
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CpuError> {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool::new("foreground", cores(), Priority::Foreground)).run(work).await
}

impl Pool {
    /// Starts `threads` threads (at least one) called `name`.
    #[must_use]
    pub fn new(name: &'static str, threads: usize, priority: Priority) -> Self {
        let threads = threads.max(1);
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            if let Err(error) = thread.spawn(move || work_until_closed(&queue, priority)) {
                // With no thread at all the queue is closed, and every run says `Stopped`.
                tracing::error!(%error, name, "cannot start a thread");
            }
        }
        Self { name, jobs, room: Arc::new(Semaphore::new(threads * (1 + QUEUED_PER_THREAD))) }
    }

    /// Computes `work` on one of the threads, after at most a bounded number of others. A job whose caller has
    /// gone away before its turn is not begun.
    ///
    /// # Errors
    /// [`CpuError::Panicked`] when the work panics; the pool goes on.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, CpuError> {
        let busy = metrics::gauge!("antiphon_cpu_jobs", "pool" => self.name);
        let place = Arc::clone(&self.room).acquire_owned().await.map_err(|_| CpuError::Stopped)?;
        let (answer, result) = oneshot::channel();
        busy.increment(1.0);
        let job = move || {
            if !answer.is_closed() {
                let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| CpuError::Panicked(words(&*panic)));
                // The caller may have gone away in the meantime.
                let _ = answer.send(outcome);
            }
            busy.decrement(1.0);
            drop(place);
        };
        self.jobs.send(Box::new(job)).map_err(|_| CpuError::Stopped)?;
        result.await.map_err(|_| CpuError::Stopped)?
    }
}

fn work_until_closed(queue: &Mutex<Receiver<Job>>, priority: Priority) {
    if priority == Priority::Background {
        // On Linux a nice value belongs to a thread. Where it cannot be raised, all is only less quick.
        let _ = rustix::process::setpriority_process(None, NICE);
    }
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| String::from("it panicked"))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn results_come_back_and_panics_are_errors() {
        let pool = Pool::new("test", 2, Priority::Background);
        assert_eq!(pool.run(|| 6 * 7).await, Ok(42));
        assert_eq!(pool.run(|| panic!("no {}", 1)).await, Err::<(), _>(CpuError::Panicked(String::from("no 1"))));
        assert_eq!(pool.run(|| 1).await, Ok(1), "the pool goes on");
        assert_eq!(run(|| 2).await, Ok(2));
    }

    #[tokio::test]
    async fn jobs_run_side_by_side() {
        let pool = Pool::new("test", 2, Priority::Foreground);
        let barrier = Arc::new(Barrier::new(2));
        let job = || {
            let barrier = Arc::clone(&barrier);
            move || barrier.wait().is_leader()
        };
        let (one, other) = tokio::join!(pool.run(job()), pool.run(job()));
        assert_ne!(one, other);
    }

    #[tokio::test]
    async fn no_more_wait_than_there_is_room_for_and_given_up_jobs_are_not_begun() {
        let pool = Arc::new(Pool::new("test", 1, Priority::Foreground));
        let (gate, begun) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
        let held = Arc::clone(&gate);
        let first = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(move || held.wait().is_leader()).await }
        });
        while pool.room.available_permits() > QUEUED_PER_THREAD {
            tokio::task::yield_now().await;
        }
        let others = (0..20).map(|_| {
            let (pool, begun) = (Arc::clone(&pool), Arc::clone(&begun));
            tokio::spawn(async move { pool.run(move || begun.fetch_add(1, Ordering::SeqCst)).await })
        });
        let others: Vec<_> = others.collect();
        while pool.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for other in &others {
            other.abort();
        }
        for other in others {
            assert!(other.await.unwrap_err().is_cancelled());
        }
        gate.wait();
        first.await.unwrap().unwrap();
        pool.run(|| ()).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn background_threads_are_nicer_than_the_rest() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let here = nice();
        let there = Pool::new("test", 1, Priority::Background).run(nice).await.unwrap();
        assert_eq!(there, NICE.max(here));
        assert_eq!(nice(), here, "only the pool's threads");
    }
}
