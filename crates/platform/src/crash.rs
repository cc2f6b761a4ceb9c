//! Named places at which a crash test kills the process, to show that nothing accepted is lost there.
//!
//! A test aid: set `ANTIPHON_CRASH_POINT=NAME` or `NAME:COUNT`, and the process kills itself with SIGKILL the first
//! (the COUNT-th) time that it passes [`point`]`(NAME)`. Without the variable a point costs one comparison.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

struct Armed {
    name: String,
    passes_left: AtomicI64,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// A place with a name, such as `queue.after-confirm`.
pub fn point(name: &str) {
    let armed = ARMED.get_or_init(|| parse(&std::env::var("ANTIPHON_CRASH_POINT").ok()?));
    let Some(armed) = armed.as_ref().filter(|armed| armed.name == name) else { return };
    if armed.passes_left.fetch_sub(1, Ordering::SeqCst) == 1 {
        // It does not return from this.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

fn parse(value: &str) -> Option<Armed> {
    let (name, count) = match value.rsplit_once(':') {
        Some((name, count)) => (name, count.parse().ok()?),
        None => (value, 1),
    };
    Some(Armed { name: name.to_owned(), passes_left: AtomicI64::new(count) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_or_without_a_count() {
        let armed = parse("queue.after-confirm:3").unwrap();
        assert_eq!((armed.name.as_str(), armed.passes_left.into_inner()), ("queue.after-confirm", 3));
        assert_eq!(parse("queue.after-confirm").unwrap().passes_left.into_inner(), 1);
        assert!(parse("queue.after-confirm:often").is_none());
    }

    #[test]
    fn a_point_that_is_not_armed_does_nothing() {
        point("crash.never-armed");
    }
}
