//! Where a pipeline's files and its download are, as documents.

use super::{Store, StoreError, blocking};
use crate::folder::{FileReport, FileState};
use crate::manifest::{Role, Settings, When};
use crate::schedule::{JobState, JobStatus};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Whether a pipeline's files are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineState {
    /// None of them.
    Missing,
    /// Some of them, or a part.
    Partial,
    /// At least one cannot be used.
    Damaged,
    /// All of them.
    Complete,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileStatus {
    /// Its place in the models folder.
    pub path: String,
    /// Its repository.
    pub repository: String,
    /// What it is to the pipeline.
    pub role: Role,
    /// Whether it is there; a file on its way is `partial`.
    pub state: PipelineState,
    /// Whether its checksum was found right and it has not changed since.
    pub verified: bool,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes that there are or will be.
    pub size: Option<u64>,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// The settings that have a use for it.
    pub when: When,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepositoryStatus {
    /// `owner/name`.
    pub id: String,
    /// SPDX identifier; `None` when it has to be read on the page.
    pub licence: Option<String>,
    /// The page that describes it.
    pub page: String,
}

/// A download that is going on or has failed. The first four fields are those that existing clients read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DownloadProgress {
    /// Whether it is going on.
    pub is_downloading: bool,
    /// Of all bytes that the download is about.
    pub percentage: f64,
    /// The file that is being fetched.
    pub current_artifact: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// A word for that.
    pub error_code: Option<&'static str>,
    /// Where it is.
    pub state: JobState,
    /// Bytes that are there, of those that the download is about.
    pub downloaded_bytes: u64,
    /// Bytes that the download is about.
    pub total_bytes: u64,
    /// Over the last seconds.
    pub bytes_per_second: Option<f64>,
    /// At this speed.
    pub eta_seconds: Option<f64>,
    /// What keeps it waiting.
    pub waiting_for: Option<String>,
}

/// Where a pipeline's files are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineStatus {
    /// The pipeline's id.
    pub pipeline_id: String,
    /// Its name.
    pub name: String,
    /// Whether everything that it needs is there and nothing is being fetched.
    pub downloaded: bool,
    /// Whether the files are there.
    pub state: PipelineState,
    /// Bytes of the files that are there.
    pub bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Bytes still to be downloaded.
    pub missing_bytes: u64,
    /// Whether the sizes are exact; else roughly.
    pub sizes_are_exact: bool,
    /// Its download, if one is going on or has failed.
    pub progress: Option<DownloadProgress>,
    /// Its files.
    pub files: Vec<FileStatus>,
    /// Where they come from.
    pub repositories: Vec<RepositoryStatus>,
}

impl Store {
    /// Where the files of `pipeline` are: those that some settings need, or all.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] for a pipeline without files.
    pub async fn status(
        &self,
        pipeline: &str,
        settings: Option<Settings>,
    ) -> Result<PipelineStatus, StoreError> {
        let inner = Arc::clone(&self.inner);
        let id = pipeline.to_owned();
        let mut reports = blocking(move || inner.folder.inspect(&id)).await??;
        reports.retain(|report| settings.is_none_or(|settings| report.entry.belongs_to(&settings)));
        let now = Instant::now();
        let (job, current) = {
            let scheduler = self.inner.scheduler.lock();
            (scheduler.status(pipeline, now), scheduler.bytes_of(pipeline))
        };
        Ok(self.document(pipeline, &reports, job.as_ref(), &current))
    }

    /// Where all pipelines' files are.
    ///
    /// # Errors
    /// [`StoreError::Internal`].
    pub async fn statuses(&self) -> Result<Vec<PipelineStatus>, StoreError> {
        let mut all = Vec::new();
        for pipeline in self.folder().manifest().pipelines() {
            all.push(self.status(&pipeline.id, None).await?);
        }
        Ok(all)
    }

    /// Bytes that downloads may take on the disk of the models folder; `None` when the system does not say.
    pub async fn room(&self) -> Option<u64> {
        let inner = Arc::clone(&self.inner);
        let spare = self.inner.scheduler.lock().spare_bytes();
        let free = blocking(move || inner.disk.free_bytes(inner.folder.root())).await.ok()?.ok()?;
        Some(free.saturating_sub(spare))
    }

    /// The download of `pipeline`, if one is going on or has failed. Reads no disk.
    pub fn progress(&self, pipeline: &str) -> Option<DownloadProgress> {
        let job = self.inner.scheduler.lock().status(pipeline, Instant::now());
        job.and_then(|job| progress(&job))
    }

