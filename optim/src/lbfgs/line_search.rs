//! A line search for the strong Wolfe conditions: `torch.optim.LBFGS`'s, after Mark Schmidt's minFunc.

use kiln_tensor_core::{Backend, Tensor};

/// Sufficient decrease, and how much flatter the slope has to become (Nocedal, Wright 2006, chapter 3).
const C1: f64 = 1e-4;
const C2: f64 = 0.9;

/// A point on the line.
#[derive(Clone)]
pub(super) struct Point<B: Backend> {
    /// Where on the line it is.
    pub t: f64,
    pub loss: f64,
    pub grad: Tensor<B>,
    /// The derivative along the line.
    pub slope: f64,
}

/// What the search needs beside the line.
pub(super) struct Search<B: Backend> {
    /// The point where the line begins, at 0.
    pub start: Point<B>,
    /// Where to look first.
    pub t: f64,
    /// The largest magnitude in the direction.
    pub reach: f64,
    pub tolerance_change: f64,
    pub max_evals: usize,
}

impl<B: Backend> Search<B> {
    /// Where to go, and how often the loss was evaluated.
    pub(super) fn run(&self, mut evaluate: impl FnMut(f64) -> Point<B>) -> (Point<B>, usize) {
        let (start, limit) = (&self.start, self.max_evals);
        let too_high = |point: &Point<B>| point.loss > start.loss + C1 * point.t * start.slope;
        let flat = |point: &Point<B>| point.slope.abs() <= -C2 * start.slope;
        let (mut before, mut now) = (start.clone(), evaluate(self.t));
        let (mut evals, mut rounds) = (1, 0);
        // Goes on until a good point lies between two, or one is good itself.
        let mut bracket = loop {
            if rounds >= limit {
                break [start.clone(), now];
            }
            if too_high(&now) || (rounds > 1 && now.loss >= before.loss) {
                break [before, now];
            }
            if flat(&now) {
                return (now, evals);
            }
            if now.slope >= 0.0 {
                break [before, now];
            }
            let bounds = (now.t + 0.01 * (now.t - before.t), now.t * 10.0);
            let next = cubic_minimum(&before, &now, bounds);
            before = now;
            now = evaluate(next);
            evals += 1;
            rounds += 1;
        };
        let lower = |bracket: &[Point<B>; 2]| usize::from(bracket[0].loss > bracket[1].loss);
        let mut low = lower(&bracket);
        let (mut done, mut stuck) = (false, false);
        while !done && rounds < limit {
            let [min, max] = ends(&bracket);
            if (max - min) * self.reach < self.tolerance_change {
                break;
            }
            let mut t = cubic_minimum(&bracket[0], &bracket[1], (min, max));
            // Near an end twice, or at one: a tenth away from it is progress at least.
            let margin = 0.1 * (max - min);
            let near = (max - t).min(t - min) < margin;
            if near && (stuck || t >= max || t <= min) {
                t = if (t - max).abs() < (t - min).abs() { max - margin } else { min + margin };
                stuck = false;
            } else {
                stuck = near;
            }
            let point = evaluate(t);
            evals += 1;
            rounds += 1;
            if too_high(&point) || point.loss >= bracket[low].loss {
                bracket[1 - low] = point;
                low = lower(&bracket);
            } else {
                done = flat(&point);
                if !done && point.slope * (bracket[1 - low].t - bracket[low].t) >= 0.0 {
                    bracket[1 - low] = bracket[low].clone();
                }
                bracket[low] = point;
            }
        }
        let [first, second] = bracket;
        (if low == 0 { first } else { second }, evals)
    }
}

fn ends<B: Backend>([a, b]: &[Point<B>; 2]) -> [f64; 2] {
    [a.t.min(b.t), a.t.max(b.t)]
}

/// The minimum, within bounds, of the cubic through two points with these derivatives.
fn cubic_minimum<B: Backend>(a: &Point<B>, b: &Point<B>, (min, max): (f64, f64)) -> f64 {
    let d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    if square.is_nan() || square < 0.0 {
        return f64::midpoint(min, max);
    }
    let (left, right) = if a.t <= b.t { (a, b) } else { (b, a) };
    let d2 = square.sqrt();
    let share = (right.slope + d2 - d1) / (right.slope - left.slope + 2.0 * d2);
    (right.t - (right.t - left.t) * share).max(min).min(max)
}
