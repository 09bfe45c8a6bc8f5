//! Events as messages: TensorFlow's `event.proto`, `summary.proto` and `tensor.proto`, and `plugin_data.proto`
//! of TensorBoard's plugin for hyperparameters. A field's number stands beside its name.

use std::path::Path;

use kiln_tensor_core::{Error, Result};

use super::record::{Field, Message, fields, unframe};
use super::{HParam, Histogram};
use crate::readers::wrong;

/// What an event file says first.
pub(super) const VERSION: &str = "brain.Event:2";

/// One event of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it was written, in seconds since 1970.
    pub wall_time: f64,
    /// The step of the training.
    pub step: i64,
    /// Tags and what they got.
    pub values: Vec<(String, Summary)>,
}

/// What a tag got in an event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Summary {
    /// A number.
    Scalar(f32),
    /// How values are distributed.
    Histogram(Histogram),
    /// An image, as the bytes of a PNG file.
    Image {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// The file.
        png: Vec<u8>,
    },
    /// A text.
    Text(String),
    /// Something for one of TensorBoard's plugins.
    Plugin {
        /// The plugin's name.
        name: String,
        /// A message that it understands.
        content: Vec<u8>,
    },
}

pub(super) fn version(wall_time: f64) -> Vec<u8> {
    Message::default().double(1, wall_time).text(3, VERSION).finish()
}

pub(super) fn event(wall_time: f64, step: i64, value: Message) -> Vec<u8> {
    let summary = Message::default().message(1, value);
    Message::default().double(1, wall_time).int(2, step).message(5, summary).finish()
}

pub(super) fn scalar(tag: &str, value: f32) -> Message {
    Message::default().text(1, tag).float(2, value)
}

pub(super) fn image(
    tag: &str,
    height: usize,
    width: usize,
    channels: usize,
    png: &[u8],
) -> Message {
    let image = Message::default()
        .int(1, height as i64)
        .int(2, width as i64)
        .int(3, channels as i64)
        .bytes(4, png);
    Message::default().text(1, tag).message(4, image)
}

pub(super) fn histogram(tag: &str, histogram: &Histogram) -> Message {
    let proto = Message::default()
        .double(1, histogram.min)
        .double(2, histogram.max)
        .double(3, histogram.num)
        .double(4, histogram.sum)
        .double(5, histogram.sum_squares)
        .doubles(6, &histogram.limits)
        .doubles(7, &histogram.counts);
    Message::default().text(1, tag).message(5, proto)
}

pub(super) fn text(tag: &str, text: &str) -> Message {
    const DT_STRING: i64 = 7;
    let shape = Message::default().message(2, Message::default().int(1, 1));
    let tensor = Message::default().int(1, DT_STRING).message(2, shape).text(8, text);
    let tag = format!("{tag}/text_summary");
    Message::default()
        .text(1, &tag)
        .message(8, tensor)
        .message(9, plugin("text", Message::default()))
}

fn plugin(name: &str, content: Message) -> Message {
    let data = Message::default().text(1, name).message(2, content);
    Message::default().message(1, data)
}

/// The three summaries that make a run show among the hyperparameters.
pub(super) fn hparams(hparams: &[(&str, HParam)], metrics: &[(&str, f64)]) -> [Message; 3] {
    let mut experiment = Message::default();
    let mut start = Message::default();
    for (name, value) in hparams {
        let (kind, value) = match value {
            HParam::Text(text) => (1, Message::default().text(3, text)),
            HParam::Bool(yes) => (2, Message::default().int(4, (*yes).into())),
            HParam::Number(number) => (3, Message::default().double(2, *number)),
        };
        experiment = experiment.message(4, Message::default().text(1, name).int(4, kind));
        start = start.message(1, Message::default().text(1, name).message(2, value));
    }
    for (tag, _) in metrics {
        let name = Message::default().text(2, tag);
        experiment = experiment.message(5, Message::default().message(1, name));
    }
    const SUCCESS: i64 = 1;
    let end = Message::default().int(1, SUCCESS);
    let summary = |name: &str, field: u64, data: Message| {
        let content = Message::default().message(field, data);
        let tag = format!("_hparams_/{name}");
        Message::default().text(1, &tag).message(9, plugin("hparams", content))
    };
    [
        summary("experiment", 2, experiment),
        summary("session_start_info", 3, start),
        summary("session_end_info", 4, end),
    ]
}

