//! What every handler shares: errors as clients read them, and extractors that produce them.

mod error;
mod extract;

pub use error::{ApiError, ApiResult};
pub use extract::{ApiJson, ApiPath, ApiQuery, OptionalJson};
pub(crate) use extract::{too_large, too_slow};
