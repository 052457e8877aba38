//! Tests of when the table follows, and of who waits for it.

use super::*;
use std::thread;

/// A follower whose thread is the test, and that would gather for ever.
fn follower(segments: u64) -> Follower {
    let shared = Shared { gather: Duration::MAX, ..Shared::default() };
    let follower = Follower { shared: Arc::new(shared), thread: None };
    for end in 2..segments + 2 {
        follower.durable(Path::new(&format!("{end}.seg")), end, 1);
    }
    follower
}

impl Inspector {
    /// Keeps the table from following until an append waits for it.
    pub(in crate::store) fn hold(&self) {
        let shared = Arc::clone(&self.0);
        let look = move |_: &Table| {
            while shared.state().overloaded.is_none() && !shared.stop.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        };
        self.inspect(0, Box::new(look));
    }
}

#[test]
fn appends_wait_for_a_table_that_is_too_far_behind_and_this_is_told_once() {
    let follower = follower(BEHIND as u64 + 2);
    thread::scope(|scope| {
        let append = scope.spawn(|| follower.wait_for_room());
        while !follower.overloaded() {
            thread::yield_now();
        }
        // One segment less is not enough.
        assert!(matches!(follower.shared.work(1, true, false), Work::Read(part) if part.end == 3));
        assert!(!append.is_finished() && !follower.overloaded());
        follower.shared.work(2, true, false);
        append.join().unwrap();
    });
    // Half of the way makes it news again.
    let half = BEHIND as u64 / 2;
    follower.shared.state().waiting = MANY;
    follower.shared.work(half + 2, true, false);
    assert_eq!(follower.shared.state().overloaded, None);
}

/// Told late is told.
#[test]
fn a_table_that_catches_up_before_anybody_asks_is_still_told() {
    let follower = follower(BEHIND as u64 + 2);
    follower.shared.state().overloaded = Some(true);
    follower.shared.state().waiting = MANY;
    follower.shared.work(BEHIND as u64, true, false);
    assert!(follower.overloaded() && !follower.overloaded());
}

#[test]
fn nobody_waits_for_a_table_that_stopped_following() {
    let follower = follower(BEHIND as u64 + 2);
    follower.shared.state().stopped = true;
    follower.wait_for_room();
    assert!(!follower.overloaded());
}

#[test]
fn commits_gather_unless_the_table_is_waited_for_or_they_are_many() {
    let follower = follower(3);
    follower.shared.state().waiting = MANY;
    let work = |done, unwritten| follower.shared.work(done, true, unwritten);
    assert!(matches!(work(0, false), Work::Read(part) if part.end == 2));
    // Once it reads, it goes on as long as a whole segment is there.
    let (last, end) = (2, 4);
    assert!(matches!(work(last - 1, true), Work::Read(part) if part.end == last + 1));
    assert!(matches!(work(last, true), Work::Write));
    follower.shared.state().wanted = last + 1;
    assert!(matches!(work(last, false), Work::Read(part) if part.end == end));
    assert!(matches!(work(last + 1, true), Work::Flush));
    // And a thread that is told to stop does not gather either.
    follower.durable(Path::new("more.seg"), end + 1, 1);
    follower.shared.stop.store(true, Ordering::Relaxed);
    assert!(matches!(work(last + 1, false), Work::End));
}
