//! Well-known sets of real images.

use std::path::{Path, PathBuf};

use kiln_tensor_core::{Error, Result};

use crate::readers::Source;
use crate::{Column, CsvReader, ImageDataset, read_idx_images};

/// 1,797 real handwritten digits of 8×8 pixels with values from 0 to 16, which ship with this crate.
///
/// They are the test part of *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak,
/// 1998, UCI Machine Learning Repository, CC BY 4.0), as scikit-learn has it.
///
/// ```
/// use kiln_data::Dataset;
/// let digits = kiln_data::digits();
/// assert_eq!(digits.len(), 1797);
/// assert_eq!(digits.shape(), [1797, 8, 8, 1]);
/// ```
pub fn digits() -> ImageDataset {
    const FILE: &[u8] = include_bytes!("../assets/digits.csv.gz");
    let table = Source::bytes("digits.csv.gz", FILE)
        .and_then(|source| CsvReader::new().header(false).source(source, "digits.csv.gz"))
        .expect("the file that ships with the crate is whole");
    let column = |at: usize| match &table.columns()[at] {
        Column::Int(values) => values,
        other => unreachable!("the digits are whole numbers, not {other:?}"),
    };
    let pixels = (0..table.rows()).flat_map(|row| (0..64).map(move |at| (at, row)));
    let pixels = pixels.map(|(at, row)| column(at)[row] as u8).collect();
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    ImageDataset::new(pixels, [table.rows(), 8, 8, 1], column(64).clone(), classes).with_white(16)
}

/// Shakespeare's 154 sonnets (1609), 93,741 characters, which ship with this crate: 14 lines each, mostly, and an empty
/// line between two.
///
/// ```
/// let text = kiln_data::sonnets();
/// assert!(text.starts_with("FROM fairest creatures we desire increase,\n"));
/// ```
pub fn sonnets() -> String {
    const FILE: &[u8] = include_bytes!("../assets/sonnets.txt.gz");
    let bytes = Source::bytes("sonnets.txt.gz", FILE).and_then(|mut file| file.take_all(1 << 20));
    let bytes = bytes.expect("the file that ships with the crate is whole");
    String::from_utf8(bytes).expect("the sonnets are ASCII")
}

/// Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017, MIT licence): 28×28 gray images of clothes in
/// 10 classes.
#[derive(Clone, Debug)]
pub struct FashionMnist {
    /// 60,000 images to learn from.
    pub train: ImageDataset,
    /// 10,000 images to be judged by.
    pub test: ImageDataset,
}

/// Where Debian's package `dataset-fashion-mnist` puts the files.
const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

const CLOTHES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Reads Fashion-MNIST from its four IDX files, plain or `.gz`, in `folder`; without one, from where
/// Debian's package `dataset-fashion-mnist` puts them.
///
/// # Errors
/// [`Error::Io`], which says how to get the files, if they are not there; otherwise as
/// [`read_idx_images`].
pub fn fashion_mnist(folder: Option<&Path>) -> Result<FashionMnist> {
    let folder = folder.unwrap_or(Path::new(DEBIAN));
    let read = |part: &str| {
        let images = idx_file(folder, &format!("{part}-images-idx3-ubyte"))?;
        let labels = idx_file(folder, &format!("{part}-labels-idx1-ubyte"))?;
        read_idx_images(images, labels, &CLOTHES)
    };
    Ok(FashionMnist { train: read("train")?, test: read("t10k")? })
}

fn idx_file(folder: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [folder.join(name), folder.join(format!("{name}.gz"))];
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| Error::Io {
        path: folder.join(name),
        source: std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "Fashion-MNIST is not here (nor the same name with .gz). Install it with \
             `sudo apt-get install dataset-fashion-mnist`, or download its four files from \
             https://github.com/zalandoresearch/fashion-mnist and name their folder",
        ),
    })
}
