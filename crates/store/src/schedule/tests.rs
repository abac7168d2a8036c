use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn key(n: usize) -> StorePath {
    format!("r/f{n}").parse().unwrap()
}

fn wish(n: usize) -> Wish {
    Wish { key: key(n), have: 0, size: Some(100), optional: false }
}

fn failure(retry: Retry) -> Failure {
    Failure { code: "network", message: "broke off".into(), retry }
}

fn scheduler() -> (Scheduler, Instant) {
    (Scheduler::new(Limits { spare_bytes: 7, ..Limits::default() }), Instant::now())
}

fn drain(scheduler: &mut Scheduler, now: Instant) -> Vec<Action> {
    std::iter::from_fn(|| scheduler.poll(now)).collect()
}

/// Lets every job that asks have its room, and every file be of 100 bytes.
fn prepare(scheduler: &mut Scheduler, now: Instant) -> Vec<Action> {
    let mut rest = Vec::new();
    loop {
        let actions = drain(scheduler, now);
        if actions.is_empty() {
            return rest;
        }
        for action in actions {
            match action {
                Action::Probe(key) => scheduler.probed(&key, Some(100), 0),
                Action::CheckRoom { job, .. } => scheduler.has_room(&job, Ok(())),
                other => rest.push(other),
            }
        }
    }
}

fn fetches(actions: &[Action]) -> Vec<StorePath> {
    let fetch = |action: &Action| if let Action::Fetch(key) = action { Some(key.clone()) } else { None };
    actions.iter().filter_map(fetch).collect()
}

fn state(scheduler: &Scheduler, id: &str, now: Instant) -> JobState {
    scheduler.status(id, now).unwrap().state
}

#[test]
fn sizes_come_first_then_room_then_files() {
    let (mut s, now) = scheduler();
    s.request("a", vec![wish(0), wish(1)], now).unwrap();
    assert_eq!(drain(&mut s, now), [Action::Probe(key(0)), Action::Probe(key(1))]);
    assert_eq!(state(&s, "a", now), JobState::Preparing);
    s.probed(&key(0), Some(1000), 400);
    assert_eq!(drain(&mut s, now), []);
    s.probed(&key(1), Some(50), 0);
    assert_eq!(drain(&mut s, now), [Action::CheckRoom { job: "a".into(), bytes: 600 + 50 + 7 }]);
    s.has_room("a", Ok(()));
    assert_eq!(drain(&mut s, now), [Action::Fetch(key(0)), Action::Fetch(key(1))]);
    assert_eq!(state(&s, "a", now), JobState::Downloading);
    s.finished(&key(1), 50, now);
    s.finished(&key(0), 1000, now);
    let status = s.status("a", now).unwrap();
    assert_eq!((status.state, status.have, status.total), (JobState::Done, 1050, 1050));
    assert!(!s.is_busy(&key(0)));
}

#[test]
fn a_shared_file_is_fetched_once_and_counts_for_both() {
    let (mut s, now) = scheduler();
    s.request("a", vec![wish(0), wish(1)], now).unwrap();
    s.request("b", vec![wish(1)], now).unwrap();
    assert_eq!(s.request("b", vec![wish(1)], now), Err(AlreadyRunning));
    let fetched = fetches(&prepare(&mut s, now));
    assert_eq!(fetched, [key(0), key(1)]);
    s.finished(&key(1), 100, now);
    assert_eq!(state(&s, "b", now), JobState::Done);
    assert_eq!(state(&s, "a", now), JobState::Downloading);
}

#[test]
fn cancelling_one_job_leaves_the_files_of_the_other_alone() {
    let (mut s, now) = scheduler();
    s.request("a", vec![wish(0), wish(1)], now).unwrap();
    s.request("b", vec![wish(1)], now).unwrap();
    prepare(&mut s, now);
    assert!(s.cancel("a") && !s.cancel("a"));
    assert_eq!(drain(&mut s, now), [Action::Stop(key(0))]);
    assert_eq!(state(&s, "a", now), JobState::Cancelled);
    s.failed(&key(0), failure(Retry::Never), now);
    s.finished(&key(1), 100, now);
    assert_eq!(state(&s, "b", now), JobState::Done);
    assert!(!s.is_busy(&key(0)));
}

#[test]
fn a_file_that_is_wanted_again_while_it_is_stopped_begins_anew_afterwards() {
    let (mut s, now) = scheduler();
    s.request("a", vec![wish(0)], now).unwrap();
    prepare(&mut s, now);
    s.cancel("a");
    assert_eq!(drain(&mut s, now), [Action::Stop(key(0))]);
    s.request("a", vec![wish(0)], now).unwrap();
    assert_eq!(drain(&mut s, now), []);
    s.failed(&key(0), failure(Retry::Never), now);
    assert_eq!(drain(&mut s, now), [Action::Probe(key(0))]);
}

