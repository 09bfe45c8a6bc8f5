//! Products by cuBLASLt. It thinks in columns: row by row, a matrix is its transpose, so `out = a · b` is asked for as
//! `outᵀ = bᵀ · aᵀ`.

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::{Arc, OnceLock};

use kiln_backend_gpu::library::{After, Matrices, Product, Vector};
use kiln_cuda_shim::CUdeviceptr;
use kiln_tensor_core::{Activation, DType, Error, MatmulPrecision, Result};
use parking_lot::Mutex;

use super::cublas_lt::{
    Algorithm, COMPUTE_32F, COMPUTE_32F_FAST_16BF, COMPUTE_32F_FAST_TF32, COMPUTE_64F, CublasLt,
    Description, Handle, Heuristic, NOT_SUPPORTED, data_type,
};
use super::library::{Trouble, check, describe};
use super::{Buffer, Open, library};
use crate::libraries;

/// Memory that an algorithm may ask for.
const WORKSPACE: usize = 32 << 20;
/// So many plans are kept.
const PLANS: usize = 4096;

// `cublasLtMatmulDescAttributes_t`.
const TRANSPOSE_A: c_int = 3;
const TRANSPOSE_B: c_int = 4;
const EPILOGUE: c_int = 7;
const BIAS_POINTER: c_int = 8;
const AUX_POINTER: c_int = 11;
const AUX_LD: c_int = 12;
const AUX_BATCH_STRIDE: c_int = 13;

// `cublasLtEpilogue_t`: bits that are added up, but for the first.
const EPILOGUE_DEFAULT: u32 = 1;
const EPILOGUE_RELU: u32 = 2;
const EPILOGUE_BIAS: u32 = 4;
const EPILOGUE_GELU: u32 = 32;
const EPILOGUE_AUX: u32 = 128;
/// The sums of the right side's columns: of the rows of what it is the transpose of.
const EPILOGUE_BGRADB: u32 = 512;

// `cublasLtMatmulPreferenceAttributes_t`.
const MAX_WORKSPACE_BYTES: c_int = 1;
const REDUCTION_SCHEME_MASK: c_int = 3;
const MIN_ALIGNMENT_BYTES: [c_int; 4] = [5, 6, 7, 8];
/// `CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE`: the parts of a sum that was split are kept as exactly as they were
/// computed, and added in a fixed order. The other schemes round them to the dtype of the result.
const IN_COMPUTE_TYPE: u32 = 2;

/// cuBLASLt on one device: opened at the first product.
#[derive(Debug, Default)]
pub(crate) struct Products {
    session: OnceLock<Result<Option<Session>, String>>,
    /// What was found for a product; nothing where the library does not do it.
    plans: Mutex<HashMap<Key, Option<Arc<Plan>>>>,
}

#[derive(Debug)]
struct Session {
    lt: &'static CublasLt,
    /// A pointer, as a number: the library lets any thread use it.
    handle: usize,
}

/// What the choice of an algorithm depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    dtype: DType,
    compute: c_int,
    /// Of the transposed result: rows, columns, terms.
    sizes: [usize; 3],
    batch: usize,
    /// The left, the right, and the result.
    sides: [Side; 3],
    epilogue: u32,
    /// Of the sides, and of the epilogue's operands.
    alignment: [u32; 5],
}

/// Where the vector of an epilogue is, and what it keeps beside the result.
type Pointers = [Option<CUdeviceptr>; 2];

/// A matrix as the library takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Side {
    /// Whether it is the transpose of what is wanted.
    transposed: bool,
    /// As it is stored: rows, columns.
    sizes: [usize; 2],
    /// From one column to the next.
    ld: i64,
    /// From one matrix to the next.
    step: i64,
}

/// A description of a product, and the algorithm for it.
#[derive(Debug)]
struct Plan {
    /// Locked from the writing of pointers into it until the product is queued.
    product: Mutex<Description>,
    sides: [Description; 3],
    algorithm: Algorithm,
    workspace: usize,
}

