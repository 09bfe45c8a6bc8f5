//! Functions that no layer stands for, and those that layers call, with their options.

use kiln_nn::Identity;
use kiln_nn::functional::*;

use super::{Case, Cases, Run};

macro_rules! functions {
    ($($name:literal => |$x:ident| $run:expr;)*) => {
        Cases::from([$((
            concat!("Identity(): nn.functional.", $name),
            Box::new(Case { module: Identity::new(), run: |_, $x| $run }) as Box<dyn Run>,
        )),*])
    };
}

pub fn functions() -> Cases {
    use GridMode::{Bicubic, Bilinear, Nearest};
    use GridPadding::{Border, Reflection, Zeros};
    functions! {
        "grid_sample(x[0], 1.3 * x[1], 'bilinear', 'zeros', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bilinear, Zeros, false);
        "grid_sample(x[0], 1.3 * x[1], 'bilinear', 'zeros', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bilinear, Zeros, true);
        "grid_sample(x[0], 1.3 * x[1], 'bilinear', 'border', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bilinear, Border, false);
        "grid_sample(x[0], 1.3 * x[1], 'bilinear', 'border', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bilinear, Border, true);
        "grid_sample(x[0], 1.3 * x[1], 'bilinear', 'reflection', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bilinear, Reflection, false);
        "grid_sample(x[0], 1.3 * x[1], 'bilinear', 'reflection', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bilinear, Reflection, true);
        "grid_sample(x[0], 1.3 * x[1], 'nearest', 'zeros', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Nearest, Zeros, false);
        "grid_sample(x[0], 1.3 * x[1], 'nearest', 'zeros', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Nearest, Zeros, true);
        "grid_sample(x[0], 1.3 * x[1], 'nearest', 'border', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Nearest, Border, false);
        "grid_sample(x[0], 1.3 * x[1], 'nearest', 'border', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Nearest, Border, true);
        "grid_sample(x[0], 1.3 * x[1], 'nearest', 'reflection', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Nearest, Reflection, false);
        "grid_sample(x[0], 1.3 * x[1], 'nearest', 'reflection', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Nearest, Reflection, true);
        "grid_sample(x[0], 1.3 * x[1], 'bicubic', 'zeros', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bicubic, Zeros, false);
        "grid_sample(x[0], 1.3 * x[1], 'bicubic', 'zeros', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bicubic, Zeros, true);
        "grid_sample(x[0], 1.3 * x[1], 'bicubic', 'border', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bicubic, Border, false);
        "grid_sample(x[0], 1.3 * x[1], 'bicubic', 'border', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bicubic, Border, true);
        "grid_sample(x[0], 1.3 * x[1], 'bicubic', 'reflection', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bicubic, Reflection, false);
        "grid_sample(x[0], 1.3 * x[1], 'bicubic', 'reflection', True)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.3), Bicubic, Reflection, true);
        "grid_sample(x[0], 1.2 * x[1], 'bilinear', 'reflection', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.2), Bilinear, Reflection, false);
        "grid_sample(x[0], 1.2 * x[1], 'nearest', 'reflection', False)" =>
            |x| grid_sample(&x[0], &(&x[1] * 1.2), Nearest, Reflection, false);
        "affine_grid(x[0], (2, 1, 3, 4), False)" =>
            |x| affine_grid(&x[0], &[2, 1, 3, 4], false);
        "affine_grid(x[0], (2, 1, 2, 1, 3), False)" =>
            |x| affine_grid(&x[0], &[2, 1, 2, 1, 3], false);
        "affine_grid(x[0], (2, 1, 3, 4), True)" =>
            |x| affine_grid(&x[0], &[2, 1, 3, 4], true);
        "affine_grid(x[0], (2, 1, 2, 1, 3), True)" =>
            |x| affine_grid(&x[0], &[2, 1, 2, 1, 3], true);
        "pdist(x[0])" =>
            |x| pdist(&x[0], 2.0);
        "pdist(x[0], 3)" =>
            |x| pdist(&x[0], 3.0);
        "bilinear(*x)" =>
            |x| bilinear(&x[0], &x[1], &x[2], Some(&x[3]));
        "local_response_norm(x[0], 3, 0.5, 0.7, 2.0)" =>
            |x| local_response_norm(&x[0], 3, 0.5, 0.7, 2.0);
        "max_pool2d(x[0], 3, 2, 1, ceil_mode=True)" =>
            |x| max_pool2d(&x[0], Pool::new(3).stride(2).padding(1).ceil_mode(true));
        "avg_pool2d(x[0], (2, 3), padding=1, count_include_pad=False)" =>
            |x| avg_pool2d(&x[0], Pool::new([2, 3]).padding(1).count_include_pad(false));
        "lp_pool1d(x[0], 2, 3, 1)" =>
            |x| lp_pool1d(&x[0], 2.0, Pool::new(3).stride(1));
        "adaptive_avg_pool3d(x[0], (2, 2, 3))" =>
            |x| adaptive_avg_pool3d(&x[0], [2, 2, 3]);
    }
}
