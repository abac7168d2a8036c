//! One session's video.

use super::effort::{efforts, ways};
use super::request::Request;
use super::{VIDEO, VideoModel, VideoSettings};
use crate::{
    Chunk, ChunkReport, Effort, GenerateError, Generator, InputMode, Needs, Output, Sampling, Snapshot,
};
use scope_frame::{Fit, Frame, Image, PixelFormat, Timestamp};
use scope_models::frames::{self, Picture};
use scope_models::noise::SeededNoise;
use scope_models::video::{Decoded, TextConditioner, VideoError, VideoStream};
use scope_models::wan::NoiseSource;

/// Pictures that a latent frame stands for.
const LATENT_PICTURES: usize = 4;

/// One session's run of a video model.
pub struct VideoRun {
    model: VideoModel,
    stream: VideoStream,
    /// Height and width of what is generated now.
    size: [usize; 2],
    text: Box<dyn TextConditioner + Send>,
    noise: Box<dyn NoiseSource + Send>,
    settings: VideoSettings,
    /// A reset that the next chunk makes.
    reset: bool,
}

impl VideoRun {
    /// A session whose noise follows from its seed.
    ///
    /// # Errors
    /// [`VideoError`] when the size does not suit the model, or its memory can't be had.
    pub fn new(
        model: &VideoModel,
        settings: VideoSettings,
        text: Box<dyn TextConditioner + Send>,
    ) -> Result<Self, VideoError> {
        let noise = SeededNoise::new(model.device(), settings.seed);
        Self::with_noise(model, settings, text, Box::new(noise))
    }

    /// A session with noise of the caller's: recorded noise, say.
    ///
    /// # Errors
    /// As [`VideoRun::new`].
    pub fn with_noise(
        model: &VideoModel,
        settings: VideoSettings,
        text: Box<dyn TextConditioner + Send>,
        noise: Box<dyn NoiseSource + Send>,
    ) -> Result<Self, VideoError> {
        let stream = model.stream(settings.size)?;
        let size = settings.size;
        Ok(Self { model: model.clone(), stream, size, text, noise, settings, reset: false })
    }

    /// The video's state.
    #[must_use]
    pub const fn stream(&self) -> &VideoStream {
        &self.stream
    }

    /// Input pictures of a chunk.
    fn chunk_pictures(&self) -> usize {
        LATENT_PICTURES * self.stream.chunks().family().chunk_frames
    }
}

impl Generator for VideoRun {
    fn needs(&self, mode: InputMode) -> Needs {
        match mode {
            InputMode::Text => Needs::Nothing,
            InputMode::Video => Needs::Frames { count: self.chunk_pictures(), sampling: Sampling::Uniform },
        }
    }

    fn generate(
        &mut self,
        chunk: Chunk<'_>,
        emit: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError> {
        let mut ways = ways(&self.settings, chunk.mode, chunk.parameters);
        let way = ways.swap_remove(chunk.effort.min(ways.len() - 1));
        if way.size != self.size {
            self.stream = self.model.stream(way.size).map_err(|error| failed(&error))?;
            self.size = way.size;
        }
        let request = Request::read(chunk.parameters, way.steps, &self.settings);
        let input = chunk.inputs.get(VIDEO).map_or(&[][..], Vec::as_slice);
        let images: Vec<Image> = input.iter().map(|frame| frame.image.to_rgb8()).collect();
        let video: Vec<Picture<'_>> = images.iter().map(picture).collect();
        let call = request.call((!video.is_empty()).then_some(&video), std::mem::take(&mut self.reset));
        let Self { model, stream, size, text, noise, settings, .. } = self;
        let mut show = Show { made: *size, shown: settings.size, input, emit, problem: None };
        model
            .device()
            .install(|| {
                stream.generate(&call, &mut **text, &mut **noise, &mut |decoded| show.pictures(&decoded))
            })
            .map_err(|error| failed(&error))?;
        let stages = stream.stages().named().to_vec();
        show.problem.map_or_else(|| Ok(ChunkReport { stages, ..ChunkReport::default() }), Err)
    }

    fn frame_rate(&self, mode: InputMode) -> Option<f64> {
        self.settings.frame_rate.filter(|_| mode == InputMode::Text)
    }

    fn efforts(&self, mode: InputMode, parameters: &Snapshot) -> Vec<Effort> {
        efforts(&ways(&self.settings, mode, parameters))
    }

    fn least_rate(&self, _mode: InputMode) -> Option<f64> {
        self.settings.frame_rate
    }

    fn reset(&mut self) {
        self.reset = true;
    }
}

/// Hands out pictures as they are decoded.
struct Show<'a> {
    /// Height and width of what is generated.
    made: [usize; 2],
    /// Height and width of what is handed out.
    shown: [usize; 2],
    /// What the chunk was made from, oldest first.
    input: &'a [Frame],
    emit: &'a mut (dyn FnMut(Output) + Send),
    problem: Option<GenerateError>,
}

impl Show<'_> {
    fn pictures(&mut self, decoded: &Decoded) {
        if let Err(problem) = self.try_pictures(decoded) {
            self.problem.get_or_insert(problem);
        }
    }

    fn try_pictures(&mut self, decoded: &Decoded) -> Result<(), GenerateError> {
        let [height, width] = self.made;
        let [shown_height, shown_width] = self.shown;
        let bytes = frames::bytes(&decoded.pictures).map_err(|error| failed(&error))?;
        for (index, bytes) in bytes.chunks_exact(height * width * 3).enumerate() {
            let image = Image::new(PixelFormat::Rgb8, width as u32, height as u32, bytes.to_vec())
                .and_then(|image| image.resized(shown_width as u32, shown_height as u32, Fit::Stretch))
                .map_err(|error| failed(&error))?;
            let captured_at = self.captured_at(decoded.first + index, decoded.total);
            (self.emit)(Output::Frame { port: VIDEO.into(), image, captured_at });
        }
        Ok(())
    }

    /// The time of the input picture that a picture was made from: the inputs are spread over the chunk.
    fn captured_at(&self, index: usize, total: usize) -> Option<Timestamp> {
        let source = index * self.input.len() / total.max(1);
        self.input.get(source).map(|frame| frame.captured_at)
    }
}

fn picture(image: &Image) -> Picture<'_> {
    Picture { height: image.height() as usize, width: image.width() as usize, bytes: image.data() }
}

fn failed(error: &dyn ToString) -> GenerateError {
    GenerateError::Failed(error.to_string())
}
