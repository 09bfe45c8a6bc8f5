//! Captured steps as graphs of the driver: one chain of nodes, launched at once.

use std::any::Any;
use std::ffi::c_uint;
use std::ptr;
use std::sync::Arc;

use kiln_backend_gpu::{Launch, Prepared, Work};
use kiln_cuda_shim as cu;
use kiln_cuda_shim::{CUDA_KERNEL_NODE_PARAMS, CUDA_MEMCPY3D, CUresult, Handle};
use kiln_tensor_core::Result;

use super::{Buffer, Driver, Function, Open, blocks, pointers};
use crate::CudaDevice;
use crate::devices::open;

/// A graph that is ready to be launched, and its nodes in order. Handles, as numbers: the driver lets any thread
/// use them, one at a time.
#[derive(Debug)]
struct Graph {
    device: CudaDevice,
    graph: usize,
    ready: usize,
    nodes: Vec<usize>,
}

/// See `Runtime::prepare`. Nothing from a driver that is too old for graphs.
pub(super) fn prepare(
    device: &CudaDevice,
    work: &[Work<'_, Driver>],
) -> Result<Option<Box<dyn Prepared<Driver>>>> {
    let open = open(device)?;
    open.stream()?;
    let mut made = ptr::null_mut();
    // SAFETY: a pointer to a handle.
    let begun = unsafe { cu::cuGraphCreate(&mut made, 0) };
    if begun == CUresult::NEWER_DRIVER_NEEDED {
        return Ok(None);
    }
    open.check("cuGraphCreate", begun)?;
    let nodes = Vec::with_capacity(work.len());
    let mut graph = Graph { device: *device, graph: made as usize, ready: 0, nodes };
    for part in work {
        let added = graph.add(open, part)?;
        if added == CUresult::NEWER_DRIVER_NEEDED {
            return Ok(None);
        }
        open.check_memory("a node of a graph", added, 0)?;
    }
    let mut ready = ptr::null_mut();
    // SAFETY: a pointer to a handle; the graph is complete.
    let instantiated = unsafe { cu::cuGraphInstantiate(&mut ready, made, 0) };
    open.check_memory("cuGraphInstantiate", instantiated, 0)?;
    graph.ready = ready as usize;
    Ok(Some(Box::new(graph)))
}

impl Graph {
    /// Adds a node behind the last.
    fn add(&mut self, open: &Open, part: &Work<'_, Driver>) -> Result<CUresult> {
        let before: Vec<Handle> =
            self.nodes.last().map(|&node| node as Handle).into_iter().collect();
        let (mut node, graph) = (ptr::null_mut(), self.graph as Handle);
        let added = match part {
            Work::Launch(kernel, launch) => {
                let mut arguments = pointers(launch);
                let params = params(&self.device, kernel, launch, &mut arguments)?;
                // SAFETY: the driver copies what the pointers of the parameters point to; they are those of the
                // kernel, in order.
                unsafe {
                    cu::cuGraphAddKernelNode(
                        &mut node,
                        graph,
                        before.as_ptr(),
                        before.len(),
                        (&raw const params).cast(),
                    )
                }
            }
            Work::Library(part) => {
                let part: &Part = part.downcast_ref().expect("a part of this driver");
                // SAFETY: the driver copies the part's graph.
                unsafe {
                    let (before, count) = (before.as_ptr(), before.len());
                    cu::cuGraphAddChildGraphNode(&mut node, graph, before, count, part.0 as Handle)
                }
            }
            Work::Copy { from, to, bytes } => {
                let from: (&Buffer, usize) = *from;
                let (from, to) = (
                    from.0.place(&self.device, from.1, *bytes)?,
                    to.place(&self.device, 0, *bytes)?,
                );
                let copy = CUDA_MEMCPY3D::on_device(from, to, *bytes);
                // SAFETY: the buffers have these places.
                unsafe {
                    cu::cuGraphAddMemcpyNode(
                        &mut node,
                        graph,
                        before.as_ptr(),
                        before.len(),
                        (&raw const copy).cast(),
                        open.context(),
                    )
                }
            }
        };
        self.nodes.push(node as usize);
        Ok(added)
    }
}

/// `CU_STREAM_CAPTURE_MODE_RELAXED`: a library may ask the driver for what has nothing to do with the stream.
const RELAXED: c_uint = 2;

/// A graph of what a library queues in a call.
#[derive(Debug)]
struct Part(usize);

impl Drop for Part {
    fn drop(&mut self) {
        // SAFETY: graphs that it is a part of have copies.
        let _ = unsafe { cu::cuGraphDestroy(self.0 as Handle) };
    }
}

/// What `queue` queues by a library, which does so for the second time and is ready for it. Nothing where it does
/// nothing, or what cannot be a part of a graph.
pub(super) fn part(
    open: &'static Open,
    queue: impl FnOnce() -> Result<bool>,
) -> Result<Option<Arc<dyn Any + Send + Sync>>> {
    let aside = open.aside()?;
    let stream = aside.stream();
    // SAFETY: the stream lives to the end of the process, and nothing else is queued there.
    open.check("cuStreamBeginCapture", unsafe { cu::cuStreamBeginCapture(stream, RELAXED) })?;
    let queued = aside.redirect(queue);
    let mut graph = ptr::null_mut();
    // SAFETY: a pointer to a handle.
    let ended = unsafe { cu::cuStreamEndCapture(stream, &mut graph) };
    if graph.is_null() {
        // The library has asked for what cannot be captured.
        return Ok(None);
    }
    let part = Part(graph as usize);
    open.check("cuStreamEndCapture", ended)?;
    Ok(queued?.then(|| Arc::new(part) as _))
}

/// A kernel's node. `arguments` are from `pointers`.
fn params(
    device: &CudaDevice,
    kernel: &Function,
    launch: &Launch<'_, Buffer>,
    arguments: &mut super::Pointers,
) -> Result<CUDA_KERNEL_NODE_PARAMS> {
    let (groups, group): (c_uint, c_uint) = blocks(device, kernel, launch)?;
    Ok(CUDA_KERNEL_NODE_PARAMS {
        function: kernel.function as Handle,
        grid: [groups, 1, 1],
        block: [group, 1, 1],
        shared: 0,
        params: arguments.as_mut_ptr(),
        extra: ptr::null_mut(),
        kernel: ptr::null_mut(),
        context: ptr::null_mut(),
    })
}

impl Prepared<Driver> for Graph {
    fn run(&mut self, device: &CudaDevice, changed: &[(usize, Work<'_, Driver>)]) -> Result<()> {
        let open = open(device)?;
        let stream = open.stream()?;
        let ready = self.ready as Handle;
        for (at, part) in changed {
            let Work::Launch(kernel, launch) = part else { continue };
            let mut arguments = pointers(launch);
            let params = params(device, kernel, launch, &mut arguments)?;
            // SAFETY: as for `add`; launches that are queued keep what they had.
            let set = unsafe {
                let node = self.nodes[*at] as Handle;
                cu::cuGraphExecKernelNodeSetParams(ready, node, (&raw const params).cast())
            };
            open.check("cuGraphExecKernelNodeSetParams", set)?;
        }
        // SAFETY: the graph's buffers and kernels live as long as it does.
        open.check_memory("cuGraphLaunch", unsafe { cu::cuGraphLaunch(ready, stream) }, 0)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let Ok(open) = open(&self.device) else { return };
        let Ok(stream) = open.stream() else { return };
        // SAFETY: nothing is queued any more that is a part of the graph.
        unsafe {
            let _ = cu::cuStreamSynchronize(stream);
            if self.ready != 0 {
                let _ = cu::cuGraphExecDestroy(self.ready as Handle);
            }
            let _ = cu::cuGraphDestroy(self.graph as Handle);
        }
    }
}
