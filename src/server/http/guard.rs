//! Who comes in by the HTTP door, and how those who guess passwords are slowed.
//!
//! After a wrong password a source waits twice as long each time before it may try that user again, up to
//! [`LONGEST`]; once it has guessed at several, before it may try any, up to [`LONGEST_OF_SOURCE`]: a forgotten device
//! with an old password must not keep its house's router out. A user that strangers guess at is delayed by up to
//! [`LONGEST_OF_USER`] at each try and never refused, for else they could keep the user out. All three tables are
//! bounded, and so is how many wait for a check; who is delayed holds a connection, and those are bounded as well.
//!
//! argon2id takes tens of milliseconds, by intent. So one password is checked at a time, and on a thread of its own:
//! no guessing takes the threads that answer DNS. A password that was right before is known by a keyed hash in memory,
//! a key's secret is known anyway, and neither needs a turn; a wrong one of those is slowed like every other.

use super::slow::{LONGEST, Slowed, place};
use crate::config::HttpUser;
use crate::wire::Name;
use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

/// How long a source waits at most before it may try anybody, in seconds.
const LONGEST_OF_SOURCE: u64 = 32;
/// How many wrong passwords of a source cost it only those users.
const FREE_OF_SOURCE: u32 = 4;
/// How long a user is delayed at most.
const LONGEST_OF_USER: u64 = 4;
/// How many may wait for their passwords to be checked: of all, and of one source.
const WAITING: usize = 64;
const WAITING_OF_SOURCE: usize = 8;
/// How long a request waits for its password's turn.
const TURN: Duration = Duration::from_secs(10);

/// Knows the users and who has guessed wrong.
#[derive(Debug)]
pub(super) struct Guard {
    users: ArcSwap<Users>,
    /// The key of the hashes of passwords that were right.
    secret: Zeroizing<[u8; 32]>,
    turn: Arc<Semaphore>,
    slowed: Mutex<Tables>,
    waiting: Mutex<Waiting>,
}

/// Whether the password is a key's own secret, which takes no hashing to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proven {
    Yes,
    No,
}

/// Why somebody does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Neither user nor password, where they are needed.
    NoPassword,
    /// No such user, or not that user's password, or not from there.
    WrongPassword,
    /// So many seconds are to pass first, after wrong passwords.
    Wait(u64),
    /// Too many passwords are waiting to be checked.
    Busy,
}

#[derive(Debug, Default)]
struct Users {
    all: HashMap<Name, HttpUser>,
    /// Keyed hashes of the passwords that were right, of users that are as they were then.
    right: Mutex<HashMap<Name, [u8; 32]>>,
}

#[derive(Debug)]
struct Tables {
    pairs: Slowed<(IpAddr, Name)>,
    sources: Slowed<IpAddr>,
    users: Slowed<Name>,
}

