//! Convolutions by cuDNN.

use std::collections::HashMap;
use std::ffi::c_int;

use kiln_backend_gpu::library::{Convolution, Pass, Vector};
use kiln_cuda_shim::CUdeviceptr;
use kiln_tensor_core::{DType, MatmulPrecision, Result};
use parking_lot::Mutex;

use super::cudnn::{
    Candidate, Cudnn, DEFAULT_MATH, Descriptor, FMA_MATH, Handle, TENSOR_OP_MATH, is_not_supported,
};
use super::library::{Trouble, check, describe};
use super::{Buffer, Open, library};
use crate::libraries;

/// Memory that an algorithm may ask for.
const WORKSPACE: usize = 256 << 20;
/// So many plans are kept.
const PLANS: usize = 4096;
/// As many candidates as the library has for any pass.
const CANDIDATES: usize = 16;

/// cuDNN on one device: opened at the first convolution. Its handle is for one thread at a time.
#[derive(Debug, Default)]
pub(crate) struct Convolutions(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unopened,
    /// There is no library, or it is turned off.
    Absent,
    Broken(String),
    Open(Session),
}

#[derive(Debug)]
struct Session {
    cudnn: &'static Cudnn,
    /// A pointer, as a number.
    handle: usize,
    /// What was found for a convolution; nothing where the library does not do it.
    plans: HashMap<Key, Option<Plan>>,
}

/// What the choice of an algorithm depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    pass: Pass,
    dtype: DType,
    math: c_int,
    /// Of input, weight and output.
    dims: [Vec<c_int>; 3],
    /// Padding, stride, dilation.
    walk: [Vec<c_int>; 3],
    groups: c_int,
}

/// Descriptors of a convolution, and the algorithm for it.
#[derive(Debug)]
struct Plan {
    input: Descriptor,
    weight: Descriptor,
    output: Descriptor,
    walk: Descriptor,
    algorithm: c_int,
    workspace: usize,
}

impl Key {
    /// Nothing where sizes are beyond the library's.
    fn of(task: &Convolution<'_, Buffer>) -> Option<Key> {
        // The library knows two spatial dims and three.
        let first = [task.input, task.window, task.output].map(|sizes| sizes[0]);
        let from = usize::from(first == [1; 3] && task.padding[0] == 0);
        let ints = |sizes: &[usize]| -> Option<Vec<c_int>> {
            sizes.iter().map(|&size| c_int::try_from(size).ok()).collect()
        };
        let dims = |lead: [usize; 2], sizes: [usize; 3]| {
            let all = [&lead[..], &sizes[from..]].concat();
            c_int::try_from(all.iter().product::<usize>()).ok()?;
            ints(&all)
        };
        let math = match (task.dtype, task.precision) {
            (DType::F64, _) | (DType::F32, MatmulPrecision::Highest) => FMA_MATH,
            (DType::F32, _) => DEFAULT_MATH,
            _ => TENSOR_OP_MATH,
        };
        Some(Key {
            pass: task.pass,
            dtype: task.dtype,
            math,
            dims: [
                dims([task.batch, task.channels], task.input)?,
                dims([task.outs, task.channels / task.groups], task.window)?,
                dims([task.batch, task.outs], task.output)?,
            ],
            walk: [
                ints(&task.padding[from..])?,
                ints(&task.stride[from..])?,
                ints(&task.dilation[from..])?,
            ],
            groups: c_int::try_from(task.groups).ok()?,
        })
    }
}

impl Convolutions {
    /// Queues a convolution; `false` where the library is not there or does not do it.
    pub(crate) fn run(&self, open: &'static Open, task: &Convolution<'_, Buffer>) -> Result<bool> {
        let mut state = self.0.lock();
        if let State::Unopened = *state {
            *state = State::new(open)?;
        }
        let session = match &mut *state {
            State::Open(session) => session,
            State::Broken(why) => return Err(open.broken(why.clone())),
            _ => return Ok(false),
        };
        let Some(key) = Key::of(task) else { return Ok(false) };
        let place = |at: &Vector<'_, Buffer>, dims: &[c_int]| {
            let count: usize = dims.iter().map(|&size| size as usize).product();
            let size = task.dtype.size();
            at.buffer.place(&open.device, at.offset * size, count * size)
        };
        let [input, weight, output] = &key.dims;
        let places =
            [place(&task.x, input)?, place(&task.weight, weight)?, place(&task.y, output)?];
        let queued = session.plan(&key).and_then(|()| match &session.plans[&key] {
            Some(plan) => session.queue(open, &key, plan, places).map(|()| true),
            None => Ok(false),
        });
        match queued {
            Ok(queued) => Ok(queued),
            Err(Trouble::Status(_, status)) if is_not_supported(status) => {
                session.remember(key, None);
                Ok(false)
            }
            Err(Trouble::Status(function, status)) => {
                Err(open.broken(describe(session.cudnn.text, function, status)))
            }
            Err(Trouble::Other(error)) => Err(error),
        }
    }
}

impl State {
    fn new(open: &Open) -> Result<State> {
        if !libraries::are_on() {
            return Ok(State::Absent);
        }
        let Ok(opened) = library::open::<Cudnn>() else { return Ok(State::Absent) };
        let cudnn = &opened.functions;
        open.stream()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: a pointer to a handle; the device's context is current.
        let status = unsafe { (cudnn.create)(&mut handle) };
        if status != 0 {
            let why = describe(cudnn.text, "cudnnCreate", status);
            return Ok(State::Broken(format!("{why}; {}", libraries::WAY_OUT)));
        }
        Ok(State::Open(Session { cudnn, handle: handle as usize, plans: HashMap::new() }))
    }
}

