"""Images as PIL writes them, and their pixels as PIL reads them: needs Pillow and NumPy.

    python make.py
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

here = Path(__file__).parent
y, x = np.mgrid[0:11, 0:13]
rgb = np.stack([19 * x, 23 * y, (5 * x * y) % 256], -1).astype(np.uint8)
gray = ((17 * x + 3 * y * y) % 256).astype(np.uint8)
alpha = (255 - 9 * x).astype(np.uint8)

files = {
    "rgb.png": Image.fromarray(rgb),
    "rgba.png": Image.fromarray(np.dstack([rgb, alpha])),
    "gray.png": Image.fromarray(gray),
    "gray_alpha.png": Image.fromarray(np.dstack([gray, alpha])),
    "bits.png": Image.fromarray(gray > 99),
    "deep.png": Image.fromarray(gray.astype(np.uint16) * 256 + 200),
    "palette.png": Image.fromarray(rgb).quantize(7),
    "rgb.jpg": Image.fromarray(rgb),
    "gray.jpg": Image.fromarray(gray),
    "progressive.jpg": Image.fromarray(rgb),
}
pixels = {}
for name, image in files.items():
    options = {"quality": 90, "progressive": name.startswith("prog")} if name.endswith("jpg") else {}
    image.save(here / name, **options)
    read = Image.open(here / name)
    if name == "deep.png":
        values = (np.asarray(read).astype(np.int64) + 128) // 257
    else:
        values = np.asarray(read.convert("L" if name[:4] in ("bits",) or name in ("gray.png", "gray.jpg") else "RGB"))
    pixels[name] = values.astype(int).ravel().tolist()

# What Image.resize gives, for torchvision.transforms.Resize is that.
sizes = [(5, 6), (22, 26), (11, 4), (3, 13), (17, 2), (1, 1)]
resized = [
    {"size": [h, w], "pixels": np.asarray(files["rgb.png"].resize((w, h), Image.BILINEAR)).astype(int).ravel().tolist()}
    for h, w in sizes
]
(here / "pixels.json").write_text(json.dumps({"files": pixels, "resized": resized}) + "\n")
