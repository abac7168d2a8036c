//! Optical flow as colours.

use std::f32::consts::PI;

use scope_engine::{Error, Result, Tensor};

/// Steps of the wheel from each colour to the next: red, yellow, green, cyan, blue, magenta, red.
const SECTIONS: [usize; 6] = [15, 6, 4, 11, 13, 6];
const WHEEL: usize = 55;

/// Flow `[pictures, height, width, 2]` (pixels to the right and down) as RGB bytes `[pictures, height, width, 3]`: the
/// direction as hue, the length, relative to the longest of all these pictures, as saturation. Stillness is white. The wheel is
/// that of Baker et al. 2011 ("A database and evaluation methodology for optical flow", section 4), rounded as in
/// torchvision's `flow_to_image`.
///
/// # Errors
/// [`Error::Shape`] when the flow has another shape.
pub fn flow_colors(flow: &Tensor) -> Result<Vec<u8>> {
    let shape = flow.shape();
    if shape.len() != 4 || shape[3] != 2 {
        return Err(Error::Shape {
            op: "flow colours",
            detail: format!("{shape}, not [pictures, height, width, 2]"),
        });
    }
    let (values, wheel) = (flow.to_vec(), wheel());
    let vectors = values.as_chunks::<2>().0;
    let length = |[x, y]: [f32; 2]| (x * x + y * y).sqrt();
    let longest = vectors.iter().map(|&vector| length(vector)).fold(0.0, f32::max) + f32::EPSILON;
    let colors = vectors.iter().flat_map(|vector| {
        let [x, y] = vector.map(|v| v / longest);
        color(&wheel, x, y, length([x, y]))
    });
    Ok(colors.collect())
}

fn color(wheel: &[[f32; 3]; WHEEL], x: f32, y: f32, length: f32) -> [u8; 3] {
    let turn = ((-y).atan2(-x) / PI + 1.0) / 2.0 * (WHEEL - 1) as f32;
    // The angle is at most π: the last entry is the largest. NaN counts as 0.
    let first = (turn.floor() as usize).min(WHEEL - 1);
    let second = (first + 1) % WHEEL;
    let share = turn - first as f32;
    std::array::from_fn(|channel| {
        let hue = (1.0 - share) * (wheel[first][channel] / 255.0) + share * (wheel[second][channel] / 255.0);
        (255.0 * (1.0 - length * (1.0 - hue))) as u8
    })
}

/// The fully saturated colours, 0 to 255: along each section one channel rises or falls.
fn wheel() -> [[f32; 3]; WHEEL] {
    /// Red at the start of each section, then the channel that changes and whether it rises.
    const CHANGES: [([f32; 3], usize, bool); 6] = [
        ([255.0, 0.0, 0.0], 1, true),
        ([255.0, 255.0, 0.0], 0, false),
        ([0.0, 255.0, 0.0], 2, true),
        ([0.0, 255.0, 255.0], 1, false),
        ([0.0, 0.0, 255.0], 0, true),
        ([255.0, 0.0, 255.0], 2, false),
    ];
    let mut wheel = [[0.0; 3]; WHEEL];
    let steps = SECTIONS
        .into_iter()
        .zip(CHANGES)
        .flat_map(|(steps, change)| (0..steps).map(move |step| (steps, step, change)));
    for (entry, (steps, step, (start, channel, rises))) in wheel.iter_mut().zip(steps) {
        let change = (255.0 * step as f32 / steps as f32).floor();
        *entry = start;
        entry[channel] = if rises { change } else { 255.0 - change };
    }
    wheel
}

#[cfg(test)]
mod tests {
    use scope_engine::{Cpu, Device};

    use super::*;

    #[test]
    fn directions_have_hues_and_stillness_is_white() {
        let device = Device::from(Cpu::new(None).unwrap());
        let flow = [0.0, 0.0, 3.0, 0.0, -3.0, 0.0, f32::NAN, 0.0];
        let flow = Tensor::from_f32(&device, &[2, 1, 2, 2], &flow).unwrap();
        let colors = flow_colors(&flow).unwrap();
        assert_eq!(colors[..3], [255, 255, 255]);
        assert_eq!(colors[3..6], [255, 0, 0], "to the right is red");
        // To the left is half a turn on, between cyan and green.
        assert!(colors[6] < 10 && colors[7] > 180 && colors[8] > 200, "{colors:?}");
        assert!(flow_colors(&flow.reshape(&[2, 2, 2]).unwrap()).is_err());
        assert!(flow_colors(&flow.reshape(&[2, 1, 1, 4]).unwrap()).is_err());
    }

    #[test]
    fn the_wheel_goes_round_once() {
        assert_eq!(SECTIONS.iter().sum::<usize>(), WHEEL);
        let wheel = wheel();
        assert_eq!(
            (wheel[0], wheel[15], wheel[21]),
            ([255.0, 0.0, 0.0], [255.0, 255.0, 0.0], [0.0, 255.0, 0.0])
        );
        assert_eq!((wheel[36], wheel[54]), ([0.0, 0.0, 255.0], [255.0, 0.0, 43.0]));
        assert!(wheel.iter().all(|color| color.contains(&255.0)));
    }
}
