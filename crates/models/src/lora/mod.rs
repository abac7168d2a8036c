//! LoRA adapters (Hu et al. 2021): reading their files, and applying them. *Merged*, they change the weights while a
//! network is loaded and cost nothing afterwards; *attached*, they run beside the weights and their strength can change
//! from call to call.

mod apply;
pub mod keys;

pub use apply::{Merged, attach};