impl Side {
    /// The transpose of `rows × columns` elements; nothing where the library cannot walk over them: neither rows nor
    /// columns side by side, or overlapping, or backwards. Of a single row or column, strides along the size of 1 say
    /// nothing, and what lies side by side is best told as such.
    fn of<B>(at: &Matrices<'_, B>, [rows, columns]: [usize; 2]) -> Option<Side> {
        let alone =
            |count: usize, length: usize, step| if count == 1 { length as isize } else { step };
        let (transposed, sizes, ld) = if at.column == 1 && columns > 1 {
            (false, [columns, rows], alone(rows, columns, at.row))
        } else if at.row == 1 && rows > 1 {
            (true, [rows, columns], alone(columns, rows, at.column))
        } else if columns == 1 {
            (false, [1, rows], alone(rows, 1, at.row))
        } else if rows == 1 {
            (true, [1, columns], at.column)
        } else {
            return None;
        };
        let fits = ld >= sizes[0] as isize && at.batch >= 0;
        fits.then_some(Side { transposed, sizes, ld: ld as i64, step: at.batch as i64 })
    }

    /// The transpose of a result, which is contiguous and cannot be told otherwise.
    fn result<B>(at: &Matrices<'_, B>, [rows, columns]: [usize; 2]) -> Side {
        let sizes = [columns, rows];
        Side { transposed: false, sizes, ld: columns as i64, step: at.batch as i64 }
    }

    /// Elements from the first to behind the last.
    fn reach(&self, batch: usize) -> usize {
        let steps = (batch - 1) * self.step as usize + (self.sizes[1] - 1) * self.ld as usize;
        steps + self.sizes[0]
    }
}

/// Where an operand lies, if it is inside of its buffer.
fn address(
    open: &Open,
    buffer: &Buffer,
    dtype: DType,
    offset: usize,
    count: usize,
) -> Result<CUdeviceptr> {
    buffer.place(&open.device, offset * dtype.size(), count * dtype.size())
}

/// The largest power of two that divides an address, up to what blocks are aligned to.
fn alignment(address: CUdeviceptr) -> u32 {
    1 << address.trailing_zeros().min(8)
}

impl Products {
    fn session(&self, open: &Open) -> Result<Option<&Session>> {
        let session = self.session.get_or_init(|| {
            if !libraries::are_on() {
                return Ok(None);
            }
            let Ok(opened) = library::open::<CublasLt>() else { return Ok(None) };
            let lt = &opened.functions;
            open.stream().map_err(|error| error.to_string())?;
            let mut handle = std::ptr::null_mut();
            // SAFETY: a pointer to a handle; the device's context is current.
            match unsafe { (lt.create)(&mut handle) } {
                0 => Ok(Some(Session { lt, handle: handle as usize })),
                status => {
                    let why = describe(lt.text, "cublasLtCreate", status);
                    Err(format!("{why}; {}", libraries::WAY_OUT))
                }
            }
        });
        session.as_ref().map(Option::as_ref).map_err(|why| open.broken(why.clone()))
    }

