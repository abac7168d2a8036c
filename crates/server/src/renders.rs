//! Shows that are rendered again, one at a time.

use crate::Service;
use crate::assets::AssetEntry;
use crate::http::{ApiError, ApiResult};
use crate::kept;
use crate::service::blocking;
use axum::http::StatusCode;
use parking_lot::Mutex;
use scope_pipelines::AssetLoader;
use scope_stream::render::{Render, RenderError, RenderSpec, RenderState, RenderStatus};
use scope_stream::score::Score;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Renders that are remembered after their end.
const MAX_ENDED: usize = 16;
/// How often watching pages are told how far one is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What is to be rendered.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RenderBody {
    /// The show, as `GET /api/v1/sessions/{id}/score` gives it.
    #[schema(value_type = Object)]
    score: Value,
    /// The input of a show that was made over a video.
    input: Option<String>,
    /// How many frames; those of the score unless given.
    total_frames: Option<u64>,
}

/// A render, as clients read it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RenderDocument {
    id: String,
    pipeline_id: String,
    /// `rendering`, `done`, `failed` or `cancelled`.
    state: &'static str,
    frames: u64,
    total_frames: u64,
    /// Whether these are the very same frames as those of the show.
    exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
    /// The film, once it is there.
    asset: Option<AssetEntry>,
    error: Option<RenderProblem>,
}

/// Why there is no film.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RenderProblem {
    code: &'static str,
    message: String,
}

/// All renders, oldest first.
#[derive(Default)]
pub(crate) struct Renders(Mutex<VecDeque<Render>>);

fn is_running(render: &Render) -> bool {
    render.status().state == RenderState::Rendering
}

impl Renders {
    /// Adds what `start` makes, unless one is going on.
    fn begin(&self, start: impl FnOnce() -> Result<Render, RenderError>) -> ApiResult<RenderStatus> {
        let mut all = self.0.lock();
        if all.iter().any(is_running) {
            let detail = "another show is being rendered; wait for it, or cancel it";
            return Err(ApiError::conflict(detail).with_code("render_running"));
        }
        let render = start()?;
        let status = render.status();
        all.push_back(render);
        while all.len() > MAX_ENDED {
            all.pop_front();
        }
        Ok(status)
    }

    fn statuses(&self) -> Vec<RenderStatus> {
        self.0.lock().iter().rev().map(Render::status).collect()
    }

    /// Cancels one that goes on, or forgets one that has ended; whether there is one.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let mut all = self.0.lock();
        let Some(index) = all.iter().position(|render| render.status().id == id) else { return false };
        match is_running(&all[index]) {
            true => all[index].cancel(),
            false => drop(all.remove(index)),
        }
        true
    }
}

impl From<RenderError> for ApiError {
    fn from(error: RenderError) -> Self {
        let detail = error.to_string();
        match error {
            RenderError::Score(_) | RenderError::Incomplete(_) | RenderError::TooLong => {
                Self::bad_request(detail).with_code("invalid_score")
            }
            RenderError::NotLoaded(_) => Self::conflict(detail).with_code("pipeline_unloaded"),
            RenderError::NoInput | RenderError::Input(_) => {
                Self::bad_request(detail).with_code("invalid_input")
            }
            RenderError::Generator(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, detail).with_code("out_of_memory")
            }
            _ => Self::internal("the film cannot be written; the log has the details", &detail),
        }
    }
}

impl Service {
    fn render_document(&self, status: RenderStatus) -> RenderDocument {
        let RenderStatus { id, pipeline_id, frames, total_frames, why_not, state } = status;
        let (name, asset, error) = match state {
            RenderState::Rendering => ("rendering", None, None),
            RenderState::Done(path) => ("done", self.assets.entry(&path), None),
            RenderState::Failed { code, message } => ("failed", None, Some(RenderProblem { code, message })),
            RenderState::Cancelled => ("cancelled", None, None),
        };
        let exact = why_not.is_none();
        RenderDocument { id, pipeline_id, state: name, frames, total_frames, exact, why_not, asset, error }
    }

    /// All renders, newest first.
    pub(crate) async fn list_renders(self: &Arc<Self>) -> ApiResult<Vec<RenderDocument>> {
        let service = Arc::clone(self);
        let documents =
            move || service.renders.statuses().into_iter().map(|it| service.render_document(it)).collect();
        blocking(documents).await
    }

    /// Begins to render, and tells watching pages how far it is.
    ///
    /// # Errors
    /// 400 when the score or the input is wrong, 409 when its pipeline is not loaded or another render goes on.
    pub(crate) async fn render(self: &Arc<Self>, body: RenderBody) -> ApiResult<RenderDocument> {
        let RenderBody { score, input, total_frames: frames } = body;
        let score = Score::from_value(score).map_err(|error| crate::sessions::bad_score(&error))?;
        let service = Arc::clone(self);
        let begun = blocking(move || {
            let resolve = |path: String| service.files.resolve(&path).map_err(ApiError::not_found);
            let spec = RenderSpec {
                id: uuid::Uuid::new_v4().simple().to_string(),
                score,
                frames,
                clip: input.map(resolve).transpose()?,
                keep: kept::keep(&service.assets, "render"),
                assets: Arc::clone(&service.files) as Arc<dyn AssetLoader + Send + Sync>,
            };
            let status = service.renders.begin(|| Render::start(spec, &service.models))?;
            Ok::<_, ApiError>(service.render_document(status))
        });
        let document = begun.await??;
        tokio::spawn(tell(Arc::clone(self), document.id.clone()));
        Ok(document)
    }
}

/// Tells watching pages about a render until it ends.
async fn tell(service: Arc<Service>, id: String) {
    let finding = Arc::clone(&service);
    let find = move || finding.renders.0.lock().iter().find(|it| it.status().id == id).map(Render::watch);
    let Ok(Some(mut watched)) = blocking(find).await else { return };
    loop {
        let status = watched.borrow_and_update().clone();
        let ended = status.state != RenderState::Rendering;
        let telling = Arc::clone(&service);
        if let Ok(document) = blocking(move || telling.render_document(status)).await {
            service.events.send("renders", serde_json::json!(document));
        }
        if ended || watched.changed().await.is_err() {
            return;
        }
        // Its end is told at once.
        let over = watched.wait_for(|status| status.state != RenderState::Rendering);
        tokio::time::timeout(TELL_EVERY, over).await.ok();
    }
}