impl Session {
    /// Makes the plan for a convolution where there is none.
    fn plan(&mut self, key: &Key) -> Result<(), Trouble> {
        if self.plans.contains_key(key) {
            return Ok(());
        }
        let plan = self.planned(key)?;
        self.remember(key.clone(), plan);
        Ok(())
    }

    fn remember(&mut self, key: Key, plan: Option<Plan>) {
        if self.plans.len() >= PLANS {
            self.plans.clear();
        }
        self.plans.insert(key, plan);
    }

    /// The first that the library recommends among the algorithms that are wanted.
    fn planned(&self, key: &Key) -> Result<Option<Plan>, Trouble> {
        let cudnn = self.cudnn;
        let [input, weight, output] = &key.dims;
        let input = Descriptor::tensor(cudnn, key.dtype, input)?;
        let weight = Descriptor::filter(cudnn, key.dtype, weight)?;
        let output = Descriptor::tensor(cudnn, key.dtype, output)?;
        let walk = key.walk.each_ref().map(Vec::as_slice);
        let walk = Descriptor::convolution(cudnn, key.dtype, walk, key.groups, key.math)?;
        let (x, w, y, c) = (input.handle(), weight.handle(), output.handle(), walk.handle());
        let (ask, size, [a, b, c, d]) = match key.pass {
            Pass::Forward => (
                ("cudnnGetConvolutionForwardAlgorithm_v7", cudnn.forward_algorithms),
                cudnn.forward_workspace,
                [x, w, c, y],
            ),
            Pass::Input => (
                ("cudnnGetConvolutionBackwardDataAlgorithm_v7", cudnn.input_algorithms),
                cudnn.input_workspace,
                [w, y, c, x],
            ),
            Pass::Weight => (
                ("cudnnGetConvolutionBackwardFilterAlgorithm_v7", cudnn.weight_algorithms),
                cudnn.weight_workspace,
                [x, y, c, w],
            ),
        };
        let handle = self.handle as Handle;
        let (mut found, mut count) = ([Candidate::default(); CANDIDATES], 0);
        // SAFETY: all descriptors live, and there is room for as many candidates as are asked for.
        check(ask.0, unsafe {
            let room = CANDIDATES as c_int;
            (ask.1)(handle, a, b, c, d, room, &mut count, found.as_mut_ptr())
        })?;
        let count = usize::try_from(count).unwrap_or(0).min(CANDIDATES);
        for candidate in found[..count].iter().filter(|candidate| suits(key.pass, candidate)) {
            let (algorithm, mut workspace) = (candidate.algorithm, 0);
            // SAFETY: as above, and a pointer to a size.
            let status = unsafe { size(handle, a, b, c, d, algorithm, &mut workspace) };
            if status == 0 && workspace <= WORKSPACE {
                return Ok(Some(Plan { input, weight, output, walk, algorithm, workspace }));
            }
        }
        Ok(None)
    }

    /// Queues a planned convolution of input, weight and output at these places.
    fn queue(
        &self,
        open: &'static Open,
        key: &Key,
        plan: &Plan,
        [x, w, y]: [CUdeviceptr; 3],
    ) -> Result<(), Trouble> {
        let scratch = match plan.workspace {
            0 => None,
            bytes => Some(open.opened.scratch(&open.device, bytes)?),
        };
        let stream = open.stream()?;
        // SAFETY: handle and stream live; the stream is another one while a step is captured.
        check("cudnnSetStream", unsafe { (self.cudnn.set_stream)(self.handle as Handle, stream) })?;
        let workspace = scratch.as_ref().map_or(0, |scratch| scratch.buffer().address);
        let (one, zero) = ((1f32, 1f64), (0f32, 0f64));
        let (one, zero) = match key.dtype {
            DType::F64 => ((&raw const one.1).cast(), (&raw const zero.1).cast()),
            _ => ((&raw const one.0).cast(), (&raw const zero.0).cast()),
        };
        let [x, w, y] = [(&plan.input, x), (&plan.weight, w), (&plan.output, y)];
        let (name, run, [from, by, to]) = match key.pass {
            Pass::Forward => ("cudnnConvolutionForward", self.cudnn.forward, [x, w, y]),
            Pass::Input => ("cudnnConvolutionBackwardData", self.cudnn.input, [w, y, x]),
            Pass::Weight => ("cudnnConvolutionBackwardFilter", self.cudnn.weight, [x, y, w]),
        };
        // SAFETY: `run` has checked that each tensor, as it is described, is inside of its buffer; numbers are of the
        // type that is computed in; the workspace is as long as the algorithm asked for.
        check(name, unsafe {
            run(
                self.handle as Handle,
                one,
                from.0.handle(),
                from.1 as Handle,
                by.0.handle(),
                by.1 as Handle,
                plan.walk.handle(),
                plan.algorithm,
                workspace as Handle,
                plan.workspace,
                zero,
                to.0.handle(),
                to.1 as Handle,
            )
        })
    }
}

/// Whether an algorithm is one that is wanted: it gives the same bits each time, and adds up the products themselves,
/// not those of transforms (FFT, Winograd), whose errors are larger.
fn suits(pass: Pass, candidate: &Candidate) -> bool {
    let exact: &[c_int] = match pass {
        // Implicit products, with indices worked out before, and explicit ones.
        Pass::Forward => &[0, 1, 2],
        // The first, 0, adds up in no fixed order.
        Pass::Input | Pass::Weight => &[1],
    };
    candidate.status == 0 && candidate.deterministic == 1 && exact.contains(&candidate.algorithm)
}
