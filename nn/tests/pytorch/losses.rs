//! Losses and distances.

use kiln_nn::*;
use kiln_tensor_core::{DType, Reduction, Tensor};

use super::{B, Case, Cases, Run, cases, unit};

pub fn losses() -> Cases {
    use Reduction::{BatchMean, None, Sum};
    let (classes, rows) = (|| unit(&[5], 90), || unit(&[3, 1], 90));
    Cases::from(cases! {
        |loss, x| loss.call(&x[0], &x[1]);
        "MSELoss()" => MSELoss::new();
        "MSELoss(reduction='sum')" => MSELoss::new().reduction(Sum);
        "MSELoss(reduction='none')" => MSELoss::new().reduction(None);
        "L1Loss()" => L1Loss::new();
        "L1Loss(reduction='sum')" => L1Loss::new().reduction(Sum);
        "L1Loss(reduction='none')" => L1Loss::new().reduction(None);
        "SmoothL1Loss()" => SmoothL1Loss::new();
        "SmoothL1Loss(reduction='sum')" => SmoothL1Loss::new().reduction(Sum);
        "SmoothL1Loss(reduction='none')" => SmoothL1Loss::new().reduction(None);
        "SmoothL1Loss(beta=0.3)" => SmoothL1Loss::new().beta(0.3);
        "SmoothL1Loss(beta=0.0)" => SmoothL1Loss::new().beta(0.0);
        "HuberLoss()" => HuberLoss::new();
        "HuberLoss(reduction='sum')" => HuberLoss::new().reduction(Sum);
        "HuberLoss(reduction='none')" => HuberLoss::new().reduction(None);
        "HuberLoss(delta=0.4)" => HuberLoss::new().delta(0.4);
        "BCELoss()" => BCELoss::new();
        "BCELoss(weight=unit([4], 90), reduction='none')" =>
            BCELoss::new().weight(unit(&[4], 90)).reduction(None);
        "BCEWithLogitsLoss()" => BCEWithLogitsLoss::new();
        "BCEWithLogitsLoss(weight=unit([3, 1], 90), pos_weight=unit([4], 91), reduction='sum')" =>
            BCEWithLogitsLoss::new().weight(rows()).pos_weight(unit(&[4], 91)).reduction(Sum);
        "CrossEntropyLoss()" => CrossEntropyLoss::new();
        "CrossEntropyLoss(reduction='sum')" => CrossEntropyLoss::new().reduction(Sum);
        "CrossEntropyLoss(weight=unit([5], 90))" => CrossEntropyLoss::new().weight(classes());
        "CrossEntropyLoss(ignore_index=3, reduction='none')" =>
            CrossEntropyLoss::new().ignore_index(3).reduction(None);
        "CrossEntropyLoss(weight=unit([5], 90), ignore_index=3, label_smoothing=0.2)" =>
            CrossEntropyLoss::new().weight(classes()).ignore_index(3).label_smoothing(0.2);
        "CrossEntropyLoss(label_smoothing=0.1)" => CrossEntropyLoss::new().label_smoothing(0.1);
        "CrossEntropyLoss(label_smoothing=0.3)" => CrossEntropyLoss::new().label_smoothing(0.3);
        "NLLLoss()" => NLLLoss::new();
        "NLLLoss(weight=unit([5], 90), ignore_index=1)" =>
            NLLLoss::new().weight(classes()).ignore_index(1);
        "NLLLoss(reduction='none')" => NLLLoss::new().reduction(None);
        "KLDivLoss()" => KLDivLoss::new();
        "KLDivLoss(reduction='batchmean')" => KLDivLoss::new().reduction(BatchMean);
        "KLDivLoss(reduction='sum', log_target=True)" =>
            KLDivLoss::new().reduction(Sum).log_target(true);
    })
}

/// −1 and 1 for 0 and 1.
fn signs(x: &Tensor<B>) -> Tensor<B> {
    x.to_dtype(DType::F64) * 2.0 - 1.0
}

