//! Pipelines on a GPU: memory that comes back, and memory that ends.
//!
//! Where there is no GPU this says so and passes; with `SCOPE_REQUIRE_GPU` set it fails instead.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{Models, Session, map};
use scope_engine::cuda::{Arithmetic, CudaOptions};
use scope_engine::{Cuda, Device, Error, Tensor};
use scope_pipelines::{
    Accelerator, Compute, Gpu, LoadError, LoadParams, LoadedPipeline, Registry, memory_use,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard};

/// One test has the card at a time.
static CARD: Mutex<()> = Mutex::new(());

/// The right to use the card, if there is one.
fn card() -> Option<MutexGuard<'static, ()>> {
    let guard = CARD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match Cuda::new(&CudaOptions::default()) {
        Ok(_) => Some(guard),
        Err(error) if std::env::var_os("SCOPE_REQUIRE_GPU").is_none() => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn load(models: &Models, family: &str) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
    let params = json!({"height": 128, "width": 128, "vace_enabled": false});
    let compute = Compute { accelerator: Accelerator::Needed(Gpu::default()), ..Compute::default() };
    let registry = Registry::with_models(&models.models(), &compute);
    registry.get(family).unwrap().load(&LoadParams::new(map(params)), &|_| {})
}

fn parameters() -> Value {
    json!({"prompts": ["a"], "denoising_step_list": [900]})
}

#[test]
fn fifty_models_come_and_go_and_leave_nothing() {
    let Some(_card) = card() else { return };
    let models = Models::write();
    let free = || Cuda::free_memory(&CudaOptions::default()).expect("the card answers");
    let mut first = None;
    for round in 0..50 {
        let family = ["longlive", "streamdiffusionv2", "reward-forcing"][round % 3];
        let loaded = load(&models, family).unwrap();
        let made = Session::new(&loaded, parameters()).text();
        assert!(!made.is_empty());
        drop(loaded);
        assert_eq!(memory_use().bytes, 0, "round {round}: {family} left memory");
        // What contexts, libraries and compiled kernels take is there after each family was seen once.
        if round == 3 {
            first = Some(free());
        }
    }
    let (first, last) = (first.unwrap(), free());
    assert!(last + (32 << 20) >= first, "{first} bytes were free after the first rounds, {last} at the end");
}

#[test]
fn running_out_of_memory_is_an_error_and_what_comes_after_works() {
    let Some(_card) = card() else { return };
    let models = Models::write();
    let loaded = load(&models, "longlive").unwrap();
    let expected = Session::new(&loaded, parameters()).text();

    let hog = Cuda::new(&CudaOptions { arithmetic: Arithmetic::F32, ..CudaOptions::default() }).unwrap();
    let hog = Device::from(hog);
    let mut taken = Vec::new();
    let mut size: usize = 8 << 30;
    while size >= 1 << 20 {
        match Tensor::zeros(&hog, &[size / 4]) {
            Ok(tensor) => taken.push(tensor),
            Err(Error::OutOfMemory { .. }) => size /= 2,
            Err(error) => panic!("{error}"),
        }
    }
    let failed = load(&models, "streamdiffusionv2").map(|_| ()).unwrap_err();
    assert!(matches!(failed, LoadError::OutOfMemory { .. }), "{failed}");
    drop(taken);

    assert_eq!(Session::new(&loaded, parameters()).text(), expected, "the model is as it was");
    let again = load(&models, "streamdiffusionv2").unwrap();
    assert!(!Session::new(&again, parameters()).text().is_empty());
}