    /// Pipelines whose download is remembered, ended ones included, with its number among all downloads so far and where it is.
    pub fn downloads(&self) -> Vec<(String, u64, JobState)> {
        let scheduler = self.inner.scheduler.lock();
        let state =
            |id: &str| Some((id.to_owned(), scheduler.run(id)?, scheduler.status(id, Instant::now())?.state));
        scheduler.jobs().filter_map(state).collect()
    }

    fn document(
        &self,
        pipeline: &str,
        reports: &[FileReport],
        job: Option<&JobStatus>,
        current: &BTreeMap<String, u64>,
    ) -> PipelineStatus {
        let manifest = self.folder().manifest();
        let files: Vec<_> = reports.iter().map(|report| file(report, current)).collect();
        let needed: Vec<_> = reports.iter().filter(|report| report.entry.role != Role::Companion).collect();
        let progress = job.and_then(progress);
        let is_running = progress.as_ref().is_some_and(|progress| progress.is_downloading);
        let state = pipeline_state(&needed);
        let ids: BTreeSet<_> = reports.iter().map(|report| report.entry.repository.as_str()).collect();
        let repositories = ids.into_iter().filter_map(|id| manifest.repository(id));
        PipelineStatus {
            pipeline_id: pipeline.to_owned(),
            name: manifest.pipeline(pipeline).map_or_else(String::new, |entry| entry.name.clone()),
            downloaded: state == PipelineState::Complete && !is_running,
            state,
            bytes: files.iter().map(|file| file.bytes).sum(),
            total_bytes: files.iter().map(|file| file.size.unwrap_or(0)).sum(),
            missing_bytes: needed.iter().map(|report| report.bytes_missing()).sum(),
            sizes_are_exact: needed.iter().all(|report| report.size_is_exact),
            progress,
            files,
            repositories: repositories
                .map(|it| RepositoryStatus {
                    id: it.id.clone(),
                    licence: it.licence.clone(),
                    page: it.page(),
                })
                .collect(),
        }
    }
}

fn pipeline_state(needed: &[&FileReport]) -> PipelineState {
    let all = |test: fn(&FileState) -> bool| needed.iter().all(|report| test(&report.state));
    if !all(|state| !matches!(state, FileState::Damaged(_))) {
        PipelineState::Damaged
    } else if all(FileState::is_complete) {
        PipelineState::Complete
    } else if all(|state| *state == FileState::Missing) {
        PipelineState::Missing
    } else {
        PipelineState::Partial
    }
}

fn file(report: &FileReport, current: &BTreeMap<String, u64>) -> FileStatus {
    let path = report.entry.local.to_string();
    let (state, bytes, problem) = match &report.state {
        FileState::Missing => (PipelineState::Missing, 0, None),
        FileState::Partial { bytes } => (PipelineState::Partial, *bytes, None),
        FileState::Damaged(damage) => (PipelineState::Damaged, 0, Some(damage.to_string())),
        FileState::Complete { bytes, .. } => (PipelineState::Complete, *bytes, None),
    };
    let bytes =
        if state == PipelineState::Complete { bytes } else { current.get(&path).copied().unwrap_or(bytes) };
    FileStatus {
        repository: report.entry.repository.clone(),
        role: report.entry.role,
        state,
        verified: matches!(report.state, FileState::Complete { verified: true, .. }),
        bytes,
        size: report.size,
        problem,
        when: report.entry.when,
        path,
    }
}

fn progress(job: &JobStatus) -> Option<DownloadProgress> {
    let is_downloading = match job.state {
        JobState::Done | JobState::Cancelled => return None,
        JobState::Failed => false,
        _ => true,
    };
    let percentage = if job.total == 0 { 0.0 } else { job.have as f64 / job.total as f64 * 100.0 };
    let left = job.total.saturating_sub(job.have) as f64;
    Some(DownloadProgress {
        is_downloading,
        percentage: (percentage * 10.0).floor() / 10.0,
        current_artifact: job.current.first().map(ToString::to_string),
        error: job.problem.clone().filter(|_| !is_downloading),
        error_code: job.code,
        state: job.state,
        downloaded_bytes: job.have,
        total_bytes: job.total,
        bytes_per_second: job.bytes_per_second,
        eta_seconds: job.bytes_per_second.filter(|_| job.total_is_exact).map(|rate| left / rate),
        waiting_for: job.problem.clone().filter(|_| is_downloading),
    })
}
