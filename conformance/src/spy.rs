//! `Spy<B>`: a backend that counts what reaches it. A wrapper that forgets to forward a method still
//! compiles, through the method's default, and silently loses the kernel underneath; a spy inside of
//! the wrapper sees that.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use kiln_tensor_core::graph::Replay;
use kiln_tensor_core::{
    Activation, AttentionSpec, Backend, ConvSpec, DType, Factorization, Handle, HostMemory, Kernel,
    Layout, MemoryStats, Outputs, PoolSpec, ReduceOp, Result, ScanOp, ScatterOp, Shape, Tensor,
    ViewOp,
};

/// Backend `B`, with every call counted.
#[derive(Clone, Copy, Debug)]
pub struct Spy<B>(PhantomData<B>);

/// A tensor of the backend inside.
#[derive(Debug)]
pub struct Watched<B: Backend>(Tensor<B>);

impl<B: Backend> Clone for Watched<B> {
    fn clone(&self) -> Self {
        Watched(self.0.clone())
    }
}

impl<B: Backend> Handle<B::Device> for Watched<B> {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }

    fn dtype(&self) -> DType {
        self.0.dtype()
    }

    fn device(&self) -> &B::Device {
        self.0.device()
    }
}

/// How often each method was called.
pub type Calls = BTreeMap<&'static str, usize>;

thread_local! {
    static CALLS: RefCell<Calls> = const { RefCell::new(Calls::new()) };
}

/// Runs `f` and gives what reached spies on this thread meanwhile.
pub fn watch<T>(f: impl FnOnce() -> T) -> (T, Calls) {
    CALLS.take();
    let result = f();
    (result, CALLS.take())
}

fn count(method: &'static str) {
    CALLS.with_borrow_mut(|calls| *calls.entry(method).or_default() += 1);
}

/// An argument as the backend inside takes it.
trait Lower<B> {
    type Inside;
    fn lower(self) -> Self::Inside;
}

impl<'a, B: Backend> Lower<B> for &'a Tensor<Spy<B>> {
    type Inside = &'a Tensor<B>;
    fn lower(self) -> &'a Tensor<B> {
        &self.handle().0
    }
}

impl<'a, B: Backend> Lower<B> for Option<&'a Tensor<Spy<B>>> {
    type Inside = Option<&'a Tensor<B>>;
    fn lower(self) -> Option<&'a Tensor<B>> {
        self.map(Lower::lower)
    }
}

impl<B: Backend> Lower<B> for Option<Tensor<Spy<B>>> {
    type Inside = Option<Tensor<B>>;
    fn lower(self) -> Option<Tensor<B>> {
        self.map(|x| x.handle().0.clone())
    }
}

/// A result as the spy gives it.
trait Lift<B> {
    type Outside;
    fn lift(self) -> Self::Outside;
}

impl<B: Backend> Lift<B> for Tensor<B> {
    type Outside = Tensor<Spy<B>>;
    fn lift(self) -> Tensor<Spy<B>> {
        Tensor::from_handle(Watched(self))
    }
}

impl<B: Backend> Lift<B> for (Tensor<B>, Tensor<B>) {
    type Outside = (Tensor<Spy<B>>, Tensor<Spy<B>>);
    fn lift(self) -> Self::Outside {
        (self.0.lift(), self.1.lift())
    }
}

impl<B: Backend> Lift<B> for (Tensor<B>, Option<Tensor<B>>) {
    type Outside = (Tensor<Spy<B>>, Option<Tensor<Spy<B>>>);
    fn lift(self) -> Self::Outside {
        (self.0.lift(), self.1.lift())
    }
}

impl<B: Backend, const N: usize> Lift<B> for [Tensor<B>; N] {
    type Outside = [Tensor<Spy<B>>; N];
    fn lift(self) -> Self::Outside {
        self.map(Lift::lift)
    }
}

impl<B: Backend> Lift<B> for Outputs<B> {
    type Outside = Outputs<Spy<B>>;
    fn lift(self) -> Self::Outside {
        self.into_iter().map(Lift::lift).collect()
    }
}

impl<B: Backend> Lift<B> for Option<Tensor<B>> {
    type Outside = Option<Tensor<Spy<B>>>;
    fn lift(self) -> Self::Outside {
        self.map(Lift::lift)
    }
}

macro_rules! as_they_are {
    (lower: $($argument:ty),*; lift: $($result:ty),*) => {
        $(impl<B> Lower<B> for $argument {
            type Inside = Self;
            fn lower(self) -> Self {
                self
            }
        })*
        $(impl<B> Lift<B> for $result {
            type Outside = Self;
            fn lift(self) -> Self {
                self
            }
        })*
    };
}
as_they_are! {
    lower: usize, i64, f64, bool, Factorization, &Shape, Activation, &AttentionSpec, &ConvSpec, &PoolSpec, &ViewOp, Layout, ScanOp, ScatterOp;
    lift: (), bool, u64, Vec<u8>, Option<String>
}

