//! When which file is asked about, fetched, tried again or given up: a state machine without a clock, a socket or a disk.
//!
//! A job is a set of files that somebody wants. Files that several jobs want are fetched once. A job first learns how large its
//! files are, then whether the disk has room for them, and only then fetches. [`Scheduler::poll`] says what to do next; every
//! deed is answered by exactly one of [`Scheduler::probed`], [`Scheduler::finished`] and [`Scheduler::failed`].

use crate::fetch::Retry;
use crate::path::StorePath;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Jobs that are remembered, ended ones included.
const MAX_JOBS: usize = 64;
/// Growth that proves that a server is worth another row of attempts.
const PROGRESS_BYTES: u64 = 1 << 20;
/// How far the measured speed looks back, and how many measurements that are.
const RATE_WINDOW: Duration = Duration::from_secs(15);
const RATE_SAMPLES: usize = 32;

/// How much happens at a time, and how often it is tried.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files that are asked about at a time.
    pub probes: usize,
    /// Files that are fetched at a time.
    pub fetches: usize,
    /// Attempts in a row without progress.
    pub attempts: u32,
    /// The pause after the first failure; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause that we take by ourselves.
    pub max_pause: Duration,
    /// Bytes that must stay free on the disk.
    pub spare_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            probes: 4,
            fetches: 3,
            attempts: 6,
            first_pause: Duration::from_secs(1),
            max_pause: Duration::from_secs(60),
            spare_bytes: 1 << 30,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask a server about a file.
    Probe(StorePath),
    /// Fetch a file.
    Fetch(StorePath),
    /// Break off what goes on for a file; it will end with [`Scheduler::failed`], or with success if that is faster.
    Stop(StorePath),
    /// Find out whether the disk has room for this many bytes, and answer with [`Scheduler::has_room`].
    CheckRoom { job: String, bytes: u64 },
}

/// Why something did not work, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry: Retry,
}

/// A file that a job wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) key: StorePath,
    /// Bytes that are there, and that there will be, as far as is known.
    pub(crate) have: u64,
    pub(crate) size: Option<u64>,
    /// Whether the job can do without it: when its server has no such file, that is no failure.
    pub(crate) optional: bool,
}

/// The job runs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the download is running already")]
pub(crate) struct AlreadyRunning;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its size is to be asked.
    Unknown,
    Probing,
    /// It waits for a job that may fetch.
    Known,
    Fetching,
    /// Nobody wants what is going on.
    Stopping,
    /// Somebody wants it again, but it is still being stopped.
    StoppingWanted,
}

