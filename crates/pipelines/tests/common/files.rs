//! The writers that the checkpoints' own tests use.

use scope_models::checkpoint::{Checkpoint, FileDType};

#[path = "../../../models/src/checkpoint/test_files.rs"]
pub(crate) mod test_files;
