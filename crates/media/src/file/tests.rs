use super::*;
use crate::record::{Recorder, RecorderConfig};
use crate::testing::{moving_picture, psnr};
use scope_frame::{Frame, Timestamp};
use std::path::PathBuf;
use std::process::Command;

/// A one-second test video of `size`, or `None`, with a message, where `ffmpeg` is not installed.
fn video(directory: &Path, name: &str, size: &str, extra: &[&str]) -> Option<PathBuf> {
    let path = directory.join(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"]);
    command.arg(format!("testsrc=size={size}:rate=30000/1001:duration=1")).args(extra);
    match command.arg(&path).status() {
        Ok(status) => {
            assert!(status.success());
            Some(path)
        }
        Err(error) => {
            println!("skipped: cannot run ffmpeg: {error}");
            None
        }
    }
}

#[test]
fn a_still_is_one_frame_every_time_around() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("still");
    let image = moving_picture(30, 20, 0);
    std::fs::write(&path, still::encode_png(&image).unwrap()).unwrap();
    let mut source = FileSource::open(&path).unwrap();
    assert_eq!((source.info().kind, source.info().size), (FileKind::Still, (30, 20)));
    for _ in 0..3 {
        assert_eq!(source.next_frame().unwrap(), Some((image.clone(), Duration::ZERO)));
        assert_eq!(source.next_frame().unwrap(), None);
        source.rewind().unwrap();
    }
}

#[test]
fn our_recordings_play_without_ffmpeg_and_loop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recording.mp4");
    let recorder = Recorder::start(&path, RecorderConfig::default()).unwrap();
    for i in 0..6 {
        recorder.push(Frame::new(moving_picture(64, 48, i), Timestamp::from_micros(u64::from(i) * 100_000)));
    }
    recorder.stop().unwrap();
    let mut source = FileSource::open(&path).unwrap();
    assert_eq!((source.info().kind, source.info().size), (FileKind::Recording, (64, 48)));
    assert_eq!(source.info().duration, Some(Duration::from_millis(600)));
    for round in 0..2 {
        for i in 0..6u32 {
            let (image, time) = source.next_frame().unwrap().unwrap();
            assert_eq!(time, Duration::from_millis(u64::from(i) * 100));
            assert!(psnr(&image, &moving_picture(64, 48, i)) > 28.0, "round {round}, frame {i}");
        }
        assert_eq!(source.next_frame().unwrap(), None);
        source.rewind().unwrap();
    }
}

#[test]
fn any_other_video_plays_through_ffmpeg_and_loops() {
    let directory = tempfile::tempdir().unwrap();
    // Names that would be an option, a URL or a pattern if they were passed as they are.
    for (name, size, extra) in [
        ("plain.avi", "320x180", &["-c:v", "mpeg4"][..]),
        ("-i http:%03d.mkv", "321x181", &["-c:v", "ffv1"]),
        ("upright.mov", "320x180", &["-c:v", "mpeg4", "-metadata:s:v:0", "rotate=90"]),
    ] {
        let Some(path) = video(directory.path(), &format!("./{name}"), size, extra) else { return };
        let mut source = FileSource::open(&path).unwrap();
        assert_eq!(source.info().kind, FileKind::Video, "{name}");
        assert!((source.info().fps.unwrap() - 29.97).abs() < 0.01, "{name}: {:?}", source.info());
        assert!(source.info().duration.unwrap().abs_diff(Duration::from_secs(1)) < Duration::from_millis(60));
        for round in 0..2 {
            let frames: Vec<_> = source.by_ref().map(Result::unwrap).collect();
            assert!((29..=31).contains(&frames.len()), "{name}, round {round}: {} frames", frames.len());
            for (i, (image, time)) in (0..).zip(&frames) {
                assert_eq!(image.size(), source.info().size);
                assert_eq!(*time, Duration::from_nanos(i * 1_001_000_000_000 / 30_000), "{name} frame {i}");
            }
            source.rewind().unwrap();
        }
    }
}

#[test]
fn colours_arrive_as_bt601() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("red.mkv");
    let arguments = ["-nostdin", "-v", "error", "-f", "lavfi", "-i", "color=red:size=64x64:duration=0.2"];
    // An HD-style source: BT.709, tagged as such.
    let tagged = "scale=out_color_matrix=bt709,format=yuv420p,setparams=colorspace=bt709:range=tv";
    let status =
        Command::new("ffmpeg").args(arguments).args(["-vf", tagged, "-c:v", "ffv1"]).arg(&path).status();
    if status.is_err() {
        println!("skipped: cannot run ffmpeg");
        return;
    }
    let (image, _) = FileSource::open(&path).unwrap().next_frame().unwrap().unwrap();
    let rgb = image.to_rgb8().data()[..3].to_vec();
    assert!(rgb[0] > 245 && rgb[1] < 10 && rgb[2] < 10, "red became {rgb:?}");
}

#[test]
fn playlists_cannot_open_other_files() {
    let directory = tempfile::tempdir().unwrap();
    let Some(secret) = video(directory.path(), "secret.ts", "64x64", &["-c:v", "mpeg2video"]) else { return };
    let secret = secret.display().to_string();
    for (name, text) in [
        ("list.mp4", format!("ffconcat version 1.0\nfile '{secret}'\n")),
        ("list.ts", format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")),
        (
            "session.mp4",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n".to_owned(),
        ),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let error = FileSource::open(&path).err().unwrap();
        let message = error.to_string();
        assert!(matches!(error, FileError::Unreadable(_)), "{name}: {message}");
        assert!(!message.contains(name), "the message names the file: {message}");
    }
}

#[test]
fn what_is_not_a_video_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(FileSource::open(directory.path()), Err(FileError::NotAFile)));
    assert!(matches!(FileSource::open(directory.path().join("missing")), Err(FileError::Open(_))));
    for (name, bytes) in [("empty", &b""[..]), ("text", b"hello"), ("cut.png", b"\x89PNG\r\n\x1a\n")] {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = FileSource::open(&path).err().unwrap();
        let expected = matches!(
            error,
            FileError::Unreadable(_)
                | FileError::Still(StillError::Malformed(_))
                | FileError::FfmpegMissing { .. }
        );
        assert!(expected, "{name}: {error}");
    }
}

#[test]
fn a_video_cut_short_ends_early() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = video(directory.path(), "whole.ts", "320x180", &["-c:v", "mpeg2video"]) else { return };
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let frames = FileSource::open(&path).unwrap().map(Result::unwrap).count();
    assert!((1..30).contains(&frames), "{frames} frames");
}

#[test]
fn dropping_a_source_ends_its_ffmpeg() {
    let directory = tempfile::tempdir().unwrap();
    // More pictures than the queue and the pipe hold, so that ffmpeg waits for us.
    let Some(path) = video(directory.path(), "long.avi", "640x360", &["-c:v", "mpeg4"]) else { return };
    let running = || {
        let name = path.display().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
        let commands =
            processes.flatten().filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        commands.filter(|command| String::from_utf8_lossy(command).contains(&name)).count()
    };
    let mut source = FileSource::open(&path).unwrap();
    source.next_frame().unwrap();
    assert!(running() > 0 || !Path::new("/proc").exists());
    drop(source);
    assert_eq!(running(), 0);
}
