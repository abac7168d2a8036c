//! The range of values that a stream's pictures show, which follows what they hold.

/// How far the range goes with each picture to that of the picture: within a second of video it has mostly arrived.
const PACE: f32 = 1.0 / 16.0;

/// From black to white. Were every picture shown in its own range, what enters or leaves it would make all else flicker.
#[derive(Debug, Default)]
pub(super) struct Range(Option<[f32; 2]>);

impl Range {
    /// The range for a picture of these values. The first one's is its own.
    pub(super) fn next(&mut self, values: &[f32]) -> [f32; 2] {
        let finite = values.iter().filter(|value| value.is_finite());
        let found = finite.fold(None, |found: Option<[f32; 2]>, &value| match found {
            None => Some([value; 2]),
            Some([low, high]) => Some([value.min(low), value.max(high)]),
        });
        let range = match (self.0, found) {
            (None, found) => found,
            (kept, None) => kept,
            (Some(kept), Some(found)) => {
                Some([0, 1].map(|end| (found[end] - kept[end]).mul_add(PACE, kept[end])))
            }
        };
        self.0 = range;
        range.unwrap_or_default()
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

/// What values are multiplied by, and then moved by, to lie between 0 and 1. Where there is but one value, it is 0.
pub(super) fn to_unit([low, high]: [f32; 2]) -> [f32; 2] {
    let scale = 1.0 / (high - low);
    if scale.is_finite() && scale > 0.0 { [scale, -low * scale] } else { [0.0, 0.0] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_picture_is_shown_in_its_own_range() {
        let mut range = Range::default();
        assert_eq!(range.next(&[3.0, 1.0, 2.0]), [1.0, 3.0]);
        let [scale, shift] = to_unit([1.0, 3.0]);
        assert_eq!([1.0, 2.0, 3.0].map(|value: f32| value.mul_add(scale, shift)), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn something_near_changes_the_range_slowly_and_a_reset_at_once() {
        let mut range = Range::default();
        range.next(&[0.0, 1.0]);
        let [low, high] = range.next(&[0.0, 9.0]);
        assert_eq!(low, 0.0);
        assert!((high - 1.5).abs() < 1e-6, "{high}");
        for _ in 0..100 {
            range.next(&[0.0, 9.0]);
        }
        assert!((range.next(&[0.0, 9.0])[1] - 9.0).abs() < 0.05);
        range.clear();
        assert_eq!(range.next(&[0.0, 1.0]), [0.0, 1.0]);
    }

    #[test]
    fn flat_pictures_are_black_and_what_is_no_number_counts_for_nothing() {
        assert_eq!(to_unit([2.0, 2.0]), [0.0, 0.0]);
        let mut range = Range::default();
        assert_eq!(range.next(&[]), [0.0, 0.0]);
        assert_eq!(range.next(&[f32::NAN, f32::INFINITY, 4.0]), [4.0, 4.0]);
        assert_eq!(range.next(&[f32::NAN]), [4.0, 4.0]);
    }

    proptest! {
        #[test]
        fn the_range_stays_within_what_was_seen(pictures in prop::collection::vec(
            prop::collection::vec(-100.0f32..100.0, 1..5), 1..20,
        )) {
            let mut range = Range::default();
            let (mut least, mut most) = (f32::MAX, f32::MIN);
            for picture in &pictures {
                for &value in picture {
                    (least, most) = (least.min(value), most.max(value));
                }
                let [low, high] = range.next(picture);
                prop_assert!(low <= high + 1e-3 && low >= least - 1e-3 && high <= most + 1e-3);
                let unit = to_unit([low, high]);
                prop_assert!(unit.iter().all(|value| value.is_finite()));
            }
        }
    }
}