fn inside<'a, B: Backend>(xs: &[&'a Tensor<Spy<B>>]) -> Vec<&'a Tensor<B>> {
    xs.iter().map(|x| x.lower()).collect()
}

/// Methods whose arguments and results convert one by one.
macro_rules! forward {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $result:ty)?;)*) => {$(
        fn $name($($arg: $ty),*) $(-> $result)? {
            count(stringify!($name));
            Lift::<B>::lift(B::$name($(Lower::<B>::lower($arg)),*))
        }
    )*};
}

impl<B: Backend> Backend for Spy<B> {
    type Device = B::Device;
    type Handle = Watched<B>;

    forward! {
        fn download(x: &Tensor<Self>) -> Vec<u8>;
        fn version(x: &Tensor<Self>) -> u64;
        fn shares_storage(a: &Tensor<Self>, b: &Tensor<Self>) -> bool;
        fn is_unique(x: &Tensor<Self>) -> bool;
        fn scan(op: ScanOp, x: &Tensor<Self>, dim: usize) -> Tensor<Self>;
        fn sort(x: &Tensor<Self>, dim: usize, descending: bool) -> (Tensor<Self>, Tensor<Self>);
        fn topk(x: &Tensor<Self>, k: usize, dim: usize, largest: bool) -> (Tensor<Self>, Tensor<Self>);
        fn matmul(a: &Tensor<Self>, b: &Tensor<Self>) -> Tensor<Self>;
        fn conv(x: &Tensor<Self>, weight: &Tensor<Self>, spec: &ConvSpec) -> Tensor<Self>;
        fn conv_grad_input(grad: &Tensor<Self>, weight: &Tensor<Self>, input: &Shape, spec: &ConvSpec) -> Tensor<Self>;
        fn conv_grad_weight(grad: &Tensor<Self>, x: &Tensor<Self>, weight: &Shape, spec: &ConvSpec) -> Tensor<Self>;
        fn max_pool(x: &Tensor<Self>, spec: &PoolSpec) -> (Tensor<Self>, Tensor<Self>);
        fn max_pool_grad(grad: &Tensor<Self>, indices: &Tensor<Self>, input: &Shape) -> Tensor<Self>;
        fn avg_pool(x: &Tensor<Self>, spec: &PoolSpec) -> Tensor<Self>;
        fn avg_pool_grad(grad: &Tensor<Self>, input: &Shape, spec: &PoolSpec) -> Tensor<Self>;
        fn gather(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>) -> Tensor<Self>;
        fn scatter(op: ScatterOp, x: &Tensor<Self>, dim: usize, index: &Tensor<Self>, src: &Tensor<Self>) -> Tensor<Self>;
        fn index_select(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>) -> Tensor<Self>;
        fn index_add(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>, src: &Tensor<Self>) -> Tensor<Self>;
        fn nonzero(x: &Tensor<Self>) -> Tensor<Self>;
        fn view(x: &Tensor<Self>, op: &ViewOp, layout: Layout) -> Tensor<Self>;
        fn view_grad(grad: &Tensor<Self>, op: &ViewOp, shape: &Shape) -> Tensor<Self>;
        fn softmax(x: &Tensor<Self>, dim: usize) -> Tensor<Self>;
        fn softmax_grad(grad: &Tensor<Self>, y: &Tensor<Self>, dim: usize) -> Tensor<Self>;
        fn log_softmax(x: &Tensor<Self>, dim: usize) -> Tensor<Self>;
        fn log_softmax_grad(grad: &Tensor<Self>, y: &Tensor<Self>, dim: usize) -> Tensor<Self>;
        fn cross_entropy(logits: &Tensor<Self>, target: &Tensor<Self>, ignore: i64) -> Tensor<Self>;
        fn cross_entropy_grad(grad: &Tensor<Self>, logits: &Tensor<Self>, target: &Tensor<Self>, ignore: i64) -> Tensor<Self>;
        fn linear(x: &Tensor<Self>, weight: &Tensor<Self>, bias: Option<&Tensor<Self>>) -> Tensor<Self>;
        fn linear_act(x: &Tensor<Self>, weight: &Tensor<Self>, bias: Option<&Tensor<Self>>, activation: Activation, keep: bool) -> (Tensor<Self>, Option<Tensor<Self>>);
        fn linear_grad_weight(grad: &Tensor<Self>, x: &Tensor<Self>) -> [Tensor<Self>; 2];
        fn layer_norm(x: &Tensor<Self>, weight: Option<&Tensor<Self>>, bias: Option<&Tensor<Self>>, dims: usize, eps: f64) -> [Tensor<Self>; 3];
        fn layer_norm_grad(grad: &Tensor<Self>, x: &Tensor<Self>, mean: &Tensor<Self>, rstd: &Tensor<Self>, weight: Option<&Tensor<Self>>, dims: usize, eps: f64) -> [Tensor<Self>; 3];
        fn rms_norm(x: &Tensor<Self>, weight: Option<&Tensor<Self>>, dims: usize, eps: f64) -> [Tensor<Self>; 2];
        fn rms_norm_grad(grad: &Tensor<Self>, x: &Tensor<Self>, rstd: &Tensor<Self>, weight: Option<&Tensor<Self>>, dims: usize, eps: f64) -> [Tensor<Self>; 2];
        fn scaled_dot_product_attention(q: &Tensor<Self>, k: &Tensor<Self>, v: &Tensor<Self>, mask: Option<&Tensor<Self>>, spec: &AttentionSpec) -> [Tensor<Self>; 2];
        fn scaled_dot_product_attention_grad(grad: &Tensor<Self>, q: &Tensor<Self>, k: &Tensor<Self>, v: &Tensor<Self>, mask: Option<&Tensor<Self>>, out: &Tensor<Self>, log: &Tensor<Self>, spec: &AttentionSpec) -> [Tensor<Self>; 3];
        fn batch_norm(x: &Tensor<Self>, weight: Option<&Tensor<Self>>, bias: Option<&Tensor<Self>>, eps: f64) -> [Tensor<Self>; 3];
        fn batch_norm_grad(grad: &Tensor<Self>, x: &Tensor<Self>, mean: &Tensor<Self>, var: &Tensor<Self>, weight: Option<&Tensor<Self>>, eps: f64) -> [Tensor<Self>; 3];
        fn factor(x: &Tensor<Self>, kind: Factorization) -> Outputs<Self>;
        fn solve_triangular(a: &Tensor<Self>, b: &Tensor<Self>, upper: bool, unit: bool) -> Tensor<Self>;
        fn records() -> bool;
        fn requires_grad(x: &Tensor<Self>) -> bool;
        fn set_requires_grad(x: &Tensor<Self>, on: bool);
        fn detach(x: &Tensor<Self>) -> Tensor<Self>;
        fn grad(x: &Tensor<Self>) -> Option<Tensor<Self>>;
        fn set_grad(x: &Tensor<Self>, grad: Option<Tensor<Self>>);
        fn grad_fn(x: &Tensor<Self>) -> Option<String>;
    }

