//! Where frames go: a video, a contact sheet, a picture each.

use super::sheet::Sheet;
use crate::cli::GenerateArgs;
use crate::model::Size;
use crate::refusal::Refusal;
use scope_frame::Frame;
use scope_media::record::{Recorder, RecorderConfig};
use scope_media::still;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Most pictures across or down a contact sheet.
const MAX_SHEET: u32 = 32;
/// A file is for looking at closely, and small pictures need more than their share.
const BITS_PER_PIXEL: f32 = 0.6;

/// What an output's name asks for.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Nothing,
    Video,
    Sheet,
    Frames(Pattern),
}

/// `before%05dafter`.
#[derive(Clone, Debug, PartialEq)]
struct Pattern {
    before: String,
    digits: usize,
    after: String,
}

impl Pattern {
    fn of(name: &str) -> Option<Self> {
        let (before, rest) = name.split_once('%')?;
        let (digits, after) = rest.split_once('d')?;
        let count = if digits.is_empty() { Ok(0) } else { digits.parse() };
        let digits = count.ok().filter(|count| *count <= 20)?;
        (!after.contains('%')).then(|| Self { before: before.to_owned(), digits, after: after.to_owned() })
    }

    fn path(&self, index: u64) -> PathBuf {
        format!("{}{index:0width$}{}", self.before, self.after, width = self.digits).into()
    }
}

fn kind(path: &Path) -> Result<Kind, Refusal> {
    let name = path.to_str().unwrap_or_default();
    let ending = path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_lowercase();
    match (name, ending.as_str()) {
        ("-", _) => Ok(Kind::Nothing),
        (_, "mp4") => Ok(Kind::Video),
        (_, "png") if !name.contains('%') => Ok(Kind::Sheet),
        (_, "png") => Pattern::of(name).map(Kind::Frames).ok_or_else(|| {
            Refusal::usage(format!("{name}: number frames with one %05d, or another count of digits"))
        }),
        _ => Err(Refusal::usage(format!(
            "{}: give it a name that ends with .mp4 for a video, .png for a contact sheet, %05d.png for every frame; or - for \
             nothing",
            path.display()
        ))),
    }
}

/// Outputs that can be made.
pub(super) struct Destinations {
    kinds: Vec<(PathBuf, Kind)>,
    sheet: Size,
    force: bool,
}

/// The outputs asked for; none of them exists, unless it may be replaced.
pub(super) fn destinations(args: &GenerateArgs) -> Result<Destinations, Refusal> {
    if args.output.is_empty() && !args.hash_only {
        return Err(Refusal::usage("say where the video goes: --output FILE, or --hash-only"));
    }
    if args.sheet.width > MAX_SHEET || args.sheet.height > MAX_SHEET {
        return Err(Refusal::usage(format!("--sheet: at most {MAX_SHEET} pictures across and down")));
    }
    let mut kinds: Vec<(PathBuf, Kind)> = Vec::new();
    for path in &args.output {
        if kinds.iter().any(|(taken, _)| taken == path) {
            return Err(Refusal::usage(format!("{} is named twice", path.display())));
        }
        let kind = kind(path)?;
        let first = match &kind {
            Kind::Frames(pattern) => pattern.path(0),
            _ => path.clone(),
        };
        if kind != Kind::Nothing && first.exists() && !args.force {
            return Err(exists(&first));
        }
        kinds.push((path.clone(), kind));
    }
    Ok(Destinations { kinds, sheet: args.sheet, force: args.force })
}

fn exists(path: &Path) -> Refusal {
    Refusal::output(format!("{} exists already; --force replaces it", path.display()))
}

fn cannot(path: &Path, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::output(format!("{}: {error}", path.display()))
}

impl Destinations {
    /// Creates the files, so that what cannot be written is found before anything is made.
    pub(super) fn open(self, frame_rate: f64) -> Result<Outputs, Refusal> {
        let Self { kinds, sheet, force } = self;
        let mut outputs = Outputs(Vec::new());
        for (path, kind) in kinds {
            match open(path, kind, sheet, force, frame_rate) {
                Ok(output) => outputs.0.extend(output),
                Err(refusal) => {
                    outputs.abandon();
                    return Err(refusal);
                }
            }
        }
        Ok(outputs)
    }
}