impl Guard {
    pub(super) fn new(users: &[HttpUser]) -> Result<Guard, getrandom::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret)?;
        let tables = Tables {
            pairs: Slowed::new(0, LONGEST),
            sources: Slowed::new(FREE_OF_SOURCE, LONGEST_OF_SOURCE),
            users: Slowed::new(0, LONGEST_OF_USER),
        };
        let guard = Guard {
            users: ArcSwap::default(),
            secret,
            turn: Arc::new(Semaphore::new(1)),
            slowed: Mutex::new(tables),
            waiting: Mutex::default(),
        };
        guard.set_users(users);
        Ok(guard)
    }

    pub(super) fn set_users(&self, users: &[HttpUser]) {
        let all: HashMap<Name, HttpUser> = users.iter().map(|user| (user.name, user.clone())).collect();
        let before = self.users.load();
        let mut right = lock(&before.right).clone();
        right.retain(|name, _| all.contains_key(name) && all.get(name) == before.all.get(name));
        self.users.store(Arc::new(Users { all, right: Mutex::new(right) }));
    }

    /// Lets one more in.
    pub(super) fn add_user(&self, user: HttpUser) {
        self.users.rcu(|users| {
            let mut all = users.all.clone();
            all.insert(user.name, user.clone());
            Users { all, right: Mutex::new(lock(&users.right).clone()) }
        });
    }

    /// How many there are.
    pub(super) fn users(&self) -> usize {
        self.users.load().all.len()
    }

    /// Whether `name` comes in from `source` with this password.
    pub(super) async fn admit(
        &self,
        name: Name,
        password: Zeroizing<Vec<u8>>,
        proven: Proven,
        source: IpAddr,
        now: u64,
    ) -> Result<(), Stopped> {
        let users = self.users.load_full();
        let user = users.all.get(&name).filter(|user| user.may_come_from(source));
        let source = place(source);
        self.may_try(name, source, now)?;
        if proven == Proven::Yes {
            return Ok(());
        }
        let digest = self.digest(&password);
        if user.is_some() && users.knows(&name, &digest) {
            return Ok(());
        }
        // Not in line: whoever guesses at one user would fill it with delays, and keep all others out.
        let delay = lock(&self.slowed).users.wait(&name, now);
        sleep(Duration::from_secs(delay)).await;
        let _waiting = self.wait_in_line(source).ok_or(Stopped::Busy)?;
        let turn = self.turn().await?;
        // Whoever had the turn before may have been the same guesser, who then does not get the next one.
        self.may_try(name, source, now)?;
        // A name that is not there takes as long as one that is, where there is any.
        let checked = user.or_else(|| users.all.values().next()).cloned();
        let right = tokio::task::spawn_blocking(move || {
            let right = checked.is_some_and(|user| user.has_password(&password));
            drop(turn);
            right
        });
        if right.await.unwrap_or(false) && user.is_some() {
            lock(&users.right).insert(name, digest);
            return Ok(());
        }
        let mut slowed = lock(&self.slowed);
        slowed.pairs.slow((source, name), now);
        slowed.sources.slow(source, now);
        slowed.users.slow(name, now);
        Err(Stopped::WrongPassword)
    }

    /// Waits for the one turn that hashing takes.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Stopped> {
        let turn = timeout(TURN, Arc::clone(&self.turn).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(Stopped::Busy)
    }

    fn may_try(&self, name: Name, source: IpAddr, now: u64) -> Result<(), Stopped> {
        let slowed = lock(&self.slowed);
        match slowed.pairs.wait(&(source, name), now).max(slowed.sources.wait(&source, now)) {
            0 => Ok(()),
            seconds => Err(Stopped::Wait(seconds)),
        }
    }

    fn digest(&self, password: &[u8]) -> [u8; 32] {
        // A key of this length is always taken.
        let mac = Hmac::<Sha256>::new_from_slice(&*self.secret).map(|mac| mac.chain_update(password));
        mac.map_or([0; 32], |mac| mac.finalize().into_bytes().into())
    }

    /// A place among those whose passwords are to be checked; `None` where there are too many.
    fn wait_in_line(&self, source: IpAddr) -> Option<Place<'_>> {
        let mut waiting = lock(&self.waiting);
        let here = waiting.by_source.get(&source).copied().unwrap_or(0);
        if waiting.all >= WAITING || here >= WAITING_OF_SOURCE {
            return None;
        }
        waiting.all += 1;
        waiting.by_source.insert(source, here + 1);
        Some(Place { line: &self.waiting, source })
    }
}

impl Users {
    fn knows(&self, name: &Name, digest: &[u8; 32]) -> bool {
        lock(&self.right).get(name).is_some_and(|right| right.ct_eq(digest).into())
    }
}

