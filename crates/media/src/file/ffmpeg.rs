//! `ffmpeg` as a child process: the file goes in by name, YUV4MPEG2 comes out of a pipe.

use super::{FileError, FileInfo, FileKind};
use parking_lot::Mutex;
use scope_frame::{Image, MAX_DIMENSION, PixelFormat};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How long `ffprobe` may take, and `ffmpeg` for its next frame.
const PATIENCE: Duration = Duration::from_secs(15);
/// Decoded frames that wait to be taken; then the pipe fills and `ffmpeg` waits.
const QUEUE_FRAMES: usize = 2;
/// Containers that stand alone. Playlists and scripts (HLS, concat, SDP…) could name other files to open.
const FORMATS: &str = "mov,matroska,avi,mpegts,mpeg,flv,gif,apng,asf,ogg,mxf,ivf";
/// Address space of a child in bytes; nothing it does should need more.
const MAX_MEMORY: u64 = 4 << 30;
const MAX_REPORT_BYTES: u64 = 256 << 10;
const MAX_STDERR_BYTES: u64 = 2 << 10;
/// Times are rational numbers of this size at most.
const FPS_RANGE: std::ops::RangeInclusive<f64> = 1.0..=120.0;

/// A child that dies with its handle.
struct Process {
    child: Child,
    program: &'static str,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Ends when the child has closed its standard error.
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts `program`, found on the `PATH`, with no input, a bounded memory and a bare environment.
    fn start(program: &'static str, arguments: &[&OsStr]) -> Result<Self, FileError> {
        let executable = find(program).ok_or(FileError::FfmpegMissing { program })?;
        // `prlimit` (util-linux) replaces itself by the program; systems without it go without limits.
        let mut command = match find("prlimit") {
            Some(prlimit) => {
                let mut command = Command::new(prlimit);
                command.arg(format!("--as={MAX_MEMORY}"));
                command.args(["--fsize=0", "--core=0", "--nofile=64", "--"]).arg(executable);
                command
            }
            None => Command::new(executable),
        };
        command.args(arguments).env_clear();
        // Secrets of this process are none of the child's business.
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.spawn();
        let mut child = started.map_err(|source| FileError::FfmpegStart { program, source })?;
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let listener = child.stderr.take().and_then(|mut pipe| {
            let stderr = Arc::clone(&stderr);
            let listen = move || {
                let mut head = Vec::new();
                pipe.by_ref().take(MAX_STDERR_BYTES).read_to_end(&mut head).ok();
                *stderr.lock() = head;
                io::copy(&mut pipe, &mut io::sink()).ok();
            };
            std::thread::Builder::new().name("ffmpeg-errors".to_owned()).spawn(listen).ok()
        });
        Ok(Self { child, program, stderr, listener })
    }

    /// Ends the child and says what it complained about, without naming the file.
    fn complaint(&mut self, path: &Path) -> FileError {
        self.child.kill().ok();
        self.child.wait().ok();
        if let Some(listener) = self.listener.take() {
            listener.join().ok();
        }
        let text = String::from_utf8_lossy(&self.stderr.lock()).into_owned();
        let text = text.replace(&format!("file:{}", path.display()), "the file");
        let text = text.replace(&*path.to_string_lossy(), "the file");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        FileError::Unreadable(if text.is_empty() { format!("{} gave no reason", self.program) } else { text })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The file that running `program` would execute.
fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// `file:` and the absolute path: never an option, a pattern or another protocol.
fn input(path: &Path) -> OsString {
    let mut name = OsString::from("file:");
    name.push(path);
    name
}

/// Frame rate as a fraction, and length.
struct Probe {
    rate: (u32, u32),
    duration: Option<Duration>,
}

#[derive(serde::Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<ReportStream>,
    format: Option<ReportFormat>,
}

#[derive(serde::Deserialize)]
struct ReportStream {
    width: Option<u32>,
    height: Option<u32>,
    avg_frame_rate: Option<String>,
    r_frame_rate: Option<String>,
}

#[derive(serde::Deserialize)]
struct ReportFormat {
    duration: Option<String>,
}

fn probe(path: &Path) -> Result<Probe, FileError> {
    let name = input(path);
    let entries = "stream=width,height,avg_frame_rate,r_frame_rate:format=duration";
    let mut arguments: Vec<&OsStr> =
        ["-v", "error", "-protocol_whitelist", "file", "-format_whitelist", FORMATS].map(OsStr::new).to_vec();
    arguments
        .extend(["-select_streams", "V:0", "-show_entries", entries, "-of", "json", "-i"].map(OsStr::new));
    arguments.push(&name);
    let mut process = Process::start("ffprobe", &arguments)?;
    let (sender, answer) = sync_channel(1);
    if let Some(pipe) = process.child.stdout.take() {
        let read = move || {
            let mut bytes = Vec::new();
            pipe.take(MAX_REPORT_BYTES).read_to_end(&mut bytes).ok();
            sender.send(bytes).ok();
        };
        let thread = std::thread::Builder::new().name("ffprobe".to_owned()).spawn(read);
        thread.map_err(|source| FileError::FfmpegStart { program: "ffprobe", source })?;
    }
    let bytes = answer.recv_timeout(PATIENCE).map_err(|_| FileError::TimedOut(PATIENCE))?;
    let report: Report = match serde_json::from_slice::<Report>(&bytes) {
        Ok(report) if report.format.is_some() => report,
        _ => return Err(process.complaint(path)),
    };
    let stream = report.streams.first().ok_or(FileError::NoVideo)?;
    let (width, height) = (stream.width.unwrap_or(0), stream.height.unwrap_or(0));
    if width.max(height) > MAX_DIMENSION {
        return Err(FileError::TooLarge { width, height });
    }
    let rates = [&stream.avg_frame_rate, &stream.r_frame_rate];
    let rate = rates.into_iter().flatten().find_map(|text| usable_rate(text)).unwrap_or((30, 1));
    let seconds = report.format.and_then(|format| format.duration?.parse::<f64>().ok());
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Probe { rate, duration })
}

