"""Images as PIL writes them, and their pixels as PIL reads them: needs Pillow and NumPy.

    python make.py
"""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

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

def flat(image):
    return np.asarray(image).astype(int).ravel().tolist()


def hue(image, shift):
    """torchvision.transforms.functional.adjust_hue."""
    h, s, v = image.convert("HSV").split()
    h = Image.fromarray(np.asarray(h) + np.array(shift * 255).astype(np.int32).astype(np.uint8))
    return Image.merge("HSV", (h, s, v)).convert("RGB")


def affine(image, angle, scale, shear, resample):
    """torchvision.transforms.functional.affine, without a translation; its matrix is written out here."""
    rot, sx, cx, cy = math.radians(angle), math.radians(shear), image.width * 0.5, image.height * 0.5
    a, b = math.cos(rot), -math.cos(rot) * math.tan(sx) - math.sin(rot)
    c, d = math.sin(rot), -math.sin(rot) * math.tan(sx) + math.cos(rot)
    m = [x / scale for x in (d, -b, 0.0, -c, a, 0.0)]
    m[2] += m[0] * -cx + m[1] * -cy + cx
    m[5] += m[3] * -cx + m[4] * -cy + cy
    return image.transform(image.size, Image.Transform.AFFINE, m, resample, fillcolor=(7, 7, 7))


image = files["rgb.png"]
changed = {
    "brightness": flat(ImageEnhance.Brightness(image).enhance(1.5)),
    "contrast": flat(ImageEnhance.Contrast(image).enhance(0.4)),
    "saturation": flat(ImageEnhance.Color(image).enhance(1.7)),
    "hue": flat(hue(image, 0.2)),
    "hue_back": flat(hue(image, -0.3)),
    "rotated": flat(image.rotate(30, Image.NEAREST, fillcolor=(7, 7, 7))),
    "rotated_bilinear": flat(image.rotate(30, Image.BILINEAR, fillcolor=(7, 7, 7))),
    "affine": flat(affine(image, 0, 1.2, 15, Image.NEAREST)),
    "affine_bilinear": flat(affine(image, 0, 0.8, 15, Image.BILINEAR)),
}
table = {"files": pixels, "resized": resized, "changed": changed}
(here / "pixels.json").write_text(json.dumps(table) + "\n")