#[test]
fn pauses_grow_and_attempts_end() {
    let (mut s, mut now) = scheduler();
    s.request("a", vec![wish(0)], now).unwrap();
    prepare(&mut s, now);
    let mut pauses = Vec::new();
    loop {
        s.failed(&key(0), failure(Retry::Pause), now);
        let Some(at) = s.next_wake(now) else { break };
        assert_eq!(state(&s, "a", now), JobState::Waiting);
        assert_eq!(drain(&mut s, now), []);
        pauses.push((at - now).as_secs());
        now = at;
        assert_eq!(drain(&mut s, now), [Action::Fetch(key(0))]);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16]);
    let status = s.status("a", now).unwrap();
    assert_eq!((status.state, status.problem.as_deref()), (JobState::Failed, Some("broke off")));
}

#[test]
fn progress_earns_new_attempts_and_a_trickle_does_not() {
    let (mut s, mut now) = scheduler();
    s.request("a", vec![wish(0)], now).unwrap();
    prepare(&mut s, now);
    let mut have = 0;
    let mut again = |s: &mut Scheduler, grow: u64| {
        have += grow;
        s.progressed(&key(0), have, now);
        s.failed(&key(0), failure(Retry::Pause), now);
        now = s.next_wake(now)?;
        drain(s, now).pop()
    };
    for _ in 0..40 {
        assert!(again(&mut s, PROGRESS_BYTES).is_some());
    }
    let trickling = std::iter::from_fn(|| again(&mut s, 1)).count();
    assert_eq!(trickling, 4);
}

#[test]
fn a_server_that_says_when_is_believed_and_a_wrong_checksum_has_one_more_chance() {
    let (mut s, now) = scheduler();
    s.request("a", vec![wish(0)], now).unwrap();
    prepare(&mut s, now);
    s.failed(&key(0), failure(Retry::After(Duration::from_secs(90))), now);
    let later = now + Duration::from_secs(90);
    assert_eq!(s.next_wake(now), Some(later));
    drain(&mut s, later);
    s.failed(&key(0), failure(Retry::Once), later);
    let again = s.next_wake(later).unwrap();
    drain(&mut s, again);
    s.failed(&key(0), failure(Retry::Once), again);
    assert_eq!(state(&s, "a", again), JobState::Failed);
}

#[test]
fn a_missing_companion_is_no_failure_and_a_missing_file_is() {
    let (mut s, now) = scheduler();
    let missing = || Failure { code: "not_found", message: "no such file".into(), retry: Retry::Never };
    s.request("a", vec![Wish { optional: true, ..wish(0) }, wish(1)], now).unwrap();
    drain(&mut s, now);
    s.failed(&key(0), missing(), now);
    s.probed(&key(1), Some(5), 0);
    assert_eq!(fetches(&prepare(&mut s, now)), [key(1)]);
    s.failed(&key(1), missing(), now);
    assert_eq!(state(&s, "a", now), JobState::Failed);
}

#[test]
fn without_room_nothing_is_fetched() {
    let (mut s, now) = scheduler();
    s.request("a", vec![wish(0)], now).unwrap();
    drain(&mut s, now);
    s.probed(&key(0), Some(5), 0);
    assert!(matches!(drain(&mut s, now)[..], [Action::CheckRoom { .. }]));
    s.has_room("a", Err(Failure { code: "disk_full", message: "no room".into(), retry: Retry::Never }));
    assert_eq!(drain(&mut s, now), []);
    assert_eq!(s.status("a", now).unwrap().code, Some("disk_full"));
}

#[test]
fn a_job_that_wants_nothing_is_done() {
    let (mut s, now) = scheduler();
    s.request("a", vec![], now).unwrap();
    assert_eq!(state(&s, "a", now), JobState::Done);
}

#[test]
fn speed_is_measured_over_the_last_seconds_and_not_over_what_was_there() {
    let (mut s, mut now) = scheduler();
    s.request("a", vec![Wish { have: 1_000_000, ..wish(0) }], now).unwrap();
    drain(&mut s, now);
    s.probed(&key(0), Some(9_000_000), 1_000_000);
    prepare(&mut s, now);
    let mut have = 1_000_000;
    for _ in 0..400 {
        now += Duration::from_millis(100);
        have += 10_000;
        s.progressed(&key(0), have, now);
    }
    let rate = s.status("a", now).unwrap().bytes_per_second.unwrap();
    assert!((rate - 100_000.0).abs() < 1000.0, "{rate}");
}

#[derive(Clone, Debug)]
enum Step {
    Request(usize, Vec<usize>),
    Cancel(usize),
    Advance(u64),
    /// What becomes of one of the things that are going on.
    Outcome(usize, Outcome),
    Room(bool),
}

#[derive(Clone, Debug)]
enum Outcome {
    Succeed,
    Progress(u64),
    Fail(Retry),
    NotFound,
}

fn step() -> impl Strategy<Value = Step> {
    let retry = prop_oneof![
        Just(Retry::Never),
        Just(Retry::Once),
        Just(Retry::Pause),
        (0u64..100).prop_map(|seconds| Retry::After(Duration::from_secs(seconds))),
    ];
    let outcome = prop_oneof![
        4 => Just(Outcome::Succeed),
        2 => (0u64..100).prop_map(Outcome::Progress),
        3 => retry.prop_map(Outcome::Fail),
        1 => Just(Outcome::NotFound),
    ];
    prop_oneof![
        3 => (0usize..4, proptest::collection::vec(0usize..6, 0..5)).prop_map(|(job, files)| Step::Request(job, files)),
        1 => (0usize..4).prop_map(Step::Cancel),
        2 => (0u64..20_000).prop_map(Step::Advance),
        6 => (0usize..8, outcome).prop_map(|(which, outcome)| Step::Outcome(which, outcome)),
        2 => proptest::bool::weighted(0.8).prop_map(Step::Room),
    ]
}