/// A fraction as `ffprobe` writes it, brought into the range that makes sense for playback.
fn usable_rate(text: &str) -> Option<(u32, u32)> {
    let (numerator, denominator) = text.split_once('/')?;
    let (numerator, denominator): (u32, u32) = (numerator.parse().ok()?, denominator.parse().ok()?);
    let fps = f64::from(numerator) / f64::from(denominator);
    if !fps.is_finite() || fps <= 0.0 {
        None
    } else if FPS_RANGE.contains(&fps) {
        Some((numerator, denominator))
    } else {
        Some((fps.clamp(*FPS_RANGE.start(), *FPS_RANGE.end()) as u32, 1))
    }
}

enum Event {
    Size(u32, u32),
    Frame(Image),
    /// The size of a picture that we do not accept.
    TooLarge(u32, u32),
}

/// A video that `ffmpeg` decodes at a constant frame rate.
pub(super) struct Ffmpeg {
    path: PathBuf,
    rate: (u32, u32),
    running: Option<Running>,
    frames: u64,
}

struct Running {
    // Dropped first: the reader thread ends when nobody listens, and at the latest with the process.
    events: Receiver<Event>,
    process: Process,
}

impl Ffmpeg {
    pub(super) fn open(path: PathBuf) -> Result<(Self, FileInfo), FileError> {
        let Probe { rate, duration } = probe(&path)?;
        let mut video = Self { path, rate, running: None, frames: 0 };
        let size = video.start()?;
        let fps = f64::from(rate.0) / f64::from(rate.1);
        Ok((video, FileInfo { kind: FileKind::Video, size, fps: Some(fps), duration }))
    }

    pub(super) fn restart(&mut self) -> Result<(), FileError> {
        self.start().map(drop)
    }

    /// Runs `ffmpeg` from the start of the file and waits for the size of its pictures.
    fn start(&mut self) -> Result<(u32, u32), FileError> {
        self.running = None;
        self.frames = 0;
        let name = input(&self.path);
        let rate = format!("{}/{}", self.rate.0, self.rate.1);
        let mut arguments: Vec<&OsStr> =
            ["-nostdin", "-v", "error", "-threads", "2"].map(OsStr::new).to_vec();
        arguments.extend(["-protocol_whitelist", "file", "-format_whitelist", FORMATS, "-i"].map(OsStr::new));
        arguments.push(&name);
        // What `scope_frame` holds, whatever the source was.
        let filter = "scale=out_color_matrix=bt601:out_range=tv,format=yuv420p";
        arguments.extend(["-map", "0:V:0", "-vf", filter, "-r", &rate].map(OsStr::new));
        arguments.extend(["-f", "yuv4mpegpipe", "pipe:1"].map(OsStr::new));
        let mut process = Process::start("ffmpeg", &arguments)?;
        let (sender, events) = sync_channel(QUEUE_FRAMES);
        if let Some(pipe) = process.child.stdout.take() {
            let read = move || read_pictures(BufReader::new(pipe), &sender);
            let thread = std::thread::Builder::new().name("ffmpeg".to_owned()).spawn(read);
            thread.map_err(|source| FileError::FfmpegStart { program: "ffmpeg", source })?;
        }
        let mut running = Running { events, process };
        match running.events.recv_timeout(PATIENCE) {
            Ok(Event::Size(width, height)) => {
                self.running = Some(running);
                Ok((width, height))
            }
            Ok(Event::TooLarge(width, height)) => Err(FileError::TooLarge { width, height }),
            Err(RecvTimeoutError::Timeout) => Err(FileError::TimedOut(PATIENCE)),
            Ok(Event::Frame(_)) | Err(RecvTimeoutError::Disconnected) => {
                Err(running.process.complaint(&self.path))
            }
        }
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<(Image, Duration)>, FileError> {
        let Some(running) = &mut self.running else { return Ok(None) };
        match running.events.recv_timeout(PATIENCE) {
            Ok(Event::Frame(image)) => {
                let nanos = u128::from(self.frames) * u128::from(self.rate.1) * 1_000_000_000;
                let time =
                    Duration::from_nanos(u64::try_from(nanos / u128::from(self.rate.0)).unwrap_or(u64::MAX));
                self.frames += 1;
                Ok(Some((image, time)))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.running = None;
                Err(FileError::TimedOut(PATIENCE))
            }
            Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                let nothing = self.frames == 0;
                let mut running = self.running.take();
                match running.as_mut().filter(|_| nothing) {
                    Some(running) => Err(running.process.complaint(&self.path)),
                    // A file that is damaged further on ends there.
                    None => Ok(None),
                }
            }
        }
    }
}

