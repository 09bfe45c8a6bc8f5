//! Recurrent layers, attention, transformers.

use kiln_backend_cpu::CpuDevice;
use kiln_nn::*;
use kiln_tensor_core::{DType, Tensor};

use super::{B, Case, Cases, Run, cases};

/// All tensors as one row.
fn flat(parts: &[&Tensor<B>]) -> Tensor<B> {
    Tensor::cat(&parts.iter().map(|x| x.reshape([-1])).collect::<Vec<_>>(), 0)
}

/// What a recurrent layer gives, as one row.
fn row<S: State<B>>((y, state): (Tensor<B>, S)) -> Tensor<B> {
    let mut parts = vec![y];
    state.each(|x, _| {
        parts.push(x.clone());
        x.clone()
    });
    flat(&parts.iter().collect::<Vec<_>>())
}

/// Sequences of several lengths through a recurrent layer.
fn packed<K: Recurrence>(m: &Recurrent<B, K>, x: &Tensor<B>, lengths: &[usize]) -> Tensor<B> {
    let (y, state) = m.forward_packed(&pack_padded_sequence(x, lengths, false, false), None);
    row((pad_packed_sequence(&y, false, 0.5, None).0, state))
}

pub fn recurrent() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    let mut all = Cases::from(cases! {
        |m, x| row(m.forward(&x[0], None));
        "RNN(3, 4): flat(m(x[0]))" => RNN::new(3, 4, f64);
        "LSTM(3, 4): flat(m(x[0]))" => LSTM::new(3, 4, f64);
        "LSTM(3, 4, bias=False, bidirectional=True, proj_size=2): flat(m(x[0]))" =>
            LSTM::new(3, 4, f64).bias(false).bidirectional(true).proj_size(2);
        "GRU(3, 4): flat(m(x[0]))" => GRU::new(3, 4, f64);
    });
    all.extend(cases! {
        |m, x| flat(&[&row(m.forward(&x[0], None)), &(&x[0] * 0.0)]);
        "LSTM(3, 4): flat(m(x[0]), 0 * x[0])" => LSTM::new(3, 4, f64);
    });
    all.extend(cases! {
        |m, x| row(m.forward(&x[0], Some(&x[1])));
        "RNN(3, 4, 2, 'relu', bidirectional=True): flat(m(x[0], x[1]))" =>
            RNN::new(3, 4, f64).num_layers(2).nonlinearity(RnnNonlinearity::Relu).bidirectional(true);
        "GRU(3, 4, 2, bidirectional=True): flat(m(x[0], x[1]))" =>
            GRU::new(3, 4, f64).num_layers(2).bidirectional(true);
    });
    all.extend(cases! {
        |m, x| row(m.forward(&x[0], Some(&(x[1].clone(), x[2].clone()))));
        "LSTM(3, 4, 2, batch_first=True, bidirectional=True): flat(m(x[0], (x[1], x[2])))" =>
            LSTM::new(3, 4, f64).num_layers(2).batch_first(true).bidirectional(true);
    });
    all.extend(cases! {
        |m, x| packed(m, &x[0], &[2, 5, 3]);
        "LSTM(3, 4, 2, bidirectional=True): packed(m, x[0], [2, 5, 3])" =>
            LSTM::new(3, 4, f64).num_layers(2).bidirectional(true);
        "GRU(3, 4, bidirectional=True): packed(m, x[0], [2, 5, 3])" =>
            GRU::new(3, 4, f64).bidirectional(true);
    });
    all.extend(cases! {
        |m, x| flat(&[&m.forward(&x[0], x.get(1))]);
        "RNNCell(3, 4): flat(m(x[0]))" => RNNCell::new(3, 4, f64);
        "RNNCell(3, 4, nonlinearity='relu'): flat(m(x[0], x[1]))" =>
            RNNCell::new(3, 4, f64).nonlinearity(RnnNonlinearity::Relu);
        "GRUCell(3, 4, bias=False): flat(m(x[0], x[1]))" => GRUCell::new(3, 4, f64).bias(false);
    });
    all.extend(cases! {
        |m, x| {
            let state = x.get(1).map(|h| (h.clone(), x[2].clone()));
            let (h, c) = m.forward(&x[0], state.as_ref());
            flat(&[&h, &c])
        };
        "LSTMCell(3, 4): flat(m(x[0], (x[1], x[2])))" => LSTMCell::new(3, 4, f64);
        "LSTMCell(3, 4): flat(m(x[0]))" => LSTMCell::new(3, 4, f64);
    });
    all
}

