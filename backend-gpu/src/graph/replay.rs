//! A recorded step that is ready to be queued again.

use std::any::Any;
use std::sync::Arc;

use kiln_tensor_core::graph::{Params, Replay};
use kiln_tensor_core::{Error, Result};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::recorder::{OwnPool, Recorder};
use crate::faults::Fixed;
use crate::kernels::Slot;
use crate::launch::{LiveArgs, param};
use crate::opened::{Args, failed};
use crate::runtime::{Arg, Launch, Prepared, Work};
use crate::storage::{Storage, WeakStorage};
use crate::{Opened, Runtime};

/// An argument that is kept.
pub(super) enum Held<R: Runtime> {
    Buffer(Arc<R::Buffer>),
    Bytes(SmallVec<[u8; 24]>),
}

/// A part of a recorded step.
pub(super) enum Job<R: Runtime> {
    Launch {
        entry: &'static str,
        kernel: Arc<Slot<R>>,
        groups: usize,
        group: usize,
        args: Vec<Held<R>>,
        live: Option<LiveArgs>,
        /// The number of its watch.
        watch: Option<usize>,
    },
    Copy {
        from: Arc<R::Buffer>,
        start: usize,
        to: Arc<R::Buffer>,
        bytes: usize,
    },
    /// See `Runtime::library_part`.
    Library(Arc<dyn Any + Send + Sync>),
}

/// A recorded step. What it uses is let go in the order of the fields.
pub(crate) struct Recorded<R: Runtime> {
    device: R::Device,
    opened: &'static Opened<R>,
    queue: Mutex<Queue<R>>,
    faults: Option<Arc<Fixed<R>>>,
    written: Vec<Storage<R>>,
    /// What the step made and somebody had when it ended.
    made: Vec<WeakStorage<R>>,
    _outside: Vec<Storage<R>>,
    _pool: OwnPool<R>,
}

struct Queue<R: Runtime> {
    /// What the driver has made of the jobs, if it does that.
    prepared: Option<Box<dyn Prepared<R>>>,
    jobs: Vec<Job<R>>,
    /// Whether the driver knows the parameters that the jobs have.
    told: bool,
}

impl<R: Runtime> Recorded<R> {
    pub(crate) fn new(
        device: &R::Device,
        opened: &'static Opened<R>,
        recorder: Recorder<R>,
    ) -> Result<Self> {
        let Recorder { mut jobs, outside, written, mut made, watches, pool } = recorder;
        let faults: Option<Arc<Fixed<R>>> =
            if watches.is_empty() { None } else { Some(Fixed::new(device, watches)?) };
        for job in &mut jobs {
            if let (Job::Launch { args, watch: Some(number), .. }, Some(faults)) = (job, &faults) {
                args.push(Held::Buffer(faults.buffer().clone()));
                args.push(Held::Bytes(SmallVec::from_slice(&(*number as i64).to_ne_bytes())));
            }
        }
        made.retain(|storage| storage.upgrade().is_some());
        let prepared = prepared(device, &jobs)?;
        Ok(Recorded {
            device: device.clone(),
            opened,
            queue: Mutex::new(Queue { prepared, jobs, told: true }),
            faults,
            written: written.into_values().collect(),
            made,
            _outside: outside.into_values().collect(),
            _pool: pool,
        })
    }
}

/// What the driver makes of the jobs.
fn prepared<R: Runtime>(
    device: &R::Device,
    jobs: &[Job<R>],
) -> Result<Option<Box<dyn Prepared<R>>>> {
    let args: Vec<Args<'_, R>> = jobs.iter().map(Job::args).collect();
    let work: Vec<_> = jobs.iter().zip(&args).map(|(job, args)| job.work(args)).collect();
    R::prepare(device, &work)
}

impl<R: Runtime> Replay for Recorded<R> {
    fn replay(&self, live: &[Params]) -> Result<()> {
        let mut queue = self.queue.lock();
        let Queue { prepared, jobs, told } = &mut *queue;
        let told = std::mem::replace(told, false);
        let changed: Vec<usize> = jobs
            .iter_mut()
            .enumerate()
            .filter_map(|(at, job)| (job.set(live) || !told && job.is_live()).then_some(at))
            .collect();
        self.opened.replayed(&self.device, self.faults.as_ref(), || match prepared {
            Some(prepared) => {
                let args: Vec<Args<'_, R>> = changed.iter().map(|&at| jobs[at].args()).collect();
                let work = changed.iter().zip(&args).map(|(&at, args)| (at, jobs[at].work(args)));
                let last = jobs.iter().rev().find_map(Job::entry).unwrap_or("copy");
                let queued = prepared.run(&self.device, &work.collect::<Vec<_>>());
                queued.map(|()| last).map_err(|error| failed(error, "a captured step"))
            }
            None => {
                let mut last = "copy";
                for job in jobs.iter() {
                    let args = job.args();
                    last = job.entry().unwrap_or(last);
                    let queued = match job.work(&args) {
                        Work::Launch(kernel, launch) => R::launch(&self.device, kernel, &launch),
                        Work::Copy { from, to, bytes } => {
                            R::copy(&self.device, from, (to, 0), bytes)
                        }
                        Work::Library(_) => Err(Error::Backend {
                            device: self.device.to_string(),
                            why: "the driver is too old to replay what a library did".into(),
                        }),
                    };
                    queued.map_err(|error| failed(error, last))?;
                }
                Ok(last)
            }
        })?;
        queue.told = true;
        self.written.iter().for_each(Storage::written);
        self.made.iter().filter_map(WeakStorage::upgrade).for_each(|storage| storage.written());
        Ok(())
    }
}

impl<R: Runtime> Job<R> {
    fn entry(&self) -> Option<&'static str> {
        match self {
            Job::Launch { entry, .. } => Some(entry),
            Job::Copy { .. } | Job::Library(_) => None,
        }
    }

    fn args(&self) -> Args<'_, R> {
        match self {
            Job::Launch { args, .. } => args.iter().map(Held::arg).collect(),
            Job::Copy { .. } | Job::Library(_) => Args::<'_, R>::new(),
        }
    }

    fn work<'a>(&'a self, args: &'a [Arg<'a, R::Buffer>]) -> Work<'a, R> {
        match self {
            Job::Launch { kernel, groups, group, .. } => {
                Work::Launch(kernel.kernel(), Launch { groups: *groups, group: *group, args })
            }
            Job::Copy { from, start, to, bytes } => {
                Work::Copy { from: (from, *start), to, bytes: *bytes }
            }
            Job::Library(part) => Work::Library(&**part),
        }
    }

    fn is_live(&self) -> bool {
        matches!(self, Job::Launch { live: Some(_), .. })
    }

    /// Puts the parameters of this replay in. True if they are others than before.
    fn set(&mut self, live: &[Params]) -> bool {
        let Job::Launch { args, live: Some(LiveArgs { number, first, dtypes }), .. } = self else {
            return false;
        };
        let mut changed = false;
        for ((arg, &dtype), &value) in args[*first..].iter_mut().zip(&*dtypes).zip(&live[*number]) {
            let Held::Bytes(bytes) = arg else { continue };
            let value = param(dtype, value);
            if bytes[..] != value[..] {
                *bytes = value.into_iter().collect();
                changed = true;
            }
        }
        changed
    }
}

impl<R: Runtime> Held<R> {
    fn arg(&self) -> Arg<'_, R::Buffer> {
        match self {
            Held::Buffer(buffer) => Arg::Buffer(buffer),
            Held::Bytes(bytes) => Arg::Bytes(bytes),
        }
    }
}