    /// Queues a product; `false` where the library is not there or does not do it.
    pub(crate) fn run(&self, open: &'static Open, product: &Product<'_, Buffer>) -> Result<bool> {
        let Some(session) = self.session(open)? else { return Ok(false) };
        let &Product { dtype, batch, m, n, k, ref a, ref b, ref out, .. } = product;
        // The transposed result's left side is `b`.
        let (Some(left), Some(right)) = (Side::of(b, [k, n]), Side::of(a, [m, k])) else {
            return Ok(false);
        };
        let result = Side::result(out, [m, n]);
        let sides = [left, right, result];
        let sizes = [n, m, k];
        if sizes.iter().chain([&batch]).any(|&size| i32::try_from(size).is_err()) {
            return Ok(false);
        }
        let place = |at: &Matrices<'_, Buffer>, side: &Side| {
            address(open, at.buffer, dtype, at.offset, side.reach(batch))
        };
        let places = [place(b, &left)?, place(a, &right)?, place(out, &result)?];
        let Some((epilogue, pointers)) = epilogue(open, product, &result)? else {
            return Ok(false);
        };
        let [x, y, z] = places.map(alignment);
        let [v, w] = pointers.map(|pointer| pointer.map_or(0, alignment));
        let key = Key {
            dtype,
            compute: compute(dtype, product.precision),
            sizes,
            batch,
            sides,
            epilogue,
            alignment: [x, y, z, v, w],
        };
        let queued = self.plan(session, key, pointers).and_then(|plan| match plan {
            Some(plan) => session.queue(open, &plan, dtype, places, pointers).map(|()| true),
            None => Ok(false),
        });
        match queued {
            Ok(queued) => Ok(queued),
            Err(Trouble::Status(_, NOT_SUPPORTED)) => {
                self.remember(key, None);
                Ok(false)
            }
            Err(Trouble::Status(function, status)) => {
                Err(open.broken(describe(session.lt.text, function, status)))
            }
            Err(Trouble::Other(error)) => Err(error),
        }
    }

    /// The plan for a product, made where there is none.
    fn plan(
        &self,
        session: &Session,
        key: Key,
        pointers: Pointers,
    ) -> Result<Option<Arc<Plan>>, Trouble> {
        if let Some(plan) = self.plans.lock().get(&key) {
            return Ok(plan.clone());
        }
        let plan = Some(Arc::new(Plan::new(session, &key, pointers)?));
        self.remember(key, plan.clone());
        Ok(plan)
    }

    fn remember(&self, key: Key, plan: Option<Arc<Plan>>) {
        let mut plans = self.plans.lock();
        if plans.len() >= PLANS {
            plans.clear();
        }
        plans.insert(key, plan);
    }
}

/// The epilogue that a product asks for, and its operands; nothing where there is none like that.
fn epilogue(
    open: &Open,
    product: &Product<'_, Buffer>,
    result: &Side,
) -> Result<Option<(u32, Pointers)>> {
    let &Product { dtype, batch, m, n, .. } = product;
    let vector = |at: &Vector<'_, Buffer>, count| address(open, at.buffer, dtype, at.offset, count);
    let (bias, activation, before) = match &product.after {
        After::RowSums(sums) => {
            return Ok(Some((EPILOGUE_BGRADB, [Some(vector(sums, m)?), None])));
        }
        After::Linear { bias, activation, before } => (bias, activation, before),
    };
    let activation = match (activation, before) {
        (None, None) => 0,
        (Some(Activation::Relu), None) => EPILOGUE_RELU,
        (Some(Activation::GeluTanh), None) => EPILOGUE_GELU,
        // Only so far apart.
        (Some(Activation::GeluTanh), Some(_)) if result.ld % 8 == 0 && result.step % 8 == 0 => {
            EPILOGUE_GELU | EPILOGUE_AUX
        }
        // For relu, the library keeps single bits.
        _ => return Ok(None),
    };
    let epilogue = activation | if bias.is_some() { EPILOGUE_BIAS } else { 0 };
    let bias = bias.as_ref().map(|bias| vector(bias, n)).transpose()?;
    let before = before.as_ref().map(|at| vector(at, result.reach(batch))).transpose()?;
    Ok(Some((if epilogue == 0 { EPILOGUE_DEFAULT } else { epilogue }, [bias, before])))
}

/// Tells a product where its epilogue's operands are.
fn point(product: &Description, pointers: Pointers) -> Result<(), Trouble> {
    for (attribute, pointer) in [BIAS_POINTER, AUX_POINTER].into_iter().zip(pointers) {
        if let Some(pointer) = pointer {
            product.attribute(attribute, pointer)?;
        }
    }
    Ok(())
}

/// The type that sums are computed in, and how exactly factors are taken.
fn compute(dtype: DType, precision: MatmulPrecision) -> c_int {
    match (dtype, precision) {
        (DType::F64, _) => COMPUTE_64F,
        (DType::F32, MatmulPrecision::High) => COMPUTE_32F_FAST_TF32,
        (DType::F32, MatmulPrecision::Medium) => COMPUTE_32F_FAST_16BF,
        _ => COMPUTE_32F,
    }
}

