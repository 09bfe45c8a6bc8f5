//! Every kernel of `kiln-backend-gpu`: a driver that only takes note of what it is to compile, and calls of
//! every primitive on every dtype, small and large, in order and transposed.

mod calls;
mod programs;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{LazyLock, Mutex};

use kiln_backend_gpu::{Arg, DeviceKind, Dialect, Gpu, Launch, Opened, Runtime, Traits};
use kiln_tensor_core::{Backend, DType, Result, Tensor};

/// A driver without a device. What it reads is 1 in every byte that a small number needs.
#[derive(Clone, Copy, Debug)]
pub struct Recorder;

/// Its one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nowhere;

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nowhere")
    }
}

impl kiln_tensor_core::Device for Nowhere {}

/// Sources by themselves, and the names of their kernels.
static SEEN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

static OPENED: LazyLock<Opened<Recorder>> = LazyLock::new(|| {
    Opened::new(Traits {
        name: "nowhere".into(),
        driver: "none".into(),
        dialect: Dialect::Cuda,
        kind: DeviceKind::Gpu,
        f64: true,
        units: 100,
        group: 256,
        largest_group: 1024,
        vector_bytes: 0,
        sub_group: Some(32),
        local_bytes: 48 << 10,
        memory_bytes: 80 << 30,
        largest_block: 80 << 30,
        alignment: 256,
    })
});

impl Runtime for Recorder {
    type Device = Nowhere;
    type Buffer = ();
    type Kernel = ();

    const NAME: &'static str = "Recorder";

    fn opened(_: &Nowhere) -> Result<&'static Opened<Self>> {
        Ok(&OPENED)
    }

    fn allocate(_: &Nowhere, _: usize) -> Result<()> {
        Ok(())
    }

    fn slice(_: &Nowhere, _: &(), _: usize, _: usize) -> Result<()> {
        Ok(())
    }

    fn free_bytes(_: &Nowhere) -> Option<usize> {
        None
    }

    fn write(_: &Nowhere, _: &(), _: usize, _: &[u8]) -> Result<()> {
        Ok(())
    }

    /// A lone number is 1, so that `nonzero` finds something; reports of wrong indices are 0.
    fn read(_: &Nowhere, _: &(), _: usize, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(0);
        if bytes.len() == 8 {
            bytes[0] = 1;
        }
        Ok(())
    }

    fn copy(_: &Nowhere, _: (&(), usize), _: (&(), usize), _: usize) -> Result<()> {
        Ok(())
    }

    fn compile(_: &Nowhere, source: &str, entry: &str) -> Result<((), Option<Vec<u8>>)> {
        SEEN.lock().unwrap().insert(source.into(), entry.into());
        Ok(((), None))
    }

    fn load(_: &Nowhere, _: &[u8], _: &str) -> Result<()> {
        Ok(())
    }

    fn launch(_: &Nowhere, _: &(), launch: &Launch<'_, ()>) -> Result<()> {
        let sizes = launch.args.iter().map(|arg| match arg {
            Arg::Buffer(()) => 8,
            Arg::Bytes(bytes) => bytes.len(),
        });
        // What any CUDA device takes.
        assert!(sizes.sum::<usize>() <= 4096, "the arguments of a kernel have 4096 bytes");
        Ok(())
    }

    fn sync(_: &Nowhere) -> Result<()> {
        Ok(())
    }
}

type B = Gpu<Recorder>;

/// Every kernel: its source and its name, in the order of the sources.
pub fn every() -> Vec<(String, String)> {
    programs::run();
    calls::run();
    SEEN.lock().unwrap().clone().into_iter().collect()
}

fn zeros(shape: &[usize], dtype: DType) -> Tensor<B> {
    B::empty(&shape.iter().copied().collect(), dtype, &Nowhere)
}

/// A few elements; transposed; and so many in order that kernels are made for the very dtype.
fn forms(dtype: DType) -> [Tensor<B>; 4] {
    let large = zeros(&[128, 256], dtype);
    let (small, transposed) = (zeros(&[3, 5], dtype).t(), large.t());
    [zeros(&[3, 5], dtype), small, large, transposed]
}
