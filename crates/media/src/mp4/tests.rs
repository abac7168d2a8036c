use super::*;
use crate::codec::{Decoder, EncodedFrame, Encoder, EncoderConfig, VideoCodec};
use crate::testing::{Noise, ffprobe, moving_picture, psnr};
use std::io::Cursor;

const SIZE: (u32, u32) = (64, 48);

fn encoded(count: u32, keyframe_every: u32) -> Vec<EncodedFrame> {
    let config = EncoderConfig { width: SIZE.0, height: SIZE.1, bitrate_kbps: 200, fps: 30.0 };
    let mut encoder = Encoder::new(VideoCodec::H264, &config).unwrap();
    (0..count)
        .map(|i| {
            let image = moving_picture(SIZE.0, SIZE.1, i);
            encoder.encode(&image, i64::from(i) * 3000, i % keyframe_every == 0).unwrap().unwrap()
        })
        .collect()
}

/// Uneven times from an odd origin: a model's frame rate is not constant. The last gap is a pause.
fn uneven(count: usize) -> Vec<i64> {
    let mut noise = Noise::new(3);
    let mut pts = -1_234_567;
    let mut times: Vec<i64> = (0..count)
        .map(|_| {
            pts += 900 + noise.below(9000) as i64;
            pts
        })
        .collect();
    if let Some(last) = times.last_mut() {
        *last += 90_000 * 40;
    }
    times
}

/// The file while recording (before `finish`) and finished, and where its fragments end.
fn recording(frames: &[EncodedFrame], times: &[i64]) -> (Vec<u8>, Vec<u8>, Vec<usize>, Mp4Summary) {
    let mut writer = Mp4Writer::new(Cursor::new(Vec::new()), SIZE);
    let mut ends = Vec::new();
    for (frame, &pts) in frames.iter().zip(times) {
        writer.write(pts, &frame.data, frame.keyframe).unwrap();
        if ends.last() != Some(&(writer.bytes() as usize)) {
            ends.push(writer.bytes() as usize);
        }
    }
    writer.flush().unwrap();
    ends.push(writer.bytes() as usize);
    ends.retain(|&end| end > 0);
    let unfinished = writer.finish().unwrap();
    let (finished, summary) = (unfinished.0.into_inner(), unfinished.1);
    // While recording, the box that becomes `mdat` is `free`.
    let mut open = finished[..*ends.last().unwrap()].to_vec();
    let at = u32::from_be_bytes(open[..4].try_into().unwrap()) as usize;
    open[at..at + 16].copy_from_slice(b"\0\0\0\x10free\0\0\0\0\0\0\0\0");
    (open, finished, ends, summary)
}

fn samples(file: &[u8]) -> Result<Vec<Sample>, Mp4Error> {
    let mut reader = Mp4Reader::new(Cursor::new(file))?;
    let mut samples = Vec::new();
    while let Some(sample) = reader.next_sample()? {
        samples.push(sample);
    }
    Ok(samples)
}

#[test]
fn what_was_written_is_read_back_with_its_times() {
    let (frames, times) = (encoded(60, 25), uneven(60));
    let (open, finished, ends, summary) = recording(&frames, &times);
    assert!(ends.len() > 4, "fragments: {ends:?}");
    assert_eq!((summary.frames, summary.bytes), (60, finished.len() as u64));
    for (name, file) in [("open", &open), ("finished", &finished)] {
        let samples = samples(file).unwrap();
        assert_eq!(samples.len(), frames.len(), "{name}");
        let mut decoder = Decoder::new(VideoCodec::H264).unwrap();
        for (i, (sample, &pts)) in samples.iter().zip(&times).enumerate() {
            assert_eq!(sample.pts, pts - times[0], "{name} frame {i}");
            assert_eq!(sample.keyframe, i % 25 == 0, "{name} frame {i}");
            let image = decoder.decode(&sample.data).unwrap().unwrap();
            assert!(psnr(&image, &moving_picture(SIZE.0, SIZE.1, i as u32)) > 28.0, "{name} frame {i}");
        }
        let reader = Mp4Reader::new(Cursor::new(file)).unwrap();
        assert_eq!(reader.size(), SIZE);
        assert_eq!(reader.duration(), summary.duration, "{name}");
    }
}

#[test]
fn any_player_reads_open_and_finished_files_alike() {
    let (frames, times) = (encoded(60, 25), uneven(60));
    let (open, finished, _, summary) = recording(&frames, &times);
    for (name, file) in [("open", &open), ("finished", &finished)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording.mp4");
        std::fs::write(&path, file).unwrap();
        let show = "packet=pts,flags:stream=width,height,color_space,nb_read_frames:format=duration";
        let Some(report) = ffprobe(&path, &["-count_frames", "-show_entries", show]) else { return };
        let values = |key: &str| -> Vec<String> {
            let prefix = format!("{key}=");
            report.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
        };
        let expected: Vec<String> = times.iter().map(|pts| (pts - times[0]).to_string()).collect();
        assert_eq!(values("pts"), expected, "{name}");
        assert_eq!(values("flags").iter().filter(|flags| flags.starts_with('K')).count(), 3, "{name}");
        assert_eq!([values("width"), values("height")].concat(), ["64", "48"], "{name}");
        assert_eq!(values("color_space"), ["smpte170m"], "{name}");
        assert_eq!(values("nb_read_frames"), ["60"], "{name}");
        if name == "finished" {
            let duration: f64 = values("duration")[0].parse().unwrap();
            assert!((duration - summary.duration.as_secs_f64()).abs() < 0.01, "{duration} of {summary:?}");
        }
    }
}

