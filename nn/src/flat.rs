//! All parameters as one vector: for optimizers of others, for norms and angles of whole models.

use kiln_autograd::no_grad;
use kiln_tensor_core::{Backend, Error, Tensor, raise};

use crate::Param;

/// All elements of these parameters behind each other, `[elements]`. Differentiable, as
/// `torch.nn.utils.parameters_to_vector`.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Linear, ModuleExt, parameters_to_vector, vector_to_parameters};
///
/// let layer = Linear::<Cpu>::new(3, 2, &CpuDevice);
/// let vector = parameters_to_vector(layer.parameters());
/// assert_eq!(vector.dims(), [8]);
/// vector_to_parameters(&(&vector * 0.5), layer.parameters());
/// assert_eq!(parameters_to_vector(layer.parameters()).to_vec::<f32>(), (vector * 0.5).to_vec::<f32>());
/// ```
///
/// # Panics
/// If there is no parameter, or they are on different devices.
#[track_caller]
pub fn parameters_to_vector<B: Backend>(
    parameters: impl IntoIterator<Item = Param<B>>,
) -> Tensor<B> {
    let flat: Vec<_> = parameters.into_iter().map(|p| p.tensor().flatten(0, -1)).collect();
    Tensor::cat(&flat.iter().collect::<Vec<_>>(), 0)
}

/// Writes the elements of a vector into these parameters, in their order; nothing is recorded.
///
/// # Panics
/// If the vector does not have as many elements as all of them.
#[track_caller]
pub fn vector_to_parameters<B: Backend>(
    vector: &Tensor<B>,
    parameters: impl IntoIterator<Item = Param<B>>,
) {
    let parameters: Vec<_> = parameters.into_iter().collect();
    let wanted: usize = parameters.iter().map(Param::numel).sum();
    if vector.dims() != [wanted] {
        raise(Error::Shape {
            op: "vector_to_parameters",
            shapes: vec![vector.shape().clone()],
            why: format!("the parameters have {wanted} elements"),
        });
    }
    let mut start = 0;
    no_grad(|| {
        for parameter in &parameters {
            let part = vector.narrow(0, start, parameter.numel());
            parameter.tensor().copy_(&part.reshape_to(&parameter.shape()));
            start += parameter.numel();
        }
    });
}