/// Those whose passwords are to be checked.
#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One of them, until it is dropped.
struct Place<'g> {
    line: &'g Mutex<Waiting>,
    source: IpAddr,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(self.line);
        waiting.all -= 1;
        match waiting.by_source.get_mut(&self.source) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(waiting.by_source.remove(&self.source)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn at(source: &str) -> IpAddr {
        source.parse().unwrap()
    }

    /// A guard of one user, `router`, and the password.
    fn guard() -> (Guard, String) {
        let (user, password) = HttpUser::random(name("router"), HttpUser::PASSWORD).unwrap();
        (Guard::new(&[user]).unwrap(), password.to_string())
    }

    async fn admit(guard: &Guard, user: &str, password: &str, source: &str, now: u64) -> Result<(), Stopped> {
        guard.admit(name(user), Zeroizing::new(password.as_bytes().to_vec()), Proven::No, at(source), now).await
    }

    #[tokio::test]
    async fn a_guesser_waits_and_even_the_right_password_does_so_meanwhile() {
        let (guard, password) = guard();
        let wrong = Err(Stopped::WrongPassword);
        assert_eq!(admit(&guard, "router", "guess", "192.0.2.1", 1000).await, wrong);
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1000).await, Err(Stopped::Wait(1)));
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1001).await, Ok(()));
        // Nor does a right password that is known forgive a guesser.
        assert_eq!(admit(&guard, "router", "guess", "192.0.2.1", 1001).await, wrong);
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1002).await, Err(Stopped::Wait(1)));
        assert_eq!(admit(&guard, "stranger", &password, "192.0.2.9", 1001).await, wrong);
    }

    #[tokio::test]
    async fn even_the_secret_of_a_key_waits_after_guesses_and_takes_no_turn() {
        let guard = Guard::new(&[]).unwrap();
        let proven = |now| guard.admit(name("key"), Zeroizing::default(), Proven::Yes, at("192.0.2.1"), now);
        assert_eq!(admit(&guard, "key", "guess", "192.0.2.1", 1000).await, Err(Stopped::WrongPassword));
        assert_eq!(proven(1000).await, Err(Stopped::Wait(1)));
        let _turn = guard.turn().await;
        assert_eq!(proven(1001).await, Ok(()));
    }

    #[tokio::test]
    async fn a_device_with_an_old_password_does_not_keep_its_neighbours_out() {
        let (guard, password) = guard();
        let mut now = 1000;
        for _ in 0..8 {
            assert_eq!(admit(&guard, "camera", "old", "192.0.2.1", now).await, Err(Stopped::WrongPassword));
            now += 1 + LONGEST;
        }
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", now).await, Ok(()));
    }

    #[tokio::test]
    async fn a_prefix_that_guesses_at_many_users_waits_as_a_whole() {
        let (guard, password) = guard();
        for user in 0..6 {
            let source = format!("2001:db8::{user}");
            assert_eq!(
                admit(&guard, &format!("u{user}"), "x", &source, 1000 + user).await,
                Err(Stopped::WrongPassword)
            );
        }
        assert_eq!(admit(&guard, "router", &password, "2001:db8::77", 1005).await, Err(Stopped::Wait(2)));
        assert_eq!(admit(&guard, "router", &password, "2001:db8:0:1::77", 1005).await, Ok(()));
    }

    #[tokio::test]
    async fn a_user_that_strangers_guess_at_is_delayed_and_comes_in() {
        let (guard, password) = guard();
        for stranger in 1..4 {
            let source = format!("192.0.2.{stranger}");
            assert_eq!(admit(&guard, "router", "guess", &source, 1000).await, Err(Stopped::WrongPassword));
        }
        assert_eq!(lock(&guard.slowed).users.wait(&name("router"), 1000), 4);
        assert_eq!(admit(&guard, "router", &password, "192.0.2.9", 1002).await, Ok(()));
        // Who has been right is known at once, however many guess.
        let known = admit(&guard, "router", &password, "192.0.2.9", 1002);
        assert_eq!(
            tokio::select! { biased; known = known => Some(known), () = std::future::ready(()) => None },
            Some(Ok(()))
        );
    }

    #[tokio::test]
    async fn a_password_that_was_taken_away_is_not_known_any_more() {
        let (guard, password) = guard();
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1000).await, Ok(()));
        guard.set_users(&[HttpUser::random(name("router"), HttpUser::PASSWORD).unwrap().0]);
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1000).await, Err(Stopped::WrongPassword));
    }

    #[tokio::test]
    async fn after_a_reload_who_has_not_changed_is_still_known() {
        let (user, password) = HttpUser::random(name("router"), HttpUser::PASSWORD).unwrap();
        let guard = Guard::new(std::slice::from_ref(&user)).unwrap();
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1000).await, Ok(()));
        guard.set_users(std::slice::from_ref(&user));
        // Nobody's turn is needed, and another's network counts.
        let _turn = guard.turn().await;
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1000).await, Ok(()));
        guard.set_users(&[user.only_from(vec![Network::parse("198.51.100.0/24").unwrap()])]);
        drop(_turn);
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1000).await, Err(Stopped::WrongPassword));
    }

    #[tokio::test]
    async fn guesses_at_one_user_that_are_delayed_leave_the_line_to_others() {
        let (users, passwords): (Vec<_>, Vec<_>) = ["router", "other"]
            .map(|user| HttpUser::random(name(user), HttpUser::PASSWORD).unwrap())
            .into_iter()
            .unzip();
        let guard = Arc::new(Guard::new(&users).unwrap());
        (0..3).for_each(|_| lock(&guard.slowed).users.slow(name("router"), 1000));
        let guesses: Vec<_> = (0..2 * WAITING)
            .map(|at| {
                let guard = Arc::clone(&guard);
                let source = format!("2001:db8:0:{at:x}::1");
                tokio::spawn(async move { admit(&guard, "router", "guess", &source, 1000).await })
            })
            .collect();
        // Each gets as far as its delay.
        for _ in 0..2 * WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(admit(&guard, "other", &passwords[1], "192.0.2.1", 1000).await, Ok(()));
        guesses.iter().for_each(|guess| guess.abort());
    }

    #[tokio::test]
    async fn a_user_comes_in_from_its_own_networks_only() {
        let (user, password) = HttpUser::random(name("router"), HttpUser::PASSWORD).unwrap();
        let user = user.only_from(vec![Network::parse("192.0.2.0/24").unwrap()]);
        let guard = Guard::new(&[]).unwrap();
        guard.add_user(user);
        assert_eq!(admit(&guard, "router", &password, "192.0.2.1", 1000).await, Ok(()));
        assert_eq!(admit(&guard, "router", &password, "198.51.100.1", 1000).await, Err(Stopped::WrongPassword));
    }

    #[test]
    fn only_so_many_wait_and_each_that_is_done_makes_room() {
        let guard = guard().0;
        let here: Vec<_> = (0..=WAITING_OF_SOURCE).map(|_| guard.wait_in_line(at("192.0.2.1"))).collect();
        assert_eq!(here.iter().flatten().count(), WAITING_OF_SOURCE);
        let others: Vec<_> = (0..=255).map(|n| guard.wait_in_line(IpAddr::from([198, 51, 100, n]))).collect();
        assert_eq!(others.iter().flatten().count(), WAITING - WAITING_OF_SOURCE);
        drop((here, others));
        assert!(lock(&guard.waiting).all == 0 && lock(&guard.waiting).by_source.is_empty());
    }
}
