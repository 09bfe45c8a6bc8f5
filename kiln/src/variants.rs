//! The backends that this build has: one row each, better ones below. A row makes a variant of [`Device`] and
//! of the tensor that [`Any`](crate::Any) keeps, and the arms that lead from a device to its backend.

pub(crate) use kiln_backend_cpu::{Cpu, CpuDevice};
#[cfg(feature = "cuda")]
pub(crate) use kiln_backend_cuda::{Cuda, CudaDevice};
#[cfg(feature = "opencl")]
pub(crate) use kiln_backend_opencl::{OpenCl, OpenClDevice};
use kiln_tensor_core::{Backend, DType, Handle, Layout, Tensor};

/// A backend that `Any` can be.
pub(crate) trait Variant: Backend {
    /// The tensor inside, if it is one of this backend.
    fn inside(tensor: &AnyTensor) -> Option<&Tensor<Self>>;

    /// The tensor as `Any` keeps it.
    fn outside(inner: Tensor<Self>) -> AnyTensor;
}

/// `($)` is the dollar sign, which a macro that writes a macro has to be given.
macro_rules! backends {
    (($d:tt) $(
        $doc:literal $(#[$feature:meta])?
        $name:ident($key:literal): $backend:ident on $device:ident, here: $here:expr, needs: $needs:literal;
    )*) => {
        /// A device of one of the backends that this build has.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Device {
            $(#[doc = $doc] $(#[$feature])? $name($device),)*
        }

        /// A tensor of one of the backends, and its device.
        #[derive(Clone, Debug)]
        pub struct AnyTensor {
            inner: Inner,
            device: Device,
        }

        #[derive(Clone, Debug)]
        enum Inner {
            $($(#[$feature])? $name(Tensor<$backend>),)*
        }

        impl Handle<Device> for AnyTensor {
            #[inline]
            fn layout(&self) -> &Layout {
                match &self.inner {
                    $($(#[$feature])? Inner::$name(inner) => inner.layout(),)*
                }
            }

            #[inline]
            fn dtype(&self) -> DType {
                match &self.inner {
                    $($(#[$feature])? Inner::$name(inner) => inner.dtype(),)*
                }
            }

            #[inline]
            fn device(&self) -> &Device {
                &self.device
            }
        }

        $(
            $(#[$feature])?
            impl Variant for $backend {
                #[inline]
                fn inside(tensor: &AnyTensor) -> Option<&Tensor<$backend>> {
                    match &tensor.inner {
                        Inner::$name(inner) => Some(inner),
                        #[allow(unreachable_patterns, reason = "a build may have one backend")]
                        _ => None,
                    }
                }

                #[inline]
                fn outside(inner: Tensor<$backend>) -> AnyTensor {
                    let device = Device::$name(inner.device().clone());
                    AnyTensor { inner: Inner::$name(inner), device }
                }
            }
        )*

        /// The devices of the backend that `key` names; nothing if this build has no such backend.
        pub(crate) fn here(key: &str) -> Option<Vec<Found>> {
            match key {
                $($(#[$feature])? $key => Some($here),)*
                _ => None,
            }
        }

        /// The backends of this build, in the order of the rows.
        pub(crate) const KEYS: &[&str] = &[$($(#[$feature])? $key,)*];

        /// What each backend needs, of this build or not: its feature, and what there is to install.
        pub(crate) const NEEDS: &[(&str, &str)] = &[$(($key, $needs),)*];

        /// Evaluates the expression with `$k` naming the backend of a device, and `$on` its own device.
        macro_rules! on {
            ($d device:expr, $d k:ident, $d on:pat => $d body:expr) => {
                match $d device {
                    $(
                        $(#[$feature])?
                        $crate::Device::$name($d on) => {
                            type $d k = $crate::variants::$backend;
                            $d body
                        }
                    )*
                }
            };
        }
        pub(crate) use on;
    };
}

backends! { ($)
    "The host's processor and memory."
    Cpu("cpu"): Cpu on CpuDevice, here: host(),
        needs: "nothing";

    "A device of an OpenCL driver; with the feature `opencl`."
    #[cfg(feature = "opencl")]
    OpenCl("opencl"): OpenCl on OpenClDevice, here: opencl(),
        needs: "a loader (Debian: ocl-icd-libopencl1) and a driver (a GPU's, or pocl-opencl-icd)";

    "An NVIDIA device; with the feature `cuda`."
    #[cfg(feature = "cuda")]
    Cuda("cuda"): Cuda on CudaDevice, here: cuda(),
        needs: "NVIDIA's driver";
}

/// A device of this machine.
pub(crate) struct Found {
    pub(crate) device: Device,
    pub(crate) name: String,
    /// Whether it computes on something else than the host's processor.
    pub(crate) apart: bool,
}

fn host() -> Vec<Found> {
    let name = format!("the host's processor, {} threads", kiln_backend_cpu::num_threads());
    vec![Found { device: Device::cpu(), name, apart: false }]
}

#[cfg(feature = "opencl")]
fn opencl() -> Vec<Found> {
    use kiln_backend_opencl::{DeviceInfo, DeviceKind, devices};
    let found = |info: &DeviceInfo| Found {
        device: Device::OpenCl(info.device),
        name: info.name.clone(),
        apart: info.kind != DeviceKind::Cpu,
    };
    devices().map(found).collect()
}

#[cfg(feature = "cuda")]
fn cuda() -> Vec<Found> {
    let found = |(device, name): (CudaDevice, &str)| Found {
        device: Device::Cuda(device),
        name: name.to_owned(),
        apart: true,
    };
    kiln_backend_cuda::devices().into_iter().map(found).collect()
}