#[test]
fn a_recording_cut_at_any_byte_plays_up_to_its_last_whole_fragment() {
    let (frames, times) = (encoded(40, 15), uneven(40));
    let (open, finished, ends, _) = recording(&frames, &times);
    let whole = samples(&open).unwrap();
    let mut at_least = 0;
    for len in 0..open.len() {
        if ends.contains(&len) {
            at_least = samples(&open[..len]).unwrap().len();
        }
        match samples(&open[..len]) {
            Ok(samples) => {
                assert_eq!(samples, whole[..samples.len()], "cut to {len} bytes");
                assert!(samples.len() >= at_least, "{} frames from {len} bytes", samples.len());
            }
            Err(error) => assert_eq!(at_least, 0, "cut to {len} bytes: {error}"),
        }
        // A finished file that lost its end is no worse off.
        if at_least > 0 {
            assert_eq!(
                samples(&finished[..len]).unwrap(),
                samples(&open[..len]).unwrap(),
                "cut to {len} bytes"
            );
        }
    }
    assert!(at_least > 25, "whole fragments hold {at_least} frames");
    for len in open.len()..finished.len() {
        assert_eq!(samples(&finished[..len]).unwrap(), whole, "cut to {len} bytes");
    }
}

#[test]
fn players_read_a_recording_cut_around_every_fragment() {
    let (frames, times) = (encoded(40, 15), uneven(40));
    let (open, _, ends, _) = recording(&frames, &times);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.mp4");
    for end in ends {
        for len in [end - 1, end, (end + 1).min(open.len())] {
            let Ok(expected) = samples(&open[..len]) else { continue };
            std::fs::write(&path, &open[..len]).unwrap();
            let Some(report) = ffprobe(&path, &["-count_packets", "-show_entries", "stream=nb_read_packets"])
            else {
                return;
            };
            let count: usize = report
                .lines()
                .find_map(|line| line.strip_prefix("nb_read_packets="))
                .unwrap()
                .parse()
                .unwrap();
            assert!(count >= expected.len(), "{count} of {} packets from {len} bytes", expected.len());
        }
    }
}

#[test]
fn damaged_files_are_errors_or_pictures_but_never_panics() {
    let (frames, times) = (encoded(12, 5), uneven(12));
    let (open, finished, _, _) = recording(&frames, &times);
    let mut noise = Noise::new(11);
    for file in [&open, &finished] {
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0xff, file[at] ^ 1 << noise.below(8)] {
                let mut damaged = file.clone();
                damaged[at] = value;
                let _ = samples(&damaged);
            }
        }
    }
    for len in 0..200 {
        let bytes: Vec<u8> = (0..len).map(|_| noise.below(256) as u8).collect();
        assert!(samples(&bytes).is_err());
    }
}

#[test]
fn files_of_other_programs_are_told_apart() {
    let (frames, times) = (encoded(2, 5), uneven(2));
    let (_, mut file, _, _) = recording(&frames, &times);
    let at = file.windows(14).rposition(|window| window == b"Scope recorder").unwrap();
    file[at] = b's';
    assert!(matches!(samples(&file), Err(Mp4Error::Foreign(_))));
    assert!(matches!(samples(b"RIFF....WEBPVP8 "), Err(Mp4Error::Foreign(_) | Mp4Error::Malformed(_))));
}

#[test]
fn frames_that_do_not_fit_are_refused_and_the_rest_goes_on() {
    let frames = encoded(4, 9);
    let mut writer = Mp4Writer::new(Cursor::new(Vec::new()), SIZE);
    assert!(matches!(writer.write(0, &frames[1].data, false), Err(Mp4Error::NoKeyframe)));
    assert!(matches!(writer.write(0, b"", true), Err(Mp4Error::NoKeyframe)));
    writer.write(100, &frames[0].data, true).unwrap();
    for pts in [100, 0, i64::MIN, i64::MAX] {
        assert!(matches!(writer.write(pts, &frames[1].data, false), Err(Mp4Error::Order { .. })), "{pts}");
    }
    let config = EncoderConfig { width: 96, height: 48, bitrate_kbps: 200, fps: 30.0 };
    let mut other = Encoder::new(VideoCodec::H264, &config).unwrap();
    let other = other.encode(&moving_picture(96, 48, 0), 0, false).unwrap().unwrap();
    assert!(matches!(writer.write(200, &other.data, true), Err(Mp4Error::ParameterSets)));
    writer.write(3100, &frames[1].data, false).unwrap();
    assert_eq!(writer.finish().unwrap().1.frames, 2);
    let empty = Mp4Writer::new(Cursor::new(Vec::new()), SIZE).finish();
    assert!(matches!(empty, Err(Mp4Error::Empty)));
}

#[test]
fn a_pause_after_a_flush_is_kept() {
    let frames = encoded(3, 9);
    let mut writer = Mp4Writer::new(Cursor::new(Vec::new()), SIZE);
    for (frame, pts) in frames.iter().zip([0, 3000, 900_000]) {
        writer.write(pts, &frame.data, frame.keyframe).unwrap();
        writer.flush().unwrap();
    }
    let (file, summary) = writer.finish().unwrap();
    let times: Vec<i64> = samples(file.get_ref()).unwrap().iter().map(|sample| sample.pts).collect();
    assert_eq!(times, [0, 3000, 900_000]);
    assert_eq!(summary.duration.as_secs(), 11, "the last frame is shown for at most a second");
}