/// Reads an event file, of TensorBoard's or ours. Summaries of kinds that are not listed in [`Summary`]
/// are left out.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it is damaged.
pub fn read_events(path: impl AsRef<Path>) -> Result<Vec<Event>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    parse(&bytes).map_err(|why| wrong(path, why))
}

type Parsed<T> = std::result::Result<T, String>;

pub(super) fn parse(mut bytes: &[u8]) -> Parsed<Vec<Event>> {
    let mut events = Vec::new();
    while let Some(record) = unframe(&mut bytes)? {
        let mut event = Event { wall_time: 0.0, step: 0, values: Vec::new() };
        for (number, field) in fields(record)? {
            match (number, field) {
                (1, time @ Field::Fixed64(_)) => event.wall_time = time.double(),
                (2, Field::Int(step)) => event.step = step as i64,
                (5, Field::Bytes(summary)) => {
                    for (number, field) in fields(summary)? {
                        if let (1, Field::Bytes(value)) = (number, field) {
                            event.values.extend(parse_value(value)?);
                        }
                    }
                }
                _ => {}
            }
        }
        events.push(event);
    }
    Ok(events)
}

fn parse_value(bytes: &[u8]) -> Parsed<Option<(String, Summary)>> {
    let (mut tag, mut summary, mut named, mut words) = (String::new(), None, None, None);
    for (number, field) in fields(bytes)? {
        match (number, &field) {
            (1, Field::Bytes(_)) => tag = field.text(),
            (2, Field::Fixed32(value)) => {
                summary = Some(Summary::Scalar(f32::from_le_bytes(*value)));
            }
            (4, Field::Bytes(image)) => summary = Some(parse_image(image)?),
            (5, Field::Bytes(histogram)) => summary = Some(parse_histogram(histogram)?),
            (8, Field::Bytes(tensor)) => {
                let mut texts = fields(tensor)?.into_iter().filter(|(number, _)| *number == 8);
                words = texts.next().map(|(_, text)| text.text());
            }
            (9, Field::Bytes(metadata)) => {
                for (number, field) in fields(metadata)? {
                    if let (1, Field::Bytes(data)) = (number, field) {
                        let (mut name, mut content) = (String::new(), Vec::new());
                        for (number, field) in fields(data)? {
                            match (number, &field) {
                                (1, _) => name = field.text(),
                                (2, Field::Bytes(bytes)) => content = bytes.to_vec(),
                                _ => {}
                            }
                        }
                        named = Some((name, content));
                    }
                }
            }
            _ => {}
        }
    }
    let summary = summary.or(match (named, words) {
        (Some((name, _)), Some(text)) if name == "text" => Some(Summary::Text(text)),
        (Some((name, content)), _) => Some(Summary::Plugin { name, content }),
        (None, _) => None,
    });
    Ok(summary.map(|summary| (tag, summary)))
}

fn parse_image(bytes: &[u8]) -> Parsed<Summary> {
    let (mut height, mut width, mut png) = (0, 0, Vec::new());
    for (number, field) in fields(bytes)? {
        match (number, field) {
            (1, Field::Int(rows)) => height = rows as usize,
            (2, Field::Int(columns)) => width = columns as usize,
            (4, Field::Bytes(bytes)) => png = bytes.to_vec(),
            _ => {}
        }
    }
    Ok(Summary::Image { height, width, png })
}

fn parse_histogram(bytes: &[u8]) -> Parsed<Summary> {
    let mut h = Histogram::default();
    for (number, field) in fields(bytes)? {
        match number {
            1 => h.min = field.double(),
            2 => h.max = field.double(),
            3 => h.num = field.double(),
            4 => h.sum = field.double(),
            5 => h.sum_squares = field.double(),
            6 => h.limits.extend(field.doubles()),
            7 => h.counts.extend(field.doubles()),
            _ => {}
        }
    }
    Ok(Summary::Histogram(h))
}
