//! Keeping the loops of roles alive: what ends before it was told to is started again, with backoff.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Waits before the first restart, doubled up to the second value; back to the first after a minute of good work.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
const GOOD: Duration = Duration::from_secs(60);

/// Starts the loop of a role; its error in words.
pub type Task = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Whether a loop runs, for `/readyz`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct State(Arc<Mutex<Option<String>>>);

impl State {
    /// What it ended with, if it waits to be started again.
    ///
    /// # Errors
    /// That.
    pub fn health(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn set(&self, fault: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// Runs `task` in `tasks` until `stop` fires, again and again if need be.
pub fn supervise(tasks: &mut JoinSet<()>, name: &'static str, task: Task, stop: CancellationToken) -> State {
    let state = State::default();
    tasks.spawn(keep(name, task, stop, state.clone()));
    state
}

async fn keep(name: &'static str, task: Task, stop: CancellationToken, state: State) {
    let mut pause = PAUSE.0;
    loop {
        let started = Instant::now();
        let fault = match tokio::spawn(task()).await {
            _ if stop.is_cancelled() => return,
            Ok(Ok(())) => String::from("it ended without being told to"),
            Ok(Err(fault)) => fault,
            Err(error) => format!("it broke down: {error}"),
        };
        if started.elapsed() > GOOD {
            pause = PAUSE.0;
        }
        tracing::warn!(role = name, fault, "the role's work ended; it is started again in {} ms", pause.as_millis());
        metrics::counter!("antiphon_role_restarts_total", "role" => name).increment(1);
        state.set(Some(fault));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(PAUSE.1);
        state.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_panics_or_ends_is_started_again_until_the_stop() {
        let stop = CancellationToken::new();
        let count = Arc::new(AtomicU32::new(0));
        let task: Task = {
            let (stop, count) = (stop.clone(), Arc::clone(&count));
            Box::new(move || {
                let (stop, number) = (stop.clone(), count.fetch_add(1, Ordering::SeqCst));
                Box::pin(async move {
                    match number {
                        0 => Err(String::from("no database yet")),
                        1 => panic!("a mistake"),
                        2 => Ok(()),
                        _ => {
                            stop.cancel();
                            Ok(())
                        }
                    }
                })
            })
        };
        let mut tasks = JoinSet::new();
        let state = supervise(&mut tasks, "test", task, stop);
        while tasks.join_next().await.is_some() {}
        assert_eq!(count.load(Ordering::SeqCst), 4);
        assert_eq!(state.health(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_for_its_restart_is_not_healthy() {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let task: Task = Box::new(|| Box::pin(async { Err(String::from("the queue is gone")) }));
        let state = supervise(&mut tasks, "test", task, stop.clone());
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(1)).await;
        while state.health().is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(state.health().unwrap_err(), "the queue is gone");
        stop.cancel();
        while tasks.join_next().await.is_some() {}
    }
}
