//! CSV, plain or gzip, into typed columns.

use std::path::Path;

use kiln_tensor_core::{Backend, Error, Result, Tensor, raise};

use super::Source;

/// How to read a CSV file.
///
/// ```
/// use kiln_data::{Column, CsvReader};
/// let table = CsvReader::new().parse("x,y,name\n1,0.5,a\n2,1.5,b\n", "points").unwrap();
/// assert_eq!(table.names(), ["x", "y", "name"]);
/// assert_eq!(table.column("x"), &Column::Int(vec![1, 2]));
/// assert_eq!(table.column("y"), &Column::Float(vec![0.5, 1.5]));
/// ```
#[derive(Clone, Debug)]
pub struct CsvReader {
    header: bool,
    delimiter: u8,
    limit: u64,
}

impl Default for CsvReader {
    fn default() -> Self {
        CsvReader { header: true, delimiter: b',', limit: 1 << 28 }
    }
}

impl CsvReader {
    /// A header line, commas, at most 256 MiB of text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the first line names the columns; without one they are called `0`, `1`, ….
    pub fn header(mut self, yes: bool) -> Self {
        self.header = yes;
        self
    }

    /// The byte between cells.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// The most bytes of text to accept, decompressed.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Reads a file, plain or gzip.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Format`], with the line where there is one, if it
    /// is not UTF-8, rows differ in length, the gzip data are damaged, or the text exceeds the limit.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Table> {
        let path = path.as_ref();
        self.source(Source::open(path)?, &path.display().to_string())
    }

    /// Reads text that is in memory; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`CsvReader::read`].
    pub fn parse(&self, text: &str, name: &str) -> Result<Table> {
        self.table(text, name)
    }

    pub(crate) fn source(&self, mut source: Source<'_>, name: &str) -> Result<Table> {
        let bytes = source.take_all(self.limit)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            source.wrong(format!("line {line} is not UTF-8"))
        })?;
        self.table(text, name)
    }

    fn table(&self, text: &str, name: &str) -> Result<Table> {
        let wrong = |why: String| Error::Format { what: name.into(), why };
        // Two passes over text in memory: the first finds each column's type, the second fills it.
        let mut kinds: Vec<Kind> = Vec::new();
        let (mut names, mut rows) = (Vec::new(), 0);
        for (at, record) in self.records(text).enumerate() {
            let record = record.map_err(|e| wrong(e.to_string()))?;
            if at == 0 {
                kinds = vec![Kind::Int; record.len()];
                if self.header {
                    names = record.iter().map(|cell| cell.trim().to_owned()).collect();
                    continue;
                }
                names = (0..record.len()).map(|i| i.to_string()).collect();
            }
            rows += 1;
            kinds.iter_mut().zip(&record).for_each(|(kind, cell)| *kind = kind.or(cell.trim()));
        }
        if rows == 0 {
            return Err(wrong("holds no rows".into()));
        }
        if let Some(twice) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
            return Err(wrong(format!("has two columns `{}`", names[twice])));
        }
        let mut columns: Vec<Column> = kinds.iter().map(|kind| kind.column(rows)).collect();
        for record in self.records(text).skip(usize::from(self.header)).flatten() {
            columns.iter_mut().zip(&record).for_each(|(column, cell)| column.push(cell.trim()));
        }
        Ok(Table { names, columns, rows, source: name.into() })
    }

    fn records<'a>(
        &self,
        text: &'a str,
    ) -> impl Iterator<Item = csv::Result<csv::StringRecord>> + use<'a> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(self.delimiter)
            .from_reader(text.as_bytes())
            .into_records()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Int,
    Float,
    Text,
}

impl Kind {
    /// The narrowest type for what has been seen and this cell.
    fn or(self, cell: &str) -> Kind {
        match self {
            Kind::Int if cell.parse::<i64>().is_ok() => Kind::Int,
            Kind::Int | Kind::Float if number(cell).is_some() => Kind::Float,
            _ => Kind::Text,
        }
    }