/// Everything outside the scheduler, which also watches that it keeps its promises.
struct World {
    scheduler: Scheduler,
    now: Instant,
    going_on: BTreeMap<StorePath, bool>,
    /// Files that were asked about, and not fetched since.
    fetching: BTreeSet<StorePath>,
    rooms: Vec<String>,
}

impl World {
    fn drain(&mut self) {
        while let Some(action) = self.scheduler.poll(self.now) {
            match action {
                Action::Probe(key) => {
                    assert!(self.going_on.insert(key, false).is_none(), "two things go on for one file");
                }
                Action::Fetch(key) => {
                    assert!(
                        self.going_on.insert(key.clone(), false).is_none(),
                        "two things go on for one file"
                    );
                    self.fetching.insert(key);
                }
                Action::Stop(key) => {
                    let stopped = self.going_on.get_mut(&key).expect("only what goes on can be stopped");
                    assert!(!std::mem::replace(stopped, true), "stopped twice");
                }
                Action::CheckRoom { job, bytes } => {
                    assert!(bytes >= self.scheduler.limits.spare_bytes);
                    self.rooms.push(job);
                }
            }
            let limits = self.scheduler.limits;
            assert!(
                self.fetching.len() <= limits.fetches
                    && self.going_on.len() <= limits.fetches + limits.probes
            );
        }
    }

    fn end(&mut self, key: &StorePath, outcome: &Outcome) {
        let stopped = self.going_on[key];
        match outcome {
            Outcome::Progress(have) => {
                self.scheduler.progressed(key, *have, self.now);
                return;
            }
            Outcome::Succeed if self.fetching.contains(key) => self.scheduler.finished(key, 100, self.now),
            Outcome::Succeed if !stopped => self.scheduler.probed(key, Some(100), 0),
            Outcome::NotFound => {
                let gone = Failure { code: "not_found", message: String::new(), retry: Retry::Never };
                self.scheduler.failed(key, gone, self.now);
            }
            Outcome::Fail(retry) => self.scheduler.failed(key, failure(*retry), self.now),
            Outcome::Succeed => self.scheduler.failed(key, failure(Retry::Never), self.now),
        }
        self.going_on.remove(key);
        self.fetching.remove(key);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Request(job, files) => {
                let files: BTreeSet<_> = files.iter().copied().collect();
                let wishes = files.into_iter().map(|n| Wish { optional: n == 5, ..wish(n) }).collect();
                let running = self.scheduler.is_running(&job.to_string());
                let asked = self.scheduler.request(&job.to_string(), wishes, self.now);
                assert_eq!(asked.is_err(), running);
            }
            Step::Cancel(job) => {
                let running = self.scheduler.is_running(&job.to_string());
                assert_eq!(self.scheduler.cancel(&job.to_string()), running);
            }
            Step::Advance(ms) => self.now += Duration::from_millis(*ms),
            Step::Outcome(which, outcome) => {
                if let Some(key) = self.going_on.keys().nth(*which).cloned() {
                    self.end(&key, outcome);
                }
            }
            Step::Room(is_there) => {
                if let Some(job) = self.rooms.pop() {
                    self.scheduler
                        .has_room(&job, if *is_there { Ok(()) } else { Err(failure(Retry::Never)) });
                }
            }
        }
        self.drain();
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_job_ends_and_no_file_is_written_twice_at_a_time(
        steps in proptest::collection::vec(step(), 0..80)
    ) {
        let (scheduler, now) = scheduler();
        let mut world = World {
            scheduler,
            now,
            going_on: BTreeMap::new(),
            fetching: BTreeSet::new(),
            rooms: Vec::new(),
        };
        for step in &steps {
            world.take(step);
        }
        // From now on everything works.
        for _ in 0..200 {
            world.take(&Step::Room(true));
            world.take(&Step::Outcome(0, Outcome::Succeed));
            if let Some(at) = world.scheduler.next_wake(world.now) {
                assert!(at > world.now, "a wake-up in the past would never end");
                world.now = at;
                world.drain();
            }
        }
        prop_assert!(world.going_on.is_empty() && world.rooms.is_empty());
        prop_assert!(world.scheduler.tasks.is_empty(), "{:?}", world.scheduler.tasks);
        for id in world.scheduler.jobs().map(str::to_owned).collect::<Vec<_>>() {
            prop_assert!(!world.scheduler.is_running(&id), "{id}");
            let status = world.scheduler.status(&id, world.now).unwrap();
            prop_assert!(matches!(status.state, JobState::Done | JobState::Failed | JobState::Cancelled));
            prop_assert!(status.state != JobState::Done || status.have <= status.total);
        }
    }
}