pub fn more_losses() -> Cases {
    use Reduction::{None, Sum};
    let mut all = Cases::from(cases! {
        |loss, x| loss.call(&x[0], &x[1].to_dtype(DType::F64));
        "PoissonNLLLoss()" => PoissonNLLLoss::new();
        "PoissonNLLLoss(log_input=False, full=True): m(x[0], x[1].double())" => PoissonNLLLoss::new().log_input(false).full(true);
        "SoftMarginLoss()" => SoftMarginLoss::new();
        "MultiLabelSoftMarginLoss()" => MultiLabelSoftMarginLoss::new();
        "MultiLabelSoftMarginLoss(weight=unit([4], 90), reduction='sum')" =>
            MultiLabelSoftMarginLoss::new().weight(unit(&[4], 90)).reduction(Sum);
        "CosineSimilarity()" => CosineSimilarity::new();
        "CosineSimilarity(dim=-1, eps=0.5)" => CosineSimilarity::new().dim(-1).eps(0.5);
        "PairwiseDistance()" => PairwiseDistance::new();
        "PairwiseDistance(p=1.0, keepdim=True)" => PairwiseDistance::new().p(1.0).keepdim(true);
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0], &x[1]);
        "MultiMarginLoss()" => MultiMarginLoss::new();
        "MultiMarginLoss(p=2, margin=0.7, weight=unit([5], 90), reduction='none')" =>
            MultiMarginLoss::new().p(2).margin(0.7).weight(unit(&[5], 90)).reduction(None);
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0], &x[1]) * 2.0;
        "MultiMarginLoss(): m(x[0], x[1]) * 2" => MultiMarginLoss::new();
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0], &(&x[1] - 1));
        "MultiLabelMarginLoss(): m(x[0], x[1] - 1)" => MultiLabelMarginLoss::new();
        "MultiLabelMarginLoss(reduction='none'): m(x[0], x[1] - 1)" =>
            MultiLabelMarginLoss::new().reduction(None);
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0], &signs(&x[1]));
        "HingeEmbeddingLoss(): m(x[0], 2.0 * x[1] - 1)" => HingeEmbeddingLoss::new();
        "HingeEmbeddingLoss(margin=0.4): m(x[0], 2.0 * x[1] - 1)" =>
            HingeEmbeddingLoss::new().margin(0.4);
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0], &x[1], &signs(&x[2]));
        "MarginRankingLoss(margin=0.3): m(x[0], x[1], 2.0 * x[2] - 1)" =>
            MarginRankingLoss::new().margin(0.3);
        "CosineEmbeddingLoss(margin=0.1): m(x[0], x[1], 2.0 * x[2] - 1)" =>
            CosineEmbeddingLoss::new().margin(0.1);
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0], &x[1], &x[2]);
        "GaussianNLLLoss()" => GaussianNLLLoss::new();
        "GaussianNLLLoss(full=True, eps=0.3, reduction='sum')" =>
            GaussianNLLLoss::new().full(true).eps(0.3).reduction(Sum);
        "TripletMarginLoss()" => TripletMarginLoss::new();
        "TripletMarginLoss(margin=0.5, p=1.0, swap=True, reduction='none')" =>
            TripletMarginLoss::new().margin(0.5).p(1.0).swap(true).reduction(None);
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0].log_softmax(2), &(&x[1] + 1), &[7, 5, 6], &[3, 1, 0]);
        "CTCLoss(): m(x[0].log_softmax(2), x[1] + 1, (7, 5, 6), (3, 1, 0))" => CTCLoss::new();
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0].log_softmax(2), &x[1], &[6, 4, 2], &[3, 1, 3]);
        "CTCLoss(blank=4, reduction='none', zero_infinity=True): \
         m(x[0].log_softmax(2), x[1], (6, 4, 2), (3, 1, 3))" =>
            CTCLoss::new().blank(4).reduction(None).zero_infinity(true);
    });
    all.extend(cases! {
        |loss, x| loss.call(&x[0].log_softmax(1), &(&x[1] + 1), &[6], &[3]);
        "CTCLoss(reduction='sum'): m(x[0].log_softmax(1), x[1] + 1, (6,), (3,))" =>
            CTCLoss::new().reduction(Sum);
    });
    all
}
