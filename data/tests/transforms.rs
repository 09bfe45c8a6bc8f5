//! Transforms from images to tensors.

mod common;

use common::device;
use kiln_conformance::Reference;
use kiln_data::transforms::{
    CenterCrop, ColorJitter, GaussianBlur, Grayscale, Interpolation, Lambda, Normalize, Pad,
    RandomAffine, RandomApply, RandomChoice, RandomCrop, RandomErasing, RandomGrayscale,
    RandomHorizontalFlip, RandomResizedCrop, RandomRotation, RandomVerticalFlip, Resize, ToTensor,
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

#[test]
fn turning_and_shearing_are_pils() {
    let table: serde_json::Value = serde_json::from_slice(&common::picture("pixels.json")).unwrap();
    let image = Image::decode(&common::picture("rgb.png"), "rgb.png").unwrap();
    let check = |name: &str, changed: Image| {
        let list = table["changed"][name].as_array().unwrap();
        let list: Vec<u8> = list.iter().map(|v| v.as_u64().unwrap() as u8).collect();
        // Between four pixels, a value next to a whole number is cut to either.
        let most = u8::from(name.ends_with("bilinear"));
        let far = changed.pixels().iter().zip(&list).position(|(a, b)| a.abs_diff(*b) > most);
        assert_eq!((far, changed.pixels().len()), (None, list.len()), "{name}");
    };
    let turn = RandomRotation::range(30.0, 30.0).fill(7);
    check("rotated", apply(turn, image.clone()));
    check("rotated_bilinear", apply(turn.interpolation(Interpolation::Bilinear), image.clone()));
    let shear = RandomAffine::new(0.0).shear(15.0, 15.0).fill(7);
    check("affine", apply(shear.scale(1.2, 1.2), image.clone()));
    let soft = shear.scale(0.8, 0.8).interpolation(Interpolation::Bilinear);
    check("affine_bilinear", apply(soft, image));
}

#[test]
fn flips_pads_and_sizes() {
    let image = counting(2, 3); // 0 1 2 / 3 4 5
    assert_eq!(apply(RandomVerticalFlip::new(1.0), image.clone()).pixels(), [3, 4, 5, 0, 1, 2]);
    assert_eq!(apply(RandomVerticalFlip::new(0.0), image.clone()), image);
    let padded = apply(Pad::sides(1, 0, 0, 2).fill(9), image.clone());
    assert_eq!(padded.pixels(), [9, 0, 1, 2, 9, 3, 4, 5, 9, 9, 9, 9, 9, 9, 9, 9]);
    assert_eq!(apply(Pad::new(3), image).height(), 8);
    let size = |image: Image| (image.height(), image.width());
    // torchvision: the longer edge is cut to a whole pixel.
    assert_eq!(size(apply(Resize::shorter(4), counting(7, 5))), (5, 4));
    assert_eq!(size(apply(Resize::shorter(4), counting(5, 7))), (4, 5));
    assert_eq!(size(apply(RandomResizedCrop::new(3, 6), counting(9, 5))), (3, 6));
    // Of one proportion and the whole area there is one part, or none: then the largest in the middle.
    let whole = RandomResizedCrop::new(4, 4).scale(1.0, 1.0).ratio(1.0, 1.0);
    assert_eq!(apply(whole, counting(4, 4)), counting(4, 4));
    assert_eq!(apply(whole, counting(4, 6)), counting(4, 6).crop(0, 1, 4, 4));
    let moved = RandomAffine::new(0.0).translate(0.5, 0.0);
    let mut rng = Rng::new(2, 0);
    let mut firsts: Vec<u8> = (0..200)
        .map(|_| moved.apply(Image::new(1, 4, 1, vec![1, 2, 3, 4]), &mut rng).pixels()[1])
        .collect();
    firsts.sort_unstable();
    firsts.dedup();
    // Two pixels to the right up to two to the left.
    assert_eq!(firsts, [0, 1, 2, 3, 4]);
}

#[test]
fn chances_and_choices() {
    let count = |transform: &dyn Transform<Input = i32, Output = i32>| {
        let mut rng = Rng::new(4, 0);
        (0..1000).filter(|_| transform.apply(0, &mut rng) == 1).count()
    };
    let one = || Lambda::new(|x: i32| x + 1);
    // Six standard deviations of a binomial count around 300 and 500.
    assert!(count(&RandomApply::new(one(), 0.3)).abs_diff(300) < 90);
    assert!(count(&RandomChoice::new(one()).or(Lambda::new(|x: i32| x - 1))).abs_diff(500) < 100);
    let rgb = Image::new(1, 1, 3, vec![255, 0, 0]);
    assert_eq!(apply(RandomGrayscale::new(1.0), rgb.clone()).pixels(), [76; 3]);
    assert_eq!(apply(RandomGrayscale::new(0.0), rgb.clone()), rgb);
}

#[test]
fn colours_change_within_their_bounds() {
    let mut rng = Rng::new(6, 0);
    let gray = |rng: &mut Rng| {
        let jitter = ColorJitter::new().brightness(0.5).contrast(0.5).saturation(0.5).hue(0.1);
        jitter.apply(Image::new(1, 1, 3, vec![100; 3]), rng).pixels().to_vec()
    };
    let seen: Vec<Vec<u8>> = (0..200).map(|_| gray(&mut rng)).collect();
    // A gray pixel has no colour and no contrast: only its brightness changes, from 50 to 150.
    assert!(seen.iter().all(|p| p[0] == p[1] && (49..=150).contains(&p[0])), "{seen:?}");
    assert!(seen.iter().any(|p| p[0] < 70) && seen.iter().any(|p| p[0] > 130));
    assert_eq!(apply(ColorJitter::new(), counting(2, 2)), counting(2, 2));
    assert!(catch(|| ColorJitter::new().hue(0.6)).is_err());
    assert!(catch(|| GaussianBlur::new(4)).is_err());
    assert!(catch(|| GaussianBlur::new(3).sigma(0.0, 1.0)).is_err());
    let soft = apply(GaussianBlur::new(3), Image::new(3, 3, 1, vec![0, 0, 0, 0, 200, 0, 0, 0, 0]));
    assert!(soft.pixels()[4] <= 200);
}

#[test]
fn erasing_overwrites_one_rectangle_and_spares_the_original() {
    let x = common::Tensor::ones([2, 8, 10], &device());
    let erase = RandomErasing::new(1.0).value(5.0);
    let mut rng = Rng::new(3, 0);
    for _ in 0..50 {
        let y = erase.apply(x.clone(), &mut rng);
        let y = y.to_vec::<f32>();
        assert_eq!(y[..80], y[80..], "the channels share the rectangle");
        let hit: Vec<(usize, usize)> =
            (0..80).filter(|&at| y[at] == 5.0).map(|at| (at / 10, at % 10)).collect();
        let rows =
            hit.iter().map(|h| h.0).max().unwrap() - hit.iter().map(|h| h.0).min().unwrap() + 1;
        let columns =
            hit.iter().map(|h| h.1).max().unwrap() - hit.iter().map(|h| h.1).min().unwrap() + 1;
        assert_eq!(hit.len(), rows * columns);
        // 2 % to 33 % of the area, up to rounding of both sides.
        assert!((1..=36).contains(&hit.len()), "{hit:?}");
    }
    assert!(x.to_vec::<f32>().iter().all(|v| *v == 1.0));
    let same = RandomErasing::new(0.0).apply(x.clone(), &mut rng);
    assert_eq!(same.to_vec::<f32>(), x.to_vec::<f32>());
}
