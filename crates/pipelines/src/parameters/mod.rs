//! Parameters on their way from clients to a chunk: what each key means, whether a value is acceptable, and how
//! updates between two chunks coalesce.

mod keys;
mod store;
mod strict;
mod validate;

pub use keys::{KeyKind, key_kind};
pub use store::{ParameterStore, Snapshot};
pub use strict::{Place, check_load_parameters, check_parameters};
pub use validate::{ParameterError, Update, Validated, validate_update};
