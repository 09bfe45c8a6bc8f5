//! Loss scaling, which keeps small gradients of narrow floats from becoming 0: `torch.amp.GradScaler`.

use std::collections::HashMap;

use kiln_tensor_core::{
    Backend, DType, Error, Fused, Kernel, ReduceOp, Result, Scalar, Tensor, raise,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::optimizer::Optimizer;
use crate::param::ParamGroup;
use crate::step::Step;

/// Multiplies the loss, and so all gradients, by a factor; divides gradients by it before they are used; leaves steps out
/// whose gradients are infinite or NaN; and adapts the factor: less after such a step, more after many good ones
/// (Micikevicius et al. 2018). Wanted for `f16`; `bf16` has the range of `f32`.
///
/// ```no_run
/// # use kiln_tensor_core::{Backend, DType, Tensor, autocast};
/// # use kiln_optim::{Adam, GradScaler, clip_grad_norm_};
/// # fn f<B: Backend>(adam: &mut Adam<B>, params: &[Tensor<B>], loss_of: impl Fn() -> Tensor<B>, backward: impl Fn(Tensor<B>)) {
/// let mut scaler = GradScaler::new();
/// for _ in 0..100 {
///     adam.zero_grad();
///     let loss = autocast(DType::F16, &loss_of);
///     backward(scaler.scale(&loss));
///     scaler.unscale_(adam); // Only where gradients are looked at, as here.
///     clip_grad_norm_(params, 1.0, 2.0);
///     scaler.step(adam);
///     scaler.update();
/// }
/// # }
/// ```
///
/// Whether gradients are finite is found out on the device, for all of them together, and read once, by `step`.
#[derive(Debug)]
pub struct GradScaler<B: Backend> {
    scale: f32,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u64,
    enabled: bool,
    growth_tracker: u64,
    /// What has been done for each optimizer since the last update.
    seen: HashMap<u64, Seen<B>>,
}

/// How far an optimizer is.
#[derive(Debug)]
struct Seen<B: Backend> {
    found: Found<B>,
    stepped: bool,
}

/// Whether gradients were not finite.
#[derive(Debug)]
enum Found<B: Backend> {
    /// Bools, 0-d, one for each device.
    There(Vec<Tensor<B>>),
    Known(bool),
}

impl<B: Backend> Found<B> {
    fn read(&mut self) -> bool {
        if let Found::There(flags) = self {
            let any = flags.iter().any(|flag| flag.item() != 0.0);
            *self = Found::Known(any);
        }
        matches!(self, Found::Known(true))
    }
}

/// What a state dict holds; the names are PyTorch's.
#[derive(Serialize, Deserialize)]
struct State {
    scale: f32,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u64,
    #[serde(rename = "_growth_tracker")]
    growth_tracker: u64,
}

impl<B: Backend> Default for GradScaler<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> GradScaler<B> {
    /// Scale 65536, doubled after 2000 good steps, halved after a bad one.
    pub fn new() -> Self {
        GradScaler {
            scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            enabled: true,
            growth_tracker: 0,
            seen: HashMap::new(),
        }
    }

    /// The scale to begin with.
    #[must_use]
    pub fn init_scale(mut self, scale: f64) -> Self {
        self.scale = scale as f32;
        self
    }

    /// What the scale is multiplied by after `growth_interval` good steps.
    ///
    /// # Panics
    /// If it is not above 1.
    #[must_use]
    #[track_caller]
    pub fn growth_factor(mut self, factor: f64) -> Self {
        self.set_growth_factor(factor);
        self
    }

    /// What the scale is multiplied by after a step that was left out.
    ///
    /// # Panics
    /// If it is not below 1.
    #[must_use]
    #[track_caller]
    pub fn backoff_factor(mut self, factor: f64) -> Self {
        self.set_backoff_factor(factor);
        self
    }

    /// After how many good steps the scale grows.
    #[must_use]
    pub fn growth_interval(mut self, steps: u64) -> Self {
        self.growth_interval = steps;
        self
    }

    /// Whether it does anything; off, `scale` gives the loss and `step` steps.
    #[must_use]
    pub fn enabled(mut self, on: bool) -> Self {
        self.enabled = on;
        self
    }

    /// Whether it does anything.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The scale; 1 where the scaler is off.
    pub fn get_scale(&self) -> f64 {
        if self.enabled { f64::from(self.scale) } else { 1.0 }
    }

    /// What the scale is multiplied by to grow.
    pub fn get_growth_factor(&self) -> f64 {
        self.growth_factor
    }

    /// Sets what the scale is multiplied by to grow.
    ///
    /// # Panics
    /// If it is not above 1.
    #[track_caller]
    pub fn set_growth_factor(&mut self, factor: f64) {
        require(factor > 1.0, "GradScaler", "the condition is growth_factor > 1");
        self.growth_factor = factor;
    }

    /// What the scale is multiplied by after a step that was left out.
    pub fn get_backoff_factor(&self) -> f64 {
        self.backoff_factor
    }

    /// Sets what the scale is multiplied by after a step that was left out.
    ///
    /// # Panics
    /// If it is not below 1.
    #[track_caller]
    pub fn set_backoff_factor(&mut self, factor: f64) {
        require(factor < 1.0, "GradScaler", "the condition is backoff_factor < 1");
        self.backoff_factor = factor;
    }

    /// After how many good steps the scale grows.
    pub fn get_growth_interval(&self) -> u64 {
        self.growth_interval
    }

    /// Sets after how many good steps the scale grows.
    pub fn set_growth_interval(&mut self, steps: u64) {
        self.growth_interval = steps;
    }

    /// The loss (or another output) times the scale, of the same dtype.
    pub fn scale(&self, outputs: &Tensor<B>) -> Tensor<B> {
        if self.enabled { outputs * f64::from(self.scale) } else { outputs.clone() }
    }

    /// Divides the gradients of the optimizer's parameters by the scale, in place, and finds out whether they were
    /// finite. `step` does it where this has not been called; call it where gradients are looked at or clipped before.
    ///
    /// # Panics
    /// If it has been called since the last `update`, or `step` has; with [`Error::DType`] if a gradient is `f16`, which
    /// may have lost what the scale was to save: keep parameters in `f32`.
    #[track_caller]
    pub fn unscale_<A: Step>(&mut self, optimizer: &Optimizer<B, A>) {
        if !self.enabled {
            return;
        }
        let op = "GradScaler::unscale_";
        if let Some(Seen { stepped, .. }) = self.seen.get(&optimizer.id()) {
            let why = match stepped {
                true => "it comes before `step`",
                false => "it has been called for this optimizer since the last `update`",
            };
            require(false, op, why);
        }
        let found = Found::There(self.unscale(optimizer));
        self.seen.insert(optimizer.id(), Seen { found, stepped: false });
    }

    #[track_caller]
    fn unscale<A: Step>(&self, optimizer: &Optimizer<B, A>) -> Vec<Tensor<B>> {
        static SPOILT: Fused<1> = Fused::new("unscale", |[x]| x.is_inf() | x.is_nan());
        static SCALE: Fused<2> = Fused::new("unscale", |[x, by]| (x * by).cast(x.dtype()));
        let params = optimizer.groups.iter().flat_map(ParamGroup::params);
        let mut batches: Vec<(DType, B::Device, Vec<Tensor<B>>)> = Vec::new();
        for grad in params.filter_map(|param| Some(param.grad()?.detach())) {
            if grad.dtype() == DType::F16 {
                raise(Error::DType {
                    op: "GradScaler::unscale_",
                    dtypes: vec![DType::F16],
                    why: "gradients of f16 cannot be unscaled; keep parameters in f32 and use autocast".into(),
                });
            }
            let (dtype, device) = (grad.dtype(), grad.device().clone());
            match batches.iter_mut().find(|batch| (batch.0, &batch.1) == (dtype, &device)) {
                Some(batch) => batch.2.push(grad),
                None => batches.push((dtype, device, vec![grad])),
            }
        }
        let flags = batches.into_iter().map(|(dtype, device, grads)| {
            let one = |grad: &Tensor<B>| {
                let dims: Vec<usize> = (0..grad.rank()).collect();
                SPOILT.reduce(ReduceOp::Any, [grad], &dims).reshape([1])
            };
            let flags: Vec<_> = grads.iter().map(one).collect();
            let by = Tensor::full(
                [],
                Scalar::F64(1.0 / f64::from(self.scale)),
                (&device, dtype.compute()),
            );
            let program = SCALE.program([dtype, by.dtype()]);
            let groups: Vec<_> = grads.iter().map(|grad| (vec![grad, &by], vec![grad])).collect();
            B::map_each_into(Kernel::new(&program), &groups);
            Tensor::cat(&flags, 0).any()
        });
        flags.collect()
    }

    /// Divides the gradients by the scale, unless `unscale_` has, and lets the optimizer step if they are finite. Says
    /// whether it did.
    ///
    /// # Panics
    /// If it has been called for this optimizer since the last `update`, or there is no gradient; as
    /// [`GradScaler::unscale_`] and [`Optimizer::step`].
    #[track_caller]
    pub fn step<A: Step>(&mut self, optimizer: &mut Optimizer<B, A>) -> bool {
        if !self.enabled {
            optimizer.step();
            return true;
        }
        let op = "GradScaler::step";
        if !self.seen.contains_key(&optimizer.id()) {
            self.unscale_(optimizer);
        }
        let seen = self.seen.get_mut(&optimizer.id()).expect("seen above");
        let again = "it has been called for this optimizer since the last `update`";
        require(!seen.stepped, op, again);
        let any = !matches!(&seen.found, Found::There(flags) if flags.is_empty());
        require(any, op, "no parameter of the optimizer has a gradient");
        seen.stepped = true;
        let finite = !seen.found.read();
        if finite {
            optimizer.step();
        }
        finite
    }

    /// Adapts the scale to what the steps since the last update have found.
    ///
    /// # Panics
    /// If there were none.
    #[track_caller]
    pub fn update(&mut self) {
        if !self.enabled {
            return;
        }
        require(
            !self.seen.is_empty(),
            "GradScaler::update",
            "no gradients were looked at since the last one",
        );
        let mut spoilt = false;
        for (_, mut seen) in self.seen.drain() {
            spoilt |= seen.found.read();
        }
        let times = |factor: f64| (f64::from(self.scale) * factor) as f32;
        if spoilt {
            (self.scale, self.growth_tracker) = (times(self.backoff_factor), 0);
            return;
        }
        self.growth_tracker += 1;
        if self.growth_tracker == self.growth_interval {
            let grown = times(self.growth_factor);
            self.scale = if grown.is_finite() { grown } else { self.scale };
            self.growth_tracker = 0;
        }
    }

    /// Sets the scale, in place of what [`GradScaler::update`] would make of it: PyTorch's `update(new_scale)`.
    pub fn update_to(&mut self, new_scale: f64) {
        if self.enabled {
            self.seen.clear();
            self.scale = new_scale as f32;
        }
    }

    /// The scaler's state as JSON, with PyTorch's names; empty where it is off.
    pub fn state_dict(&self) -> Value {
        if !self.enabled {
            return json!({});
        }
        let GradScaler {
            scale,
            growth_factor,
            backoff_factor,
            growth_interval,
            growth_tracker,
            ..
        } = *self;
        let state = State { scale, growth_factor, backoff_factor, growth_interval, growth_tracker };
        serde_json::to_value(state).expect("numbers")
    }

    /// Takes over what [`GradScaler::state_dict`] has given, between an update and the next step; nothing where the scaler
    /// is off.
    ///
    /// # Errors
    /// [`Error::StateDict`] if it is not the state of a scaler that was on. Nothing has been changed then.
    pub fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let state = State::deserialize(state)
            .map_err(|error| Error::StateDict { why: format!("GradScaler: {error}") })?;
        self.scale = state.scale;
        (self.growth_factor, self.backoff_factor) = (state.growth_factor, state.backoff_factor);
        (self.growth_interval, self.growth_tracker) = (state.growth_interval, state.growth_tracker);
        self.seen.clear();
        Ok(())
    }
}

#[track_caller]
fn require(holds: bool, op: &'static str, why: &str) {
    if !holds {
        raise(Error::Argument { op, why: why.into() });
    }
}
