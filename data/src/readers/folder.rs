//! A folder of images with one subfolder per class.

use std::path::{Path, PathBuf};

use kiln_tensor_core::{Error, Result};

use super::wrong;
use crate::{Dataset, Image};

/// Endings of files that count as images.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Images in one subfolder per class: `root/cat/1.png`, `root/dog/7.jpg`. Classes and files are in the
/// order of their names. A file is read when its item is asked for.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    files: Vec<(PathBuf, i64)>,
    classes: Vec<String>,
}

impl ImageFolder {
    /// Lists the classes and their files.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed, [`Error::Format`] if there is no class or a class
    /// has no PNG or JPEG file.
    pub fn new(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let folders: Vec<PathBuf> = entries(root)?.into_iter().filter(|p| p.is_dir()).collect();
        if folders.is_empty() {
            return Err(wrong(root, "holds no subfolder; each class of images wants one"));
        }
        let (mut files, mut classes) = (Vec::new(), Vec::new());
        for folder in folders {
            let before = files.len();
            let label = classes.len() as i64;
            files.extend(entries(&folder)?.into_iter().filter(|p| is_image(p)).map(|p| (p, label)));
            if files.len() == before {
                return Err(wrong(&folder, "holds no .png, .jpg or .jpeg file"));
            }
            classes.push(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
        Ok(ImageFolder { files, classes })
    }

    /// The names of the classes; label `i` means `classes()[i]`.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The files and their labels, in order.
    pub fn files(&self) -> &[(PathBuf, i64)] {
        &self.files
    }

    /// The labels, in order.
    pub fn labels(&self) -> Vec<i64> {
        self.files.iter().map(|&(_, label)| label).collect()
    }
}

/// An item is an RGB image and its label.
impl Dataset for ImageFolder {
    type Item = (Image, i64);

    fn len(&self) -> usize {
        self.files.len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        let (path, label) = &self.files[index];
        Ok((Image::open(path)?.into_rgb(), *label))
    }
}

/// What a folder holds, sorted by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || {
        let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        let mut paths: Vec<PathBuf> = paths.collect::<std::io::Result<_>>()?;
        paths.sort();
        Ok(paths)
    };
    list().map_err(|source| Error::Io { path: folder.into(), source })
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ENDINGS.contains(&&*ending) && path.is_file()
}