fn open(
    path: PathBuf,
    kind: Kind,
    sheet: Size,
    force: bool,
    frame_rate: f64,
) -> Result<Option<Output>, Refusal> {
    Ok(Some(match kind {
        Kind::Nothing => return Ok(None),
        Kind::Video => {
            if force && path.is_file() {
                fs::remove_file(&path).map_err(|error| cannot(&path, &error))?;
            }
            let config = RecorderConfig { fps: frame_rate as f32, bits_per_pixel: BITS_PER_PIXEL };
            let recorder = Recorder::start(&path, config).map_err(|error| cannot(&path, &error))?;
            Output::Video { path, recorder }
        }
        Kind::Sheet => {
            create(&path, force)?;
            Output::Sheet { path, sheet: Sheet::new(sheet) }
        }
        Kind::Frames(pattern) => {
            if let Some(folder) = pattern.path(0).parent().filter(|it| !it.as_os_str().is_empty()) {
                fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
            }
            Output::Frames { path, pattern, force, bytes: 0 }
        }
    }))
}

/// A new file; one that exists is emptied if it may be.
fn create(path: &Path, force: bool) -> Result<fs::File, Refusal> {
    let mut options = OpenOptions::new();
    options.write(true).truncate(true).create(force).create_new(!force);
    options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => cannot(path, &error),
    })
}

/// A finished output.
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// One output in the making.
enum Output {
    Video { path: PathBuf, recorder: Recorder },
    Sheet { path: PathBuf, sheet: Sheet },
    Frames { path: PathBuf, pattern: Pattern, force: bool, bytes: u64 },
}

/// All outputs of a video.
pub(super) struct Outputs(Vec<Output>);

impl Outputs {
    /// Hands frame `index` to each.
    pub(super) fn write(&mut self, index: u64, frame: &Frame) -> Result<(), Refusal> {
        for output in &mut self.0 {
            match output {
                Output::Video { path, recorder } => {
                    recorder.push_and_wait(frame.clone()).map_err(|error| cannot(path, &error))?;
                }
                Output::Sheet { path, sheet } => {
                    sheet.add(index, &frame.image).map_err(|error| cannot(path, &error))?;
                }
                Output::Frames { pattern, force, bytes, .. } => {
                    let path = pattern.path(index);
                    let png = still::encode_png(&frame.image).map_err(|error| cannot(&path, &error))?;
                    create(&path, *force)?.write_all(&png).map_err(|error| cannot(&path, &error))?;
                    *bytes += png.len() as u64;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<Written>, Refusal> {
        self.0.into_iter().map(Output::finish).collect()
    }

    /// Takes back what [`Destinations::open`] created.
    pub(super) fn abandon(self) {
        for output in self.0 {
            match output {
                // It removes its file itself.
                Output::Video { recorder, .. } => _ = recorder.stop(),
                Output::Sheet { path, .. } => _ = fs::remove_file(path),
                Output::Frames { .. } => {}
            }
        }
    }
}

impl Output {
    fn finish(self) -> Result<Written, Refusal> {
        match self {
            Self::Video { path, recorder } => match recorder.stop() {
                Ok(summary) => Ok(Written { path, bytes: summary.bytes }),
                Err(error) => Err(cannot(&path, &error)),
            },
            Self::Sheet { path, sheet } => {
                let png = sheet
                    .draw()
                    .and_then(|image| still::encode_png(&image).map_err(|error| error.to_string()));
                let png = png.map_err(|error| cannot(&path, &error))?;
                fs::write(&path, &png).map_err(|error| cannot(&path, &error))?;
                Ok(Written { path, bytes: png.len() as u64 })
            }
            Self::Frames { path, bytes, .. } => Ok(Written { path, bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_made() {
        let of = |name: &str| kind(Path::new(name));
        assert_eq!(of("a/b.MP4").unwrap(), Kind::Video);
        assert_eq!(of("b.png").unwrap(), Kind::Sheet);
        assert_eq!(of("-").unwrap(), Kind::Nothing);
        let Kind::Frames(pattern) = of("f/%05d.png").unwrap() else { panic!() };
        assert_eq!(pattern.path(42), Path::new("f/00042.png"));
        assert_eq!(Pattern::of("a%d-b.png").unwrap().path(7), Path::new("a7-b.png"));
        for bad in ["", "a", "a.gif", "%x.png", "%d%d.png", "%99d.png", "%.png", "%-3d.png"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