pub fn attention() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    let mut all = Cases::from(cases! {
        |m, x| {
            let (y, weights) = m.forward(&x[0], &x[1], &x[2], MultiheadOptions::new());
            flat(&[&y, &weights.unwrap()])
        };
        "MultiheadAttention(8, 2): flat(m(*x))" => MultiheadAttention::new(8, 2, f64);
        "MultiheadAttention(6, 3, kdim=4, vdim=5): flat(m(*x))" =>
            MultiheadAttention::new(6, 3, f64).kdim_vdim(4, 5);
    });
    all.extend(cases! {
        |m, x| {
            let (y, weights) = m.forward(&x[0], &x[0], &x[0], MultiheadOptions::new());
            flat(&[&y, &weights.unwrap()])
        };
        "MultiheadAttention(8, 2): flat(m(x[0], x[0], x[0]))" => MultiheadAttention::new(8, 2, f64);
    });
    all.extend(cases! {
        |m, x| {
            let (padding, hidden) = (x[1].eq(0), x[2].eq(0));
            let options = MultiheadOptions::new().average_attn_weights(false);
            let options = options.key_padding_mask(Some(&padding)).attn_mask(Some(&hidden));
            let (y, weights) = m.forward(&x[0], &x[0], &x[0], options);
            flat(&[&y, &weights.unwrap()])
        };
        "MultiheadAttention(8, 2, bias=False, add_bias_kv=True, add_zero_attn=True, batch_first=True): \
         flat(m(x[0], x[0], x[0], x[1].eq(0), True, x[2].eq(0), False))" =>
            MultiheadAttention::new(8, 2, f64)
                .bias(false).add_bias_kv(true).add_zero_attn(true).batch_first(true);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], &x[1], &x[2], MultiheadOptions::new().need_weights(false)).0;
        "MultiheadAttention(8, 4): m(*x, need_weights=False)[0]" => MultiheadAttention::new(8, 4, f64);
    });
    all.extend(cases! {
        |m, x| {
            let (padding, hidden) = (x[1].eq(0), x[2].eq(0));
            let options = MultiheadOptions::new().need_weights(false);
            let options = options.key_padding_mask(Some(&padding)).attn_mask(Some(&hidden));
            m.forward(&x[0], &x[0], &x[0], options).0
        };
        "MultiheadAttention(8, 4, batch_first=True): \
         m(x[0], x[0], x[0], x[1].eq(0), False, x[2].eq(0))[0]" =>
            MultiheadAttention::new(8, 4, f64).batch_first(true);
    });
    all
}

pub fn transformers() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    let sizes = TransformerOptions::new(8, 2).dim_feedforward(12).dropout(0.0);
    let mut all = Cases::from(cases! {
        |m, x| m.forward(&x[0], Masks::new());
        "TransformerEncoderLayer(8, 2, 12, dropout=0.0): m(x[0])" =>
            TransformerEncoderLayer::new(&sizes, f64);
        "TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0), 2, nn.LayerNorm(8)): \
         m(x[0])" =>
            TransformerEncoder::new(
                || TransformerEncoderLayer::new(&sizes, f64), 2, Some(LayerNorm::new([8], f64)));
    });
    all.extend(cases! {
        |m, x| {
            let (padding, hidden) = (x[1].eq(0), x[2].eq(0));
            m.forward(&x[0], Masks::new().mask(&hidden).key_padding_mask(&padding))
        };
        "TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation='gelu', batch_first=True, \
         norm_first=True, bias=False): m(x[0], x[2].eq(0), x[1].eq(0))" => {
            let sizes = sizes.activation(TransformerActivation::Gelu).batch_first(true);
            TransformerEncoderLayer::new(&sizes.norm_first(true).bias(false), f64)
        };
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], &x[1], Masks::new(), Masks::new());
        "TransformerDecoderLayer(8, 2, 12, dropout=0.0): m(x[0], x[1])" =>
            TransformerDecoderLayer::new(&sizes, f64);
        "TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0), 2): m(x[0], x[1])" =>
            TransformerDecoder::new(|| TransformerDecoderLayer::new(&sizes, f64), 2, None);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], &x[1], Masks::new().is_causal(true), Masks::new());
        "TransformerDecoderLayer(8, 2, 12, dropout=0.0, norm_first=True): \
         m(x[0], x[1], nn.Transformer.generate_square_subsequent_mask(5))" =>
            TransformerDecoderLayer::new(&sizes.norm_first(true), f64);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], &x[1], Masks::new(), Masks::new(), Masks::new());
        "Transformer(8, 2, 1, 2, 12, 0.0): m(x[0], x[1])" => Transformer::new(&sizes, 1, 2, f64);
    });
    all
}
