//! Small changes to offers and answers that the WebRTC library has no switch for. Pure.

/// The extension's name on the wire.
const COLOR_SPACE: &str = "http://www.webrtc.org/experiments/rtp-hdrext/color-space";
/// Our name for it. The library knows the real one but does not read its values; under this one it asks us.
pub(super) const OUR_COLOR_SPACE: &str = "urn:scope:color-space";

/// An offer in which the colour-space extension has our name.
pub(super) fn with_our_color_space(offer: &str) -> String {
    offer.replace(COLOR_SPACE, OUR_COLOR_SPACE)
}

/// An answer in which it has its own name again.
pub(super) fn with_wire_color_space(answer: &str) -> String {
    answer.replace(OUR_COLOR_SPACE, COLOR_SPACE)
}

/// Marks the media sections with these mids inactive: nothing will be sent there, and the client should know.
pub(super) fn with_inactive(sdp: &str, mids: &[String]) -> String {
    let mut out = String::with_capacity(sdp.len());
    for section in sections(sdp) {
        let inactive = section.lines().any(|line| {
            line.trim_end().strip_prefix("a=mid:").is_some_and(|mid| mids.iter().any(|name| name == mid))
        });
        for line in section.split_inclusive('\n') {
            let attribute = line.trim_end();
            if inactive && matches!(attribute, "a=sendonly" | "a=sendrecv" | "a=recvonly") {
                out.push_str("a=inactive\r\n");
            } else if !(inactive && (attribute.starts_with("a=msid:") || attribute.starts_with("a=ssrc"))) {
                out.push_str(line);
            }
        }
    }
    out
}

/// The names of the media sections, in order; without those of data channels.
pub(super) fn mids(sdp: &str) -> impl Iterator<Item = &str> {
    sections(sdp)
        .filter(|section| section.starts_with("m=") && !section.starts_with("m=application"))
        .filter_map(|section| section.lines().find_map(|line| line.trim_end().strip_prefix("a=mid:")))
}

/// The session part and each media section, with their line ends.
fn sections(sdp: &str) -> impl Iterator<Item = &str> {
    let mut starts: Vec<usize> = sdp.match_indices("\nm=").map(|(at, _)| at + 1).collect();
    starts.insert(0, 0);
    starts.push(sdp.len());
    let pairs: Vec<_> = starts.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs.into_iter().map(move |(from, to)| &sdp[from..to])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\ns=-\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendrecv\r\na=msid:a b\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=sendonly\r\na=msid:c d\r\na=ssrc:1 cname:x\r\n";

    #[test]
    fn only_the_named_section_changes() {
        let out = with_inactive(SDP, &["1".into()]);
        assert!(out.contains("a=mid:0\r\na=sendrecv\r\na=msid:a b\r\n"), "{out}");
        assert!(out.ends_with("a=mid:1\r\na=inactive\r\n"), "{out}");
    }

    #[test]
    fn the_colour_space_extension_goes_by_our_name_inside_only() {
        let offer = format!("{SDP}a=extmap:7 {COLOR_SPACE}\r\n");
        let inside = with_our_color_space(&offer);
        assert!(!inside.contains(COLOR_SPACE));
        assert_eq!(with_wire_color_space(&inside), offer);
    }

    #[test]
    fn media_sections_are_named_in_order() {
        assert_eq!(mids(SDP).collect::<Vec<_>>(), ["0", "1"]);
    }

    #[test]
    fn without_names_nothing_changes() {
        assert_eq!(with_inactive(SDP, &[]), SDP);
    }
}