    fn column(self, rows: usize) -> Column {
        match self {
            Kind::Int => Column::Int(Vec::with_capacity(rows)),
            Kind::Float => Column::Float(Vec::with_capacity(rows)),
            Kind::Text => Column::Text(Vec::with_capacity(rows)),
        }
    }
}

/// A number; an empty cell among numbers is a missing one, NaN.
fn number(cell: &str) -> Option<f64> {
    if cell.is_empty() { Some(f64::NAN) } else { cell.parse().ok() }
}

/// A column of the narrowest type that holds all its cells.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Whole numbers.
    Int(Vec<i64>),
    /// Numbers; an empty cell is NaN.
    Float(Vec<f64>),
    /// Anything else, without the blanks around it.
    Text(Vec<String>),
}

impl Column {
    fn push(&mut self, cell: &str) {
        match self {
            Column::Int(v) => v.push(cell.parse().unwrap_or_default()),
            Column::Float(v) => v.push(number(cell).unwrap_or(f64::NAN)),
            Column::Text(v) => v.push(cell.into()),
        }
    }

    /// The value of row `row` as a float, unless it is text.
    fn float(&self, row: usize) -> Option<f64> {
        match self {
            Column::Int(v) => Some(v[row] as f64),
            Column::Float(v) => Some(v[row]),
            Column::Text(_) => None,
        }
    }
}

/// What a CSV file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
    source: String,
}

impl Table {
    /// The columns' names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Number of rows, the header not counted.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The column of this name.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn column(&self, name: &str) -> &Column {
        match self.names.iter().position(|n| n == name) {
            Some(at) => &self.columns[at],
            None => raise(Error::Argument {
                op: "Table::column",
                why: format!("there is no column `{name}`; there are {}", self.names.join(", ")),
            }),
        }
    }

    /// Columns of numbers as one `f32` tensor `[rows, names.len()]`.
    ///
    /// # Errors
    /// [`Error::Format`] if a column holds text.
    ///
    /// # Panics
    /// If there is no such column.
    #[track_caller]
    pub fn tensor<B: Backend>(
        &self,
        names: &[impl AsRef<str>],
        device: &B::Device,
    ) -> Result<Tensor<B>> {
        let columns: Vec<&Column> = names.iter().map(|name| self.column(name.as_ref())).collect();
        let mut values = Vec::with_capacity(self.rows * columns.len());
        for row in 0..self.rows {
            for (column, name) in columns.iter().zip(names) {
                let Some(value) = column.float(row) else {
                    return Err(self.not(name.as_ref(), "numbers"));
                };
                values.push(value as f32);
            }
        }
        Ok(Tensor::from_slice(&values, [self.rows, columns.len()], device))
    }

    /// A column of whole numbers, such as labels, as an `i64` tensor `[rows]`.
    ///
    /// # Errors
    /// [`Error::Format`] if the column holds anything else.
    ///
    /// # Panics
    /// If there is no such column.
    #[track_caller]
    pub fn labels<B: Backend>(&self, name: &str, device: &B::Device) -> Result<Tensor<B>> {
        match self.column(name) {
            Column::Int(values) => Ok(Tensor::from_slice(values, [self.rows], device)),
            _ => Err(self.not(name, "whole numbers")),
        }
    }

    /// The distinct cells of a column, sorted, and each row's position among them: class names and
    /// labels.
    ///
    /// # Panics
    /// If there is no such column.
    #[track_caller]
    pub fn classes(&self, name: &str) -> (Vec<String>, Vec<i64>) {
        let cells: Vec<String> = match self.column(name) {
            Column::Int(v) => v.iter().map(ToString::to_string).collect(),
            Column::Float(v) => v.iter().map(ToString::to_string).collect(),
            Column::Text(v) => v.clone(),
        };
        let mut classes = cells.clone();
        classes.sort();
        classes.dedup();
        let labels = cells.iter().filter_map(|cell| classes.binary_search(cell).ok());
        let labels = labels.map(|at| at as i64).collect();
        (classes, labels)
    }

    fn not(&self, name: &str, wanted: &str) -> Error {
        Error::Format {
            what: self.source.clone(),
            why: format!("column `{name}` holds something other than {wanted}"),
        }
    }
}
