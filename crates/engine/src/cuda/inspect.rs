//! What the driver knows, asked without taking a GPU into use: no context, no memory.

use super::{Properties, describe, libraries::Libraries, libraries::Library};
use crate::{Error, Result};
use cudarc::driver::{DriverError, result, sys};

/// The driver and the cards that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The newest CUDA whose libraries the driver serves: `[13, 0]`.
    pub cuda: [u32; 2],
    /// The cards, in the order of [`CudaOptions::ordinal`](super::CudaOptions).
    pub cards: Vec<Properties>,
}

/// Asks the driver. It may take seconds, and for ever where a card is sick.
///
/// # Errors
/// [`Error::NoGpu`] when there is no driver, or it refuses. A driver without cards is no error.
pub fn inspect(libraries: &Libraries) -> Result<Inspection> {
    libraries.load_only(&[Library::Driver]).map_err(|error| Error::NoGpu(error.to_string()))?;
    let refused = |error| Error::NoGpu(describe(error));
    let mut version = 0;
    // SAFETY: the driver is loaded, and writes one number to where it is told.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(refused)?;
    // 13 020 is 13.2.
    let cuda = [version / 1000, version % 1000 / 10].map(i32::unsigned_abs);
    match result::init() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => {
            return Ok(Inspection { cuda, cards: Vec::new() });
        }
        other => other.map_err(refused)?,
    }
    let count = result::device::get_count().map_err(refused)?;
    let cards = (0..count).map(card).collect::<Result<_, DriverError>>().map_err(refused)?;
    Ok(Inspection { cuda, cards })
}

fn card(ordinal: i32) -> Result<Properties, DriverError> {
    use sys::CUdevice_attribute as Attribute;
    let device = result::device::get(ordinal)?;
    let number = |attribute| {
        // SAFETY: the device is one that the driver has named.
        unsafe { result::device::get_attribute(device, attribute) }.map(i32::unsigned_abs)
    };
    Ok(Properties {
        name: result::device::get_name(device)?,
        capability: [
            number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ],
        multiprocessors: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        // SAFETY: as above.
        memory: unsafe { result::device::total_mem(device) }? as u64,
    })
}
