//! Images in files: PNG both ways, JPEG to read.

use std::io::Cursor;
use std::path::Path;

use kiln_tensor_core::{Error, Result};
use png::{BitDepth, ColorType, Decoder, Encoder, Limits, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Image;
use crate::readers::{MAX_INFLATION, wrong};
use crate::write_atomic;

/// More than this for one image is refused, whatever its file promises.
const MAX_DECODED: u64 = 1 << 30;

/// What a file of each format starts with.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

impl Image {
    /// Reads a PNG or JPEG file. Gray stays gray, everything else becomes RGB; transparency is dropped.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it is not such an image, is
    /// damaged, or claims more pixels than a file of its length can hold.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
        Self::decode(&bytes, &path.display().to_string())
    }

    /// Reads a PNG or JPEG image that is in memory; `name` stands for the file in messages.
    ///
    /// # Errors
    /// [`Error::Format`] as for [`Image::open`].
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self> {
        let most = (bytes.len() as u64 + 64).saturating_mul(MAX_INFLATION).min(MAX_DECODED);
        let decoded = if bytes.starts_with(PNG) {
            decode_png(bytes, most)
        } else if bytes.starts_with(JPEG) {
            decode_jpeg(bytes, most)
        } else {
            Err("it is neither PNG nor JPEG".into())
        };
        decoded.map_err(|why| wrong(Path::new(name), format!("no readable image: {why}")))
    }

    /// The image as a PNG file: gray, gray with alpha, RGB or RGBA by the number of channels.
    ///
    /// # Errors
    /// [`Error::Argument`] if the image has no pixels, which PNG cannot say.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let refuse = |why: String| Error::Argument { op: "Image::to_png", why };
        let size = |n: usize| {
            u32::try_from(n).map_err(|_| refuse(format!("{self:?} is too large for PNG")))
        };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, size(self.width)?, size(self.height)?);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_color(match self.channels {
            1 => ColorType::Grayscale,
            2 => ColorType::GrayscaleAlpha,
            3 => ColorType::Rgb,
            _ => ColorType::Rgba,
        });
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&self.full_range())?;
            writer.finish()
        });
        written.map_err(|error| refuse(format!("{self:?}: {error}")))?;
        Ok(bytes)
    }

    /// Writes the image to a PNG file, whole or not at all.
    ///
    /// # Errors
    /// As [`Image::to_png`]; also [`Error::Io`] if the file cannot be written, and [`Error::Argument`]
    /// if its name does not end in `.png`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
            let why = format!("{}: images are written as .png", path.display());
            return Err(Error::Argument { op: "Image::save", why });
        }
        write_atomic(path, &self.to_png()?)
    }
}

type Decoded = std::result::Result<Image, String>;

fn too_large(width: impl Into<u64>, height: impl Into<u64>, most: u64) -> String {
    let (width, height) = (width.into(), height.into());
    format!("it claims {width}×{height} pixels; the limit for a file of its length is {most} bytes")
}

fn decode_png(bytes: &[u8], most: u64) -> Decoded {
    let fail = |error: png::DecodingError| error.to_string();
    let limits = Limits { bytes: usize::try_from(most).unwrap_or(usize::MAX) };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    // Palettes and fewer bits than eight become eight; sixteen are rounded below.
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(fail)?;
    let (width, height) = reader.info().size();
    let size = reader.output_buffer_size().filter(|&size| size as u64 <= most);
    let mut pixels = vec![0; size.ok_or_else(|| too_large(width, height, most))?];
    reader.next_frame(&mut pixels).map_err(fail)?;
    let (color, depth) = reader.output_color_type();
    if depth == BitDepth::Sixteen {
        // Of 65,535 to 255, to nearest.
        let narrow = |p: &[u8]| ((u32::from(p[0]) * 256 + u32::from(p[1]) + 128) / 257) as u8;
        pixels = pixels.chunks_exact(2).map(narrow).collect();
    }
    let image = Image::new(height as usize, width as usize, color.samples(), pixels);
    Ok(if color == ColorType::Grayscale { image } else { image.into_rgb() })
}

fn decode_jpeg(bytes: &[u8], most: u64) -> Decoded {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    let gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (space, channels) = if gray { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    if (width as u64).saturating_mul(height as u64).saturating_mul(channels as u64) > most {
        return Err(too_large(width as u64, height as u64, most));
    }
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    if pixels.len() != width * height * channels {
        return Err("it has not as many pixels as it says".into());
    }
    Ok(Image::new(height, width, channels, pixels))
}
