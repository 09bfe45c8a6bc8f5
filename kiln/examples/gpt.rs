//! A small GPT: a transformer that reads Shakespeare's sonnets and writes on, a character at a time.
//!
//! `cargo run --release -p kiln --example gpt`

use clap::Parser;
use kiln::data::{CharVocab, sonnets};
use kiln::optim::lr_scheduler::{OneCycleLR, Schedule};
use kiln::prelude::*;

/// Trains a small GPT on the characters of the sonnets.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 700)]
    steps: u64,
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

const BLOCK: usize = 64;
const BATCH: usize = 24;
const WIDTH: usize = 96;
const HEADS: usize = 4;
const LAYERS: usize = 3;

/// One layer: each position looks back at those before it, then thinks for itself. Norms come first, as in GPT-2.
#[derive(Module)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    mlp: Sequential,
}

impl Block {
    fn new(device: &Device) -> Self {
        Block {
            norm1: LayerNorm::new([WIDTH], device),
            qkv: Linear::new(WIDTH, 3 * WIDTH, device),
            proj: Linear::new(WIDTH, WIDTH, device),
            norm2: LayerNorm::new([WIDTH], device),
            mlp: Sequential::new((
                Linear::new(WIDTH, 4 * WIDTH, device),
                GELU::new(),
                Linear::new(4 * WIDTH, WIDTH, device),
                Dropout::new(0.1),
            )),
        }
    }

    /// `[n, t, width] → [n, t, width]`
    fn attend(&self, x: &Tensor) -> Tensor {
        let (n, t) = (x.dims()[0], x.dims()[1]);
        let heads = self.qkv.call(x).view([n, t, 3 * HEADS, WIDTH / HEADS]).transpose(1, 2);
        let [q, k, v] = [0, 1, 2].map(|i| heads.narrow(1, i * HEADS, HEADS));
        let causal = AttentionOptions::new().is_causal(true);
        let y = q.scaled_dot_product_attention(&k, &v, causal);
        self.proj.call(&y.transpose(1, 2).reshape([n, t, WIDTH]))
    }
}

impl Forward for Block {
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = x + self.attend(&self.norm1.call(x));
        &x + self.mlp.call(&self.norm2.call(&x))
    }
}

#[derive(Module)]
struct Gpt {
    tokens: Embedding,
    positions: Embedding,
    blocks: Sequential,
    norm: LayerNorm,
    out: Linear,
}

impl Gpt {
    fn new(chars: usize, device: &Device) -> Self {
        let mut blocks = Sequential::empty();
        for _ in 0..LAYERS {
            blocks.push(Block::new(device));
        }
        let gpt = Gpt {
            tokens: Embedding::new(chars, WIDTH, device),
            positions: Embedding::new(BLOCK, WIDTH, device),
            blocks,
            norm: LayerNorm::new([WIDTH], device),
            out: Linear::new(WIDTH, chars, device),
        };
        for table in [&gpt.tokens, &gpt.positions] {
            init::normal_(&table.weight, 0.0, 0.1);
        }
        gpt
    }

    /// Draws characters one by one; it sees at most the last `BLOCK`.
    fn write(&self, mut text: Vec<i64>, count: usize, device: &Device) -> Vec<i64> {
        for _ in 0..count {
            let seen = &text[text.len().saturating_sub(BLOCK)..];
            let logits = self.call(&Tensor::from_slice(seen, [1, seen.len()], device));
            let last = logits.select(1, -1) / 0.7; // Below 1: likely characters get likelier.
            // Gumbel's trick: the largest of logits with this noise is a draw from their softmax.
            let noise = -(-last.rand_like().log()).log();
            text.push((last + noise).argmax(-1, false).item() as i64);
        }
        text
    }
}

impl Forward for Gpt {
    /// `[n, t]` characters → logits `[n, t, chars]` of the next one each.
    fn forward(&self, x: &Tensor) -> Tensor {
        let positions = Tensor::arange(x.dims()[1] as i64, (x.device(), I64));
        let x = self.tokens.call(x) + self.positions.call(&positions);
        self.out.call(&self.norm.call(&self.blocks.call(&x)))
    }
}

fn main() {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = &args.device;

    let text = sonnets();
    let vocab = CharVocab::new(&text);
    let prompt = vocab.encode(&args.prompt).filter(|numbers| !numbers.is_empty());
    let prompt = prompt.expect("--prompt takes characters that the sonnets have");
    let numbers = vocab.encode(&text).expect("made of this text");
    // Every window of the text, one character longer than what is read; the last tenth is held out.
    let windows =
        |part: &[i64]| Tensor::from_slice(part, part.len(), device).unfold(0, BLOCK + 1, 1);
    let (train, held_out) = numbers.split_at(numbers.len() * 9 / 10);
    let (train, held_out) = (windows(train), windows(held_out));

    let model = Gpt::new(vocab.len(), device);
    println!("{} parameters on {device}, {} characters", model.numel(), numbers.len());
    let loss_of = |windows: &Tensor, rows: &Tensor| {
        let batch = windows.index_select(0, rows);
        let logits = model.call(&batch.narrow(1, 0, BLOCK));
        cross_entropy(&logits.flatten(0, 1), &batch.narrow(1, 1, BLOCK).flatten(0, -1))
    };
    let judged = Tensor::arange((0, held_out.dims()[0] as i64, BLOCK as i64), (device, I64));
    let mut adam = AdamW::new(model.parameters()).betas(0.9, 0.99).weight_decay(0.1);
    let mut schedule = OneCycleLR::new(4e-3, args.steps).attach(&mut adam);
    for step in 1..=args.steps {
        let rows = Tensor::randint(0, train.dims()[0] as i64, BATCH, (device, I64));
        let loss = loss_of(&train, &rows);
        adam.zero_grad();
        loss.backward();
        clip_grad_norm_(model.parameters(), 1.0, 2.0);
        adam.step();
        schedule.step(&mut adam);
        if step % 100 == 0 || step == args.steps {
            model.eval();
            let judged = no_grad(|| loss_of(&held_out, &judged)).item();
            model.train();
            println!("step {step}: loss {:.3}, on the last tenth {judged:.3}", loss.item());
        }
    }

    model.eval();
    println!("\n{}", vocab.decode(no_grad(|| model.write(prompt, args.write, device))));
}