/// Passes the pictures of a YUV4MPEG2 stream on, until it ends, breaks off or nobody listens.
fn read_pictures(mut pipe: impl BufRead, sender: &SyncSender<Event>) {
    let Some((width, height)) = line(&mut pipe).and_then(|header| picture_size(&header)) else { return };
    if !(1..=MAX_DIMENSION).contains(&width) || !(1..=MAX_DIMENSION).contains(&height) {
        sender.send(Event::TooLarge(width, height)).ok();
        return;
    }
    if sender.send(Event::Size(width, height)).is_err() {
        return;
    }
    while line(&mut pipe).is_some_and(|header| header.starts_with("FRAME")) {
        let mut data = vec![0; PixelFormat::I420.byte_len(width, height)];
        if pipe.read_exact(&mut data).is_err() {
            return;
        }
        let Ok(image) = Image::new(PixelFormat::I420, width, height, data) else { return };
        if sender.send(Event::Frame(image)).is_err() {
            return;
        }
    }
}

/// One line of at most 256 bytes.
fn line(pipe: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    pipe.take(256).read_until(b'\n', &mut bytes).ok()?;
    (bytes.pop()? == b'\n').then(|| String::from_utf8(bytes).ok())?
}

/// Width and height from a YUV4MPEG2 stream header with 4:2:0 sampling.
fn picture_size(header: &str) -> Option<(u32, u32)> {
    let (mut width, mut height) = (None, None);
    for field in header.strip_prefix("YUV4MPEG2 ")?.split(' ') {
        match field.split_at_checked(1)? {
            ("W", value) => width = value.parse().ok(),
            ("H", value) => height = value.parse().ok(),
            ("C", value) if !value.starts_with("420") => return None,
            _ => {}
        }
    }
    width.zip(height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_headers_are_understood_or_refused() {
        let size = picture_size("YUV4MPEG2 W321 H181 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG");
        assert_eq!(size, Some((321, 181)));
        for header in
            ["", "YUV4MPEG2", "YUV4MPEG2 W1", "YUV4MPEG2 W-1 H1", "YUV4MPEG2 W8 H8 C444", "RIFF W1 H1"]
        {
            assert_eq!(picture_size(header), None, "{header}");
        }
    }

    #[test]
    fn streams_that_break_off_or_announce_too_much_end_quietly() {
        let whole = [&b"YUV4MPEG2 W2 H2 F1:1\nFRAME\nyyyyuvFRAME x\nyyyyuv"[..]].concat();
        for len in 0..=whole.len() {
            let (sender, events) = sync_channel(8);
            read_pictures(&whole[..len], &sender);
            drop(sender);
            let frames = events.iter().filter(|event| matches!(event, Event::Frame(_))).count();
            assert_eq!(
                frames,
                usize::from(len >= 33) + usize::from(len == whole.len()),
                "cut to {len} bytes"
            );
        }
        let (sender, events) = sync_channel(8);
        read_pictures(&b"YUV4MPEG2 W99999 H2 F1:1\n"[..], &sender);
        assert!(matches!(events.try_recv(), Ok(Event::TooLarge(99_999, 2))));
        read_pictures(&[b'Y'; 1 << 16][..], &sender);
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn frame_rates_are_brought_into_range() {
        assert_eq!(usable_rate("30000/1001"), Some((30_000, 1001)));
        assert_eq!(usable_rate("90000/1"), Some((120, 1)));
        assert_eq!(usable_rate("1/10"), Some((1, 1)));
        for text in ["0/0", "1/0", "0/1", "", "x/y", "-1/1"] {
            assert_eq!(usable_rate(text), None, "{text}");
        }
    }
}
