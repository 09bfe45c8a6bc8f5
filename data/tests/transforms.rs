//! Transforms from images to tensors.

mod common;

use common::device;
use kiln_conformance::Reference;
use kiln_data::transforms::{
    CenterCrop, Grayscale, Normalize, RandomCrop, RandomHorizontalFlip, Resize, ToTensor,
};
use kiln_data::{DataLoader, Dataset, Image, Rng, Transform, digits};
use kiln_tensor_core::catch;

/// A gray image whose pixels count up.
fn counting(height: usize, width: usize) -> Image {
    Image::new(height, width, 1, (0..(height * width) as u8).collect())
}

fn apply<T: Transform>(transform: T, x: T::Input) -> T::Output {
    transform.apply(x, &mut Rng::new(0, 0))
}

#[test]
fn to_tensor_puts_channels_first_and_scales() {
    let image = Image::new(1, 2, 3, vec![0, 51, 102, 153, 204, 255]);
    let x = apply(ToTensor::<Reference>::new(&device()), image);
    assert_eq!(x.dims(), [3, 1, 2]);
    assert_eq!(x.to_vec::<f32>(), [0.0, 0.6, 0.2, 0.8, 0.4, 1.0]);
    let image = Image::new(1, 2, 1, vec![4, 16]).with_white(16);
    assert_eq!(apply(ToTensor::<Reference>::new(&device()), image).to_vec::<f32>(), [0.25, 1.0]);
}

#[test]
fn normalize_works_by_channel() {
    let normalize = Normalize::<Reference>::new(&[1.0, 2.0], &[0.5, 4.0], &device());
    let x = common::Tensor::from_slice(&[1.0f32, 2.0, 2.0, 10.0], [2, 1, 2], &device());
    assert_eq!(apply(normalize.clone(), x.clone()).to_vec::<f32>(), [0.0, 2.0, 0.0, 2.0]);
    // A whole batch goes too.
    assert_eq!(apply(normalize, x.unsqueeze(0)).dims(), [1, 2, 1, 2]);
    assert!(catch(|| Normalize::<Reference>::new(&[0.0], &[0.0], &device())).is_err());
    assert!(catch(|| Normalize::<Reference>::new(&[0.0], &[1.0, 1.0], &device())).is_err());
}

#[test]
fn crops_and_flips_move_pixels() {
    let image = counting(3, 4); // 0 1 2 3 / 4 5 6 7 / 8 9 10 11
    assert_eq!(image.crop(1, 2, 2, 2).pixels(), [6, 7, 10, 11]);
    assert_eq!(image.crop(-1, -1, 2, 3).pixels(), [0, 0, 0, 0, 0, 1]);
    assert_eq!(image.crop(2, 3, 2, 2).pixels(), [11, 0, 0, 0]);
    assert_eq!(image.crop(9, 9, 1, 1).pixels(), [0]);
    assert_eq!(image.crop(0, -9, 1, 2).pixels(), [0, 0]);
    assert_eq!(apply(CenterCrop::new(1, 2), image.clone()).pixels(), [5, 6]);
    // torchvision: 3 rows to 2 cut at round(0.5) = 0; one missing row is padded at the end.
    assert_eq!(apply(CenterCrop::new(2, 4), image.clone()).pixels()[0], 0);
    assert_eq!(apply(CenterCrop::new(4, 4), image.clone()).pixels()[0], 0);
    let flipped = apply(RandomHorizontalFlip::new(1.0), image.clone());
    assert_eq!(flipped.pixels(), [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8]);
    assert_eq!(apply(RandomHorizontalFlip::new(0.0), image.clone()), image);
    let rgb = Image::new(1, 2, 3, vec![1, 2, 3, 4, 5, 6]).flip_horizontal();
    assert_eq!(rgb.pixels(), [4, 5, 6, 1, 2, 3]);
}

#[test]
fn random_crops_reach_every_place() {
    let crop = RandomCrop::new(2, 2).padding(1);
    let mut rng = Rng::new(1, 0);
    let mut corners: Vec<u8> =
        (0..300).map(|_| crop.apply(counting(3, 3), &mut rng).pixels()[3]).collect();
    corners.sort_unstable();
    corners.dedup();
    // The lower right pixel of the crop: each of the nine, and the padding (0 as well).
    assert_eq!(corners, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let error = catch(|| apply(RandomCrop::new(4, 4), counting(3, 3))).unwrap_err();
    assert!(error.to_string().contains("4 pixels do not fit into 3"), "{error}");
}

#[test]
fn resize_interpolates() {
    // Doubling a ramp, worked out by hand: samples at −0.25, 0.25, 0.75, 1.25 of pixels 0 and 100.
    let ramp = Image::new(1, 2, 1, vec![0, 100]);
    assert_eq!(apply(Resize::new(1, 4), ramp.clone()).pixels(), [0, 25, 75, 100]);
    // Shrinking averages instead of skipping pixels.
    let stripes = Image::new(1, 8, 1, vec![0, 200, 0, 200, 0, 200, 0, 200]);
    let small = apply(Resize::new(1, 2), stripes);
    assert!(small.pixels().iter().all(|p| p.abs_diff(100) < 20), "{small:?} {:?}", small.pixels());
    let same = Image::new(2, 2, 3, (0..12).collect());
    assert_eq!(apply(Resize::new(2, 2), same.clone()), same);
    assert!(catch(|| ramp.resize(0, 4)).is_err());
}

#[test]
fn gray_is_pils_luma() {
    let image = Image::new(1, 4, 3, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30]);
    // PIL.Image.convert("L") of these pixels.
    assert_eq!(apply(Grayscale, image).pixels(), [76, 150, 29, 18]);
}

#[test]
fn augmentation_follows_seed_epoch_and_position_alone() {
    let data = |seed| {
        let augment = RandomCrop::new(8, 8)
            .padding(2)
            .then(RandomHorizontalFlip::new(0.5))
            .then(ToTensor::<Reference>::new(&device()));
        digits().subset((0..20).collect::<Vec<_>>()).transform(augment).seed(seed)
    };
    let run = |seed, workers: usize| -> Vec<Vec<f32>> {
        let loader = DataLoader::new(data(seed)).batch_size(6).workers(workers);
        let both = loader.epoch().chain(loader.epoch()).collect::<Vec<_>>();
        both.iter().map(|(x, _)| x.to_vec()).collect()
    };
    let one = run(1, 0);
    assert_eq!(one, run(1, 3));
    assert_ne!(one, run(2, 0));
    assert_ne!(one[..4], one[4..], "each epoch sees other variants");
}
