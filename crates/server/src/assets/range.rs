//! The `Range` header, for one range: what a media element sends ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110) §14).

/// Which part of a file to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it. Malformed and multiple ranges may be ignored, says the standard, and are.
    Whole,
    /// Bytes `first..=last`.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `len` bytes.
pub fn select(header: Option<&str>, len: u64) -> Selection {
    let Some((unit, range)) = header.and_then(|header| header.split_once('=')) else {
        return Selection::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else { return Selection::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    // Digits only: `parse` would take a sign.
    let number = |text: &str| -> Option<u64> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Some(0) => Selection::Unsatisfiable,
            Some(_) if len == 0 => Selection::Unsatisfiable,
            Some(count) => Selection::Part { first: len.saturating_sub(count), last: len - 1 },
            None => Selection::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if last < first => Selection::Whole,
            (Some(first), _) if first >= len && (last.is_empty() || number(last).is_some()) => {
                Selection::Unsatisfiable
            }
            (Some(first), Some(last)) => Selection::Part { first, last: last.min(len - 1) },
            (Some(first), None) if last.is_empty() => Selection::Part { first, last: len - 1 },
            _ => Selection::Whole,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |first, last| Selection::Part { first, last };
        for (header, expected) in [
            ("bytes=0-", part(0, 99)),
            ("bytes=0-0", part(0, 0)),
            ("bytes=10-19", part(10, 19)),
            ("Bytes = 10 - 19", part(10, 19)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=-10", part(90, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=100-200", Selection::Unsatisfiable),
            ("bytes=99999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=20-10", Selection::Whole),
            ("bytes=0-1,5-6", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("lines=0-1", Selection::Whole),
            ("bytes", Selection::Whole),
        ] {
            assert_eq!(select(Some(header), 100), expected, "{header}");
        }
        assert_eq!(select(None, 100), Selection::Whole);
        assert_eq!(select(Some("bytes=0-"), 0), Selection::Unsatisfiable);
        assert_eq!(select(Some("bytes=-5"), 0), Selection::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn parts_lie_inside_the_file(header in "(bytes=)?[0-9, -]{0,24}", len in 0u64..1000) {
            if let Selection::Part { first, last } = select(Some(&header), len) {
                prop_assert!(first <= last && last < len);
            }
        }
    }
}
