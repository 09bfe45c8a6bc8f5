//! What L-BFGS remembers, and its state dict.

use std::collections::VecDeque;

use kiln_nn::StateDict;
use kiln_tensor_core::{Backend, Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::LBFGS;

/// The entry of a state dict's metadata that holds what is not a tensor.
const KEY: &str = "optimizer";

/// What is known of the curvature, and where the last iteration went.
pub(super) struct Memory<B: Backend> {
    pub(super) func_evals: u64,
    pub(super) n_iter: u64,
    /// How far the last iteration went.
    pub(super) t: f64,
    /// The direction of the last iteration, and the gradient before it.
    last: Option<(Tensor<B>, Tensor<B>)>,
    /// Oldest first.
    pairs: VecDeque<Pair<B>>,
    /// The scale of the Hessian's inverse before any pair.
    diagonal: f64,
}

/// How much the gradient changed along a step, and the step.
struct Pair<B: Backend> {
    change: Tensor<B>,
    step: Tensor<B>,
    /// 1 / (change · step)
    rho: f64,
}

impl<B: Backend> Default for Memory<B> {
    fn default() -> Self {
        let (last, pairs) = (None, VecDeque::new());
        Memory { func_evals: 0, n_iter: 0, t: 0.0, last, pairs, diagonal: 1.0 }
    }
}

impl<B: Backend> Memory<B> {
    /// Minus the inverse Hessian times the gradient (Nocedal's two loops).
    pub(super) fn direction(&mut self, grad: &Tensor<B>, history: usize) -> Tensor<B> {
        if let Some((way, before)) = &self.last {
            let (change, step) = (grad - before, way * self.t);
            let curvature = change.dot(&step).item();
            if curvature > 1e-10 {
                while self.pairs.len() >= history {
                    self.pairs.pop_front();
                }
                self.diagonal = curvature / change.dot(&change).item();
                self.pairs.push_back(Pair { change, step, rho: 1.0 / curvature });
            }
        }
        let mut way = -grad;
        let mut weights = Vec::with_capacity(self.pairs.len());
        for Pair { change, step, rho } in self.pairs.iter().rev() {
            let weight = step.dot(&way).item() * rho;
            way -= change * weight;
            weights.push(weight);
        }
        way *= self.diagonal;
        for (Pair { change, step, rho }, weight) in self.pairs.iter().zip(weights.iter().rev()) {
            let other = change.dot(&way).item() * rho;
            way += step * (weight - other);
        }
        way
    }

    /// Notes where an iteration begins, and where it goes.
    pub(super) fn goes(&mut self, way: &Tensor<B>, grad: &Tensor<B>) {
        self.last = Some((way.clone(), grad.clone()));
    }
}

/// What a state dict holds beside tensors.
#[derive(Serialize, Deserialize)]
struct Rest {
    name: String,
    lr: f64,
    initial_lr: Option<f64>,
    func_evals: u64,
    n_iter: u64,
    t: f64,
    rho: Vec<f64>,
    diagonal: f64,
}

impl<B: Backend> LBFGS<B> {
    /// The optimizer's state, which a file can hold: the tensors `d` and `prev_flat_grad`, and `old_dirs.<n>` and
    /// `old_stps.<n>`, all of them as long as the parameters together; the rest is JSON in the metadata's `optimizer`.
    pub fn state_dict(&self) -> StateDict<B> {
        let (memory, mut state) = (&self.memory, StateDict::new());
        if let Some((way, grad)) = &memory.last {
            state.insert("d", way.clone());
            state.insert("prev_flat_grad", grad.clone());
        }
        for (i, Pair { change, step, .. }) in memory.pairs.iter().enumerate() {
            state.insert(format!("old_dirs.{i}"), change.clone());
            state.insert(format!("old_stps.{i}"), step.clone());
        }
        let rest = Rest {
            name: "LBFGS".into(),
            lr: self.lr,
            initial_lr: self.initial_lr,
            func_evals: memory.func_evals,
            n_iter: memory.n_iter,
            t: memory.t,
            rho: memory.pairs.iter().map(|pair| pair.rho).collect(),
            diagonal: memory.diagonal,
        };
        let text = serde_json::to_string(&rest).expect("numbers");
        state.metadata_mut().insert(KEY.into(), text);
        state
    }

    /// Takes over a state, the learning rate included; other options are the program's.
    ///
    /// # Errors
    /// [`Error::StateDict`] if the state is not one of LBFGS with as many parameters. Nothing has been changed then.
    pub fn load_state_dict(&mut self, state: &StateDict<B>) -> Result<()> {
        let wrong = |why: String| Error::StateDict { why: format!("LBFGS: {why}") };
        let text = state.metadata().get(KEY).ok_or_else(|| wrong("not an optimizer's".into()))?;
        let rest: Rest =
            serde_json::from_str(text).map_err(|error| wrong(format!("its metadata: {error}")))?;
        if rest.name != "LBFGS" {
            return Err(wrong(format!("the state is one of {}", rest.name)));
        }
        let total: usize = self.params().map(|param| param.numel()).sum();
        // As the parameters' gradients joined: of their dtype, where they are.
        let like = self.flat_grad();
        let vector = |name: &str| -> Result<Tensor<B>> {
            let found = state.get(name).ok_or_else(|| wrong(format!("{name} is missing")))?;
            if *found.shape() != [total] {
                return Err(wrong(format!("{name} has shape {}, not [{total}]", found.shape())));
            }
            Ok(crate::step::beside(&found.detach().copy(), &like))
        };
        let last = match rest.n_iter {
            0 => None,
            _ => Some((vector("d")?, vector("prev_flat_grad")?)),
        };
        let pairs = rest.rho.iter().enumerate().map(|(i, &rho)| {
            let [change, step] =
                ["old_dirs", "old_stps"].map(|name| vector(&format!("{name}.{i}")));
            Ok(Pair { change: change?, step: step?, rho })
        });
        let pairs: VecDeque<_> = pairs.collect::<Result<_>>()?;
        let used = 2 * (usize::from(last.is_some()) + pairs.len());
        if used != state.len() {
            return Err(wrong(format!("{} tensors instead of {used}", state.len())));
        }
        (self.lr, self.initial_lr) = (rest.lr, rest.initial_lr);
        let (func_evals, n_iter, t) = (rest.func_evals, rest.n_iter, rest.t);
        self.memory = Memory { func_evals, n_iter, t, last, pairs, diagonal: rest.diagonal };
        Ok(())
    }
}