    fn name() -> &'static str {
        B::name()
    }

    fn named(_: &Tensor<Self>, _: &'static str, _: &[&Tensor<Self>]) {
        count("named");
    }

    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, device: &B::Device) -> Tensor<Self> {
        count("upload");
        B::upload(bytes, shape, dtype, device).lift()
    }

    fn empty(shape: &Shape, dtype: DType, device: &B::Device) -> Tensor<Self> {
        count("empty");
        B::empty(shape, dtype, device).lift()
    }

    fn sync(device: &B::Device) {
        count("sync");
        B::sync(device);
    }

    fn memory(device: &B::Device) -> MemoryStats {
        count("memory");
        B::memory(device)
    }

    fn reset_peak_memory(device: &B::Device) {
        count("reset_peak_memory");
        B::reset_peak_memory(device);
    }

    fn empty_cache(device: &B::Device) {
        count("empty_cache");
        B::empty_cache(device);
    }

    fn has_graphs(device: &B::Device) -> bool {
        count("has_graphs");
        B::has_graphs(device)
    }

    fn capture(device: &B::Device, step: &mut dyn FnMut()) -> Result<Box<dyn Replay>> {
        count("capture");
        B::capture(device, step)
    }

    fn map(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        device: &B::Device,
    ) -> Tensor<Self> {
        count("map");
        B::map(kernel, &inside(inputs), shape, device).lift()
    }

    fn map_many(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        device: &B::Device,
    ) -> Outputs<Self> {
        count("map_many");
        B::map_many(kernel, &inside(inputs), shape, device).into_iter().map(Lift::lift).collect()
    }

    fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Self>], outputs: &[&Tensor<Self>]) {
        count("map_into");
        B::map_into(kernel, &inside(inputs), &inside(outputs));
    }

    fn map_each_into(kernel: Kernel<'_>, groups: &[(Vec<&Tensor<Self>>, Vec<&Tensor<Self>>)]) {
        count("map_each_into");
        let groups: Vec<_> = groups.iter().map(|(i, o)| (inside(i), inside(o))).collect();
        B::map_each_into(kernel, &groups);
    }

    fn reduce(
        op: ReduceOp,
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        dims: &[usize],
    ) -> Tensor<Self> {
        count("reduce");
        B::reduce(op, kernel, &inside(inputs), shape, dims).lift()
    }

    fn adopt(memory: Arc<dyn HostMemory>, shape: &Shape, device: &B::Device) -> Tensor<Self> {
        count("adopt");
        B::adopt(memory, shape, device).lift()
    }

    fn to_device(x: &Tensor<Self>, device: &B::Device) -> Tensor<Self> {
        count("to_device");
        B::to_device(x.lower(), device).lift()
    }

    fn cat(tensors: &[&Tensor<Self>], dim: usize) -> Tensor<Self> {
        count("cat");
        B::cat(&inside(tensors), dim).lift()
    }
}
