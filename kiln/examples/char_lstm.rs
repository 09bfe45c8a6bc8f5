//! A recurrent network that writes, a character at a time, what it has learnt from Shakespeare's sonnets.
//!
//! The text is cut into parallel streams; each batch goes on where the last one ended, with the state that was
//! left (truncated backpropagation through time).
//!
//! `cargo run --release -p kiln --example char_lstm`

use clap::Parser;
use kiln::data::{CharVocab, sonnets};
use kiln::prelude::*;

/// Trains an LSTM on the characters of the sonnets.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 8)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// What the text that it writes begins with.
    #[arg(long, default_value = "Shall I compare ")]
    prompt: String,
    /// How many characters it writes.
    #[arg(long, default_value_t = 400)]
    write: usize,
}

const STREAMS: usize = 32;
const STEPS: usize = 48;

type State = (Tensor, Tensor);

#[derive(Module)]
struct Writer {
    embed: Embedding,
    lstm: LSTM,
    out: Linear,
}

impl Writer {
    fn new(chars: usize, device: &Device) -> Self {
        Writer {
            embed: Embedding::new(chars, 32, device),
            lstm: LSTM::new(32, 160, device).batch_first(true),
            out: Linear::new(160, chars, device),
        }
    }

    /// `[n, steps]` characters → logits `[n, steps, chars]` of the next one each, and the state.
    fn forward(&self, x: &Tensor, state: Option<State>) -> (Tensor, State) {
        let (y, state) = self.lstm.forward(&self.embed.call(x), state.as_ref());
        (self.out.call(&y), state)
    }

    /// Draws characters one by one from the model's own probabilities.
    fn write(&self, start: Vec<i64>, count: usize, device: &Device) -> Vec<i64> {
        let mut text = start;
        let mut input = Tensor::from_slice(&text, [1, text.len()], device);
        let mut state = None;
        for _ in 0..count {
            let (logits, next) = self.forward(&input, state);
            let last = logits.select(1, -1) / 0.7; // Below 1: likely characters get likelier.
            // Gumbel's trick: the largest of logits with this noise is a draw from their softmax.
            let noise = -(-last.rand_like().log()).log();
            let drawn = (last + noise).argmax(-1, true);
            text.push(drawn.item() as i64);
            (input, state) = (drawn, Some(next));
        }
        text
    }
}

fn main() {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = &args.device;

    let text = sonnets();
    let vocab = CharVocab::new(&text);
    let numbers = vocab.encode(&text).expect("made of this text");
    // [streams, length]: stream i reads the i-th part of the text. The last tenth is held out.
    let (train, held_out) = numbers.split_at(numbers.len() * 9 / 10);
    let streams = |part: &[i64], count: usize| {
        let length = part.len() / count;
        Tensor::from_slice(&part[..count * length], [count, length], device)
    };
    let (train, held_out) = (streams(train, STREAMS), streams(held_out, 1));
    let length = train.dims()[1];

    let model = Writer::new(vocab.len(), device);
    println!("{model}\n{} parameters on {device}, {} characters\n", model.numel(), numbers.len());
    let loss_of = |logits: &Tensor, target: &Tensor| {
        cross_entropy(&logits.flatten(0, 1), &target.flatten(0, -1))
    };
    let mut adam = Adam::new(model.parameters()).lr(4e-3);
    for epoch in 1..=args.epochs {
        let (mut state, mut losses): (Option<State>, Vec<f64>) = (None, Vec::new());
        for at in (0..length - STEPS).step_by(STEPS) {
            let (logits, (h, c)) = model.forward(&train.narrow(1, at, STEPS), state);
            let loss = loss_of(&logits, &train.narrow(1, at + 1, STEPS));
            adam.zero_grad();
            loss.backward();
            clip_grad_norm_(model.parameters(), 1.0, 2.0);
            adam.step();
            // The next batch begins with this state, but no gradient goes back through it.
            state = Some((h.detach(), c.detach()));
            losses.push(loss.item());
        }
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let count = held_out.dims()[1] - 1;
        let (logits, _) = no_grad(|| model.forward(&held_out.narrow(1, 0, count), None));
        let judged = loss_of(&logits, &held_out.narrow(1, 1, count)).item();
        println!("epoch {epoch}: loss {mean:.3}, on the last tenth {judged:.3}");
    }

    let Some(prompt) = vocab.encode(&args.prompt).filter(|numbers| !numbers.is_empty()) else {
        eprintln!("the sonnets have no other characters than {:?}", vocab.chars());
        std::process::exit(1);
    };
    let written = no_grad(|| model.write(prompt, args.write, device));
    println!("\n{}", vocab.decode(written));
}