#[derive(Clone, Debug)]
struct Task {
    phase: Phase,
    have: u64,
    size: Option<u64>,
    optional: bool,
    /// Not before.
    resume_at: Option<Instant>,
    attempts: u32,
    /// Whether the one chance of [`Retry::Once`] is used up.
    second_chance: bool,
    /// Bytes there were when the attempts were last counted from the beginning.
    progress_from: u64,
    problem: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum JobPhase {
    Sizing,
    /// The disk is being looked at.
    Checking,
    Fetching,
    Done,
    Failed(Failure),
    Cancelled,
}

#[derive(Clone, Debug)]
struct Job {
    run: u64,
    phase: JobPhase,
    /// What it wants.
    files: Vec<StorePath>,
    /// Sizes of files that are through.
    ended: BTreeMap<StorePath, u64>,
    samples: VecDeque<(Instant, u64)>,
}

impl Job {
    const fn is_running(&self) -> bool {
        matches!(self.phase, JobPhase::Sizing | JobPhase::Checking | JobPhase::Fetching)
    }
}

/// How a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobState {
    /// It asks how large its files are, and whether there is room.
    Preparing,
    /// It fetches.
    Downloading,
    /// It waits before it tries again.
    Waiting,
    /// Everything is there.
    Done,
    /// It gave up.
    Failed,
    /// The user gave up.
    Cancelled,
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JobStatus {
    pub(crate) state: JobState,
    pub(crate) have: u64,
    pub(crate) total: u64,
    /// Whether every size is known.
    pub(crate) total_is_exact: bool,
    pub(crate) bytes_per_second: Option<f64>,
    /// Files that are being fetched now.
    pub(crate) current: Vec<StorePath>,
    /// What went wrong, or what is the reason to wait.
    pub(crate) problem: Option<String>,
    pub(crate) code: Option<&'static str>,
}

/// The state machine.
pub(crate) struct Scheduler {
    limits: Limits,
    tasks: BTreeMap<StorePath, Task>,
    jobs: BTreeMap<String, Job>,
    /// Jobs in the order in which they were asked for.
    order: Vec<String>,
    /// Jobs so far.
    runs: u64,
    actions: VecDeque<Action>,
}

impl Scheduler {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            tasks: BTreeMap::new(),
            jobs: BTreeMap::new(),
            order: Vec::new(),
            runs: 0,
            actions: VecDeque::new(),
        }
    }

    /// Bytes that stay free on the disk.
    pub(crate) const fn spare_bytes(&self) -> u64 {
        self.limits.spare_bytes
    }

    /// Somebody wants these files.
    pub(crate) fn request(
        &mut self,
        id: &str,
        wishes: Vec<Wish>,
        now: Instant,
    ) -> Result<(), AlreadyRunning> {
        if self.is_running(id) {
            return Err(AlreadyRunning);
        }
        self.forget(id);
        let began_with = wishes.iter().map(|wish| wish.have).sum();
        let files = wishes.iter().map(|wish| wish.key.clone()).collect();
        for wish in wishes {
            match self.tasks.get_mut(&wish.key) {
                Some(task) => {
                    task.optional &= wish.optional;
                    if task.phase == Phase::Stopping {
                        task.phase = Phase::StoppingWanted;
                    }
                }
                None => drop(self.tasks.insert(wish.key, Task::new(wish.have, wish.size, wish.optional))),
            }
        }
        self.runs += 1;
        let job = Job {
            run: self.runs,
            phase: JobPhase::Sizing,
            files,
            ended: BTreeMap::new(),
            // What is there already is no credit to the line.
            samples: VecDeque::from([(now, began_with)]),
        };
        self.jobs.insert(id.to_owned(), job);
        self.order.push(id.to_owned());
        self.settle();
        Ok(())
    }

    /// Which of all jobs so far one is: another number means another download of the same pipeline.
    pub(crate) fn run(&self, id: &str) -> Option<u64> {
        self.jobs.get(id).map(|job| job.run)
    }

    /// Ends a job; whether it was running. What it has stays on disk.
    pub(crate) fn cancel(&mut self, id: &str) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.is_running()) else { return false };
        job.phase = JobPhase::Cancelled;
        self.release();
        true
    }

    /// A server said how large a file is, and this much of it is on disk.
    pub(crate) fn probed(&mut self, key: &StorePath, size: Option<u64>, have: u64) {
        if !self.ends(key, Phase::Probing) {
            return;
        }
        if let Some(task) = self.tasks.get_mut(key) {
            task.phase = Phase::Known;
            task.size = size.or(task.size);
            task.have = have;
            task.progress_from = have;
            task.attempts = 0;
            task.problem = None;
        }
        self.settle();
    }

    /// This much of a file is on disk.
    pub(crate) fn progressed(&mut self, key: &StorePath, have: u64, now: Instant) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.have = have;
        task.problem = None;
        if have < task.progress_from {
            task.progress_from = have;
        } else if have - task.progress_from >= PROGRESS_BYTES {
            task.progress_from = have;
            task.attempts = 0;
        }
        self.sample(key, now);
    }

    /// A file is in its place.
    pub(crate) fn finished(&mut self, key: &StorePath, size: u64, now: Instant) {
        if let Some(task) = self.tasks.get_mut(key) {
            task.have = size;
        }
        self.sample(key, now);
        self.tasks.remove(key);
        self.end_for_all(key, size);
        self.settle();
    }

    /// What was going on for a file did not work, or was stopped.
    pub(crate) fn failed(&mut self, key: &StorePath, failure: Failure, now: Instant) {
        if !self.ends(key, Phase::Fetching) {
            return;
        }
        let limits = self.limits;
        let Some(task) = self.tasks.get_mut(key) else { return };
        if task.optional && failure.code == "not_found" {
            self.tasks.remove(key);
            self.end_for_all(key, 0);
            self.settle();
            return;
        }
        task.attempts += 1;
        let own_pause =
            limits.first_pause.saturating_mul(1 << (task.attempts - 1).min(16)).min(limits.max_pause);
        let pause = match failure.retry {
            Retry::Never => None,
            Retry::Once if task.second_chance => None,
            Retry::Once => {
                task.second_chance = true;
                Some(own_pause)
            }
            Retry::Pause => Some(own_pause),
            Retry::After(asked) => Some(own_pause.max(asked)),
        };
        match pause.filter(|_| task.attempts < limits.attempts) {
            Some(pause) => {
                task.resume_at = Some(now + pause);
                task.problem = Some(failure.message);
                // A file of known size is fetched again, any other one asked about.
                task.phase = if task.phase == Phase::Probing { Phase::Unknown } else { Phase::Known };
            }
            None => self.give_up(key, &failure),
        }
        self.settle();
    }

    /// Whether the disk has room for a job.
    pub(crate) fn has_room(&mut self, id: &str, room: Result<(), Failure>) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.phase == JobPhase::Checking) else { return };
        match room {
            Ok(()) => {
                job.phase = JobPhase::Fetching;
                // Another job may have fetched everything meanwhile.
                self.settle();
            }
            Err(failure) => {
                job.phase = JobPhase::Failed(failure);
                self.release();
            }
        }
    }

    /// What to do now, one thing at a time until `None`.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let running = |phase: Phase| self.tasks.values().filter(|task| task.phase == phase).count();
        // What is being stopped still has its connection.
        let stopping = running(Phase::Stopping) + running(Phase::StoppingWanted);
        if running(Phase::Probing) + stopping < self.limits.probes
            && let Some(key) = self.next_task(Phase::Unknown, now)
        {
            return self.start(key, Phase::Probing, Action::Probe);
        }
        if running(Phase::Fetching) + stopping < self.limits.fetches
            && let Some(key) = self.next_task(Phase::Known, now)
        {
            return self.start(key, Phase::Fetching, Action::Fetch);
        }
        None
    }

    /// When, after `now`, [`Self::poll`] may have something to do although nothing happens.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let waiting = |task: &&Task| matches!(task.phase, Phase::Unknown | Phase::Known);
        let pauses = self.tasks.values().filter(waiting).filter_map(|task| task.resume_at);
        pauses.filter(|at| *at > now).min()
    }

    /// Whether a job is running.
    pub(crate) fn is_running(&self, id: &str) -> bool {
        self.jobs.get(id).is_some_and(Job::is_running)
    }

    /// Whether any running job wants the file, or somebody still writes to it.
    pub(crate) fn is_busy(&self, key: &StorePath) -> bool {
        self.tasks.contains_key(key)
    }

    /// Where a job is; `None` when nobody asked for it.
    pub(crate) fn status(&self, id: &str, now: Instant) -> Option<JobStatus> {
        let job = self.jobs.get(id)?;
        let tasks = || job.files.iter().filter_map(|key| Some((key, self.tasks.get(key)?)));
        let ended: u64 = job.ended.values().sum();
        let is_current = |task: &Task| task.phase == Phase::Fetching;
        let state = match job.phase {
            JobPhase::Done => JobState::Done,
            JobPhase::Failed(_) => JobState::Failed,
            JobPhase::Cancelled => JobState::Cancelled,
            _ if tasks().any(|(_, task)| matches!(task.phase, Phase::Fetching | Phase::Probing)) => {
                if job.phase == JobPhase::Fetching { JobState::Downloading } else { JobState::Preparing }
            }
            _ if tasks().any(|(_, task)| task.resume_at.is_some_and(|at| at > now)) => JobState::Waiting,
            JobPhase::Fetching => JobState::Downloading,
            _ => JobState::Preparing,
        };
        let (problem, code) = match &job.phase {
            JobPhase::Failed(failure) => (Some(failure.message.clone()), Some(failure.code)),
            _ => (tasks().find_map(|(_, task)| task.problem.clone()), None),
        };
        let rate = if job.is_running() { rate(&job.samples, now) } else { None };
        Some(JobStatus {
            state,
            have: ended + tasks().map(|(_, task)| task.have).sum::<u64>(),
            total: ended + tasks().map(|(_, task)| task.size.unwrap_or(0).max(task.have)).sum::<u64>(),
            total_is_exact: !matches!(job.phase, JobPhase::Sizing)
                && tasks().all(|(_, task)| task.size.is_some()),
            bytes_per_second: rate,
            current: tasks().filter(|(_, task)| is_current(task)).map(|(key, _)| key.clone()).collect(),
            problem,
            code,
        })
    }

    /// Bytes that are there of the files that a job still waits for, by place.
    pub(crate) fn bytes_of(&self, id: &str) -> BTreeMap<String, u64> {
        let files = self.jobs.get(id).filter(|job| job.is_running()).map_or(&[][..], |job| &job.files);
        files.iter().filter_map(|key| Some((key.to_string(), self.tasks.get(key)?.have))).collect()
    }

    /// Ids of all jobs that are remembered, oldest first.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// Forgets a job that has ended.
    pub(crate) fn forget(&mut self, id: &str) {
        if !self.is_running(id) {
            self.jobs.remove(id);
            self.order.retain(|known| known != id);
        }
    }

    fn start(&mut self, key: StorePath, phase: Phase, action: fn(StorePath) -> Action) -> Option<Action> {
        let task = self.tasks.get_mut(&key)?;
        task.phase = phase;
        task.resume_at = None;
        Some(action(key))
    }

    /// The next file in `phase` that may go on, by the order of jobs and of files in them.
    fn next_task(&self, phase: Phase, now: Instant) -> Option<StorePath> {
        let jobs = self.order.iter().filter_map(|id| self.jobs.get(id));
        let allowed = jobs.filter(|job| match phase {
            Phase::Unknown => job.is_running(),
            _ => job.phase == JobPhase::Fetching,
        });
        let ready = |key: &&StorePath| {
            let task = self.tasks.get(*key);
            task.is_some_and(|task| task.phase == phase && task.resume_at.is_none_or(|at| at <= now))
        };
        allowed.flat_map(|job| &job.files).find(ready).cloned()
    }

    /// Whether something that goes on for a file has ended as somebody still wants it. `expected` is one of the phases it may be in.
    fn ends(&mut self, key: &StorePath, expected: Phase) -> bool {
        let Some(task) = self.tasks.get_mut(key) else { return false };
        match task.phase {
            Phase::Stopping => {
                self.tasks.remove(key);
                self.settle();
                false
            }
            Phase::StoppingWanted => {
                // From the beginning: what is on disk is asked for together with the size.
                task.phase = Phase::Unknown;
                task.resume_at = None;
                false
            }
            Phase::Probing => true,
            phase => phase == expected,
        }
    }

    fn end_for_all(&mut self, key: &StorePath, size: u64) {
        for job in self.jobs.values_mut().filter(|job| job.is_running() && job.files.contains(key)) {
            job.ended.insert(key.clone(), size);
        }
    }

    fn give_up(&mut self, key: &StorePath, failure: &Failure) {
        self.tasks.remove(key);
        for job in self.jobs.values_mut().filter(|job| job.is_running() && job.files.contains(key)) {
            job.phase = JobPhase::Failed(failure.clone());
        }
        self.release();
    }

    /// Lets go of files that no running job wants.
    fn release(&mut self) {
        let wanted =
            |key: &StorePath| self.jobs.values().any(|job| job.is_running() && job.files.contains(key));
        let unwanted: Vec<_> = self.tasks.keys().filter(|key| !wanted(key)).cloned().collect();
        for key in unwanted {
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            match task.phase {
                Phase::Probing | Phase::Fetching => {
                    task.phase = Phase::Stopping;
                    self.actions.push_back(Action::Stop(key));
                }
                Phase::StoppingWanted => task.phase = Phase::Stopping,
                Phase::Stopping => {}
                Phase::Unknown | Phase::Known => drop(self.tasks.remove(&key)),
            }
        }
        self.trim();
    }

    /// Moves jobs on that have what they waited for.
    fn settle(&mut self) {
        for id in self.order.clone() {
            let Some(job) = self.jobs.get(&id) else { continue };
            let tasks = || job.files.iter().filter_map(|key| self.tasks.get(key));
            let next = match job.phase {
                JobPhase::Sizing | JobPhase::Fetching if tasks().next().is_none() => Some(JobPhase::Done),
                JobPhase::Sizing
                    if tasks().all(|task| matches!(task.phase, Phase::Known | Phase::Fetching)) =>
                {
                    self.actions
                        .push_back(Action::CheckRoom { job: id.clone(), bytes: self.bytes_to_come(&id) });
                    Some(JobPhase::Checking)
                }
                _ => None,
            };
            if let Some((next, job)) = next.zip(self.jobs.get_mut(&id)) {
                job.phase = next;
            }
        }
        self.trim();
    }

    /// Bytes that `id`, and all jobs that fetch already, will still write, and what must stay free besides.
    fn bytes_to_come(&self, id: &str) -> u64 {
        let counts = |key: &StorePath| {
            self.jobs.iter().any(|(other, job)| {
                (other == id || matches!(job.phase, JobPhase::Checking | JobPhase::Fetching))
                    && job.files.contains(key)
            })
        };
        let left = |task: &Task| task.size.unwrap_or(0).saturating_sub(task.have);
        let sum: u64 = self.tasks.iter().filter(|(key, _)| counts(key)).map(|(_, task)| left(task)).sum();
        sum.saturating_add(self.limits.spare_bytes)
    }

    fn sample(&mut self, key: &StorePath, now: Instant) {
        let tasks = &self.tasks;
        for job in self.jobs.values_mut().filter(|job| job.is_running() && job.files.contains(key)) {
            let have = job.ended.values().sum::<u64>()
                + job.files.iter().filter_map(|key| Some(tasks.get(key)?.have)).sum::<u64>();
            // Many small pieces make one measurement.
            let spacing = RATE_WINDOW / RATE_SAMPLES as u32;
            let ends = job.samples.iter().rev().take(2).map(|(at, _)| *at).collect::<Vec<_>>();
            if let [last, before] = ends[..]
                && last.saturating_duration_since(before) < spacing
            {
                job.samples.pop_back();
            }
            job.samples.push_back((now, have));
            while job.samples.len() > RATE_SAMPLES
                || job.samples.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) > RATE_WINDOW)
            {
                job.samples.pop_front();
            }
        }
    }

    /// Forgets the oldest jobs that have ended when there are too many.
    fn trim(&mut self) {
        while self.order.len() > MAX_JOBS {
            let Some(id) = self.order.iter().find(|id| !self.is_running(id)).cloned() else { return };
            self.forget(&id);
        }
    }
}

impl Task {
    const fn new(have: u64, size: Option<u64>, optional: bool) -> Self {
        Self {
            phase: Phase::Unknown,
            have,
            size,
            optional,
            resume_at: None,
            attempts: 0,
            second_chance: false,
            progress_from: have,
            problem: None,
        }
    }
}

fn rate(samples: &VecDeque<(Instant, u64)>, now: Instant) -> Option<f64> {
    let ((first, from), (_, to)) = (samples.front()?, samples.back()?);
    let seconds = now.saturating_duration_since(*first).as_secs_f64();
    // What was thrown away to begin anew is no negative speed.
    (seconds > 0.5 && to > from).then(|| (to - from) as f64 / seconds)
}

#[cfg(test)]
mod tests;
