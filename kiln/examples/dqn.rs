//! Deep Q-learning (Mnih et al. 2015) on CartPole, which is written here: a pole on a cart stays up as long as the
//! cart is pushed left and right at the right moments.
//!
//! `cargo run --release -p kiln --example dqn`

use clap::Parser;
use kiln::data::Rng;
use kiln::prelude::*;

/// Learns to balance a pole.
#[derive(Parser)]
struct Args {
    /// How many pushes to learn from at most.
    #[arg(long, default_value_t = 40_000)]
    steps: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::cpu())]
    device: Device,
}

/// Position and speed of the cart, angle and angular speed of the pole.
type State = [f32; 4];

/// The physics of Barto, Sutton and Anderson (1983), with the constants of Gym's `CartPole-v1`.
fn push(state: State, right: bool) -> (State, bool) {
    const STEP: f32 = 0.02;
    let [x, v, angle, spin] = state;
    let force = if right { 10.0 } else { -10.0 };
    let (sin, cos) = angle.sin_cos();
    let pressed = (force + 0.05 * spin * spin * sin) / 1.1;
    let spin_up = (9.8 * sin - cos * pressed) / (0.5 * (4.0 / 3.0 - 0.1 * cos * cos / 1.1));
    let speed_up = pressed - 0.05 * spin_up * cos / 1.1;
    let next = [x + STEP * v, v + STEP * speed_up, angle + STEP * spin, spin + STEP * spin_up];
    (next, next[0].abs() > 2.4 || next[2].abs() > 12f32.to_radians())
}

/// What the network sees: numbers of about one.
fn scaled([x, v, angle, spin]: State) -> State {
    [x / 2.4, v / 2.0, angle / 0.2, spin / 2.0]
}

/// An episode ends when the pole falls, the cart leaves, or after this many steps: the best score.
const LONGEST: usize = 500;

/// What happened: a state, a push, what followed, and whether it was the end.
type Experience = (State, bool, State, bool);

/// The experiences of these places as tensors `[n, 4]`, `[n, 1]`, `[n, 4]`, `[n]`.
fn batch(memory: &[Experience], at: &[usize], device: &Device) -> [Tensor; 4] {
    let n = at.len();
    let states = |f: fn(&Experience) -> State| {
        let flat: Vec<f32> = at.iter().flat_map(|&i| scaled(f(&memory[i]))).collect();
        Tensor::from_slice(&flat, [n, 4], device)
    };
    let pushes: Vec<i64> = at.iter().map(|&i| i64::from(memory[i].1)).collect();
    let ends: Vec<f32> = at.iter().map(|&i| f32::from(u8::from(memory[i].3))).collect();
    let pushes = Tensor::from_slice(&pushes, [n, 1], device);
    [states(|e| e.0), pushes, states(|e| e.2), Tensor::from_slice(&ends, n, device)]
}

/// The value of a push to the left and to the right, `[n, 4] → [n, 2]`.
fn network(device: &Device) -> Sequential {
    Sequential::new((
        Linear::new(4, 64, device),
        ReLU::new(),
        Linear::new(64, 64, device),
        ReLU::new(),
        Linear::new(64, 2, device),
    ))
}

fn best_push(net: &Sequential, state: State, device: &Device) -> bool {
    let state = Tensor::from_slice(&scaled(state), [1, 4], device);
    let values: Vec<f32> = no_grad(|| net.call(&state)).to_vec();
    values[1] > values[0]
}

/// How long the pole stays up with the best pushes: the mean of ten episodes.
fn judge(net: &Sequential, rng: &mut Rng, device: &Device) -> f64 {
    let episode = |rng: &mut Rng| {
        let mut state = start(rng);
        for step in 1..=LONGEST {
            let (next, end) = push(state, best_push(net, state, device));
            if end {
                return step;
            }
            state = next;
        }
        LONGEST
    };
    (0..10).map(|_| episode(rng) as f64).sum::<f64>() / 10.0
}

fn start(rng: &mut Rng) -> State {
    std::array::from_fn(|_| (rng.uniform() * 0.1 - 0.05) as f32)
}

fn main() -> kiln::Result<()> {
    let Args { steps, seed, device } = Args::parse();
    manual_seed(seed);
    let mut rng = Rng::new(seed, 0);

    let net = network(&device);
    // What the future is worth is told by a copy that follows slowly, so that nobody chases their own tail.
    let target = network(&device);
    target.load_state_dict(&net.state_dict(), true)?;
    let mut adam = Adam::new(net.parameters()).lr(5e-4);
    let mut memory: Vec<Experience> = Vec::new();
    let (mut state, mut length) = (start(&mut rng), 0);
    for step in 1..=steps {
        // Mostly at random in the beginning, then mostly what seems best.
        let explore = (1.0 - step as f64 / (0.3 * steps as f64)).max(0.05);
        let right = if rng.uniform() < explore {
            rng.uniform() < 0.5
        } else {
            best_push(&net, state, &device)
        };
        let (next, end) = push(state, right);
        length += 1;
        memory.push((state, right, next, end));
        state = next;
        if end || length == LONGEST {
            (state, length) = (start(&mut rng), 0);
        }

        if step >= 500 && step % 2 == 0 {
            let at: Vec<usize> = (0..128).map(|_| rng.below(memory.len())).collect();
            let [states, pushes, nexts, ends] = batch(&memory, &at, &device);
            // Bellman: a step is worth 1/100 and what follows; the net picks the next push, the copy values it.
            let wanted = no_grad(|| {
                let picked = net.call(&nexts).argmax(1, true);
                let future = target.call(&nexts).gather(1, &picked).squeeze(1);
                0.01 + 0.99 * future * (1.0 - ends)
            });
            let values = net.call(&states).gather(1, &pushes).squeeze(1);
            let loss = values.smooth_l1_loss(&wanted, 1.0, Reduction::Mean);
            adam.zero_grad();
            loss.backward();
            clip_grad_norm_(net.parameters(), 10.0, 2.0);
            adam.step();
            for (slow, fast) in target.parameters().iter().zip(net.parameters()) {
                let [slow, fast] = [slow, &fast].map(|param| param.tensor().detach());
                slow.add_(&((fast - &slow) * 0.01));
            }
        }
        if step % 1000 == 0 {
            let score = judge(&net, &mut rng, &device);
            println!("step {step}: the pole stays up for {score:.0} steps");
            if score >= 490.0 {
                break;
            }
        }
    }
    println!("mean of ten episodes: {:.0} of {LONGEST} steps", judge(&net, &mut rng, &device));
    Ok(())
}