impl Plan {
    fn new(session: &Session, key: &Key, pointers: Pointers) -> Result<Plan, Trouble> {
        let lt = session.lt;
        let product = Description::product(lt, key.compute, data_type(key.dtype.compute()))?;
        product.attribute(TRANSPOSE_A, i32::from(key.sides[0].transposed))?;
        product.attribute(TRANSPOSE_B, i32::from(key.sides[1].transposed))?;
        product.attribute(EPILOGUE, key.epilogue)?;
        point(&product, pointers)?;
        if key.epilogue & EPILOGUE_AUX != 0 {
            product.attribute(AUX_LD, key.sides[2].ld)?;
            product.attribute(AUX_BATCH_STRIDE, key.sides[2].step)?;
        }
        let side = |side: &Side| {
            let description = Description::matrix(lt, key.dtype, side.sizes, side.ld)?;
            description.repeat(key.batch as i32, side.step)?;
            Ok::<_, Trouble>(description)
        };
        let sides = [side(&key.sides[0])?, side(&key.sides[1])?, side(&key.sides[2])?];
        let preference = Description::preference(lt)?;
        preference.attribute(MAX_WORKSPACE_BYTES, WORKSPACE as u64)?;
        preference.attribute(REDUCTION_SCHEME_MASK, IN_COMPUTE_TYPE)?;
        let [x, y, z, ..] = key.alignment;
        for (attribute, bytes) in MIN_ALIGNMENT_BYTES.into_iter().zip([x, y, z, z]) {
            preference.attribute(attribute, bytes)?;
        }
        let (mut best, mut found) = (Heuristic::default(), 0);
        let [left, right, result] = [0, 1, 2].map(|i: usize| sides[i].handle());
        // SAFETY: all descriptions live, and there is room for the one result that is asked for.
        check("cublasLtMatmulAlgoGetHeuristic", unsafe {
            (lt.heuristic)(
                session.handle as Handle,
                product.handle(),
                left,
                right,
                result,
                result,
                preference.handle(),
                1,
                &mut best,
                &mut found,
            )
        })?;
        if found == 0 {
            return Err(Trouble::Status("cublasLtMatmulAlgoGetHeuristic", NOT_SUPPORTED));
        }
        check("cublasLtMatmulAlgoGetHeuristic", best.status)?;
        let Heuristic { algorithm, workspace, .. } = best;
        Ok(Plan { product: Mutex::new(product), sides, algorithm, workspace })
    }
}

impl Session {
    /// Queues a planned product.
    fn queue(
        &self,
        open: &'static Open,
        plan: &Plan,
        dtype: DType,
        [left, right, out]: [CUdeviceptr; 3],
        pointers: Pointers,
    ) -> Result<(), Trouble> {
        let scratch = match plan.workspace {
            0 => None,
            bytes => Some(open.opened.scratch(&open.device, bytes)?),
        };
        let stream = open.stream()?;
        let (one, zero) = ((1f32, 1f64), (0f32, 0f64));
        let (one, zero) = match dtype {
            DType::F64 => ((&raw const one.1).cast(), (&raw const zero.1).cast()),
            _ => ((&raw const one.0).cast(), (&raw const zero.0).cast()),
        };
        let product = plan.product.lock();
        point(&product, pointers)?;
        let workspace = scratch.as_ref().map_or(0, |scratch| scratch.buffer().address);
        let [a, b, d] = [0, 1, 2].map(|i: usize| plan.sides[i].handle());
        // SAFETY: `run` has checked that each matrix, as it is described, is inside of its buffer; numbers are of the
        // scale's type; the workspace is as long as the algorithm asked for.
        check("cublasLtMatmul", unsafe {
            (self.lt.matmul)(
                self.handle as Handle,
                product.handle(),
                one,
                left as Handle,
                a,
                right as Handle,
                b,
                zero,
                out as Handle,
                d,
                out as Handle,
                d,
                &plan.algorithm,
                workspace as Handle,
                plan.workspace,
                stream,
            )
        })
    }
}

impl Open {
    /// An error of a library.
    #[cold]
    pub(super) fn broken(&self, why: String) -> Error {
        Error::Backend { device: self.device.to_string(), why }
    }
}
