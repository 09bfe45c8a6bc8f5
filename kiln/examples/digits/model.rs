//! Two networks for images of 8×8 pixels.

use kiln::prelude::*;

/// Two convolutions, a halving, and two linear layers.
pub fn cnn(device: &Device) -> Sequential {
    Sequential::new((
        Conv2d::new(1, 16, 3, device).padding(1),
        BatchNorm2d::new(16, device),
        ReLU::new(),
        Conv2d::new(16, 32, 3, device).padding(1),
        BatchNorm2d::new(32, device),
        ReLU::new(),
        MaxPool2d::new(2),
        Flatten::new(),
        Dropout::new(0.3),
        Linear::new(32 * 4 * 4, 64, device),
        ReLU::new(),
        Linear::new(64, 10, device),
    ))
}

/// Three linear layers; it knows nothing of neighbouring pixels.
pub fn mlp(device: &Device) -> Sequential {
    Sequential::new((
        Flatten::new(),
        Linear::new(64, 256, device),
        BatchNorm1d::new(256, device),
        ReLU::new(),
        Dropout::new(0.3),
        Linear::new(256, 128, device),
        BatchNorm1d::new(128, device),
        ReLU::new(),
        Dropout::new(0.3),
        Linear::new(128, 10, device),
    ))
}
