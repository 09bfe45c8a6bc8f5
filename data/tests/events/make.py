"""Event files as PyTorch and TensorBoard write them: needs torch and tensorboard.

    python make.py

With a folder as argument, lets TensorBoard read what is in it instead, and prints what it sees:

    KILN_EVENTS=folder cargo test -p kiln-data --test events
    python make.py folder
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

here = Path(__file__).parent


def write():
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as folder:
        writer = SummaryWriter(folder)
        for step in range(3):
            writer.add_scalar("loss", 1.0 / (step + 1), step)
        writer.add_histogram("weights", np.array([-1.5, 0.0, 0.25, 0.3, 2.0, 1e-13]), 4)
        image = np.zeros((3, 2, 5), np.float32)
        image[0, 1, 3] = 1
        writer.add_image("picture", image, 5)
        writer.add_text("note", "some *words*", 6)
        writer.add_hparams({"lr": 0.1, "layers": 2.0, "name": "adam"}, {"accuracy": 0.75}, run_name="h")
        writer.close()
        files = sorted(Path(folder).glob("**/events*"), key=lambda p: len(p.parts))
        (here / "torch.tfevents").write_bytes(files[0].read_bytes())
        (here / "torch_hparams.tfevents").write_bytes(files[1].read_bytes())


def read(folder):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import plugin_data_pb2

    runs = EventMultiplexer().AddRunsFromDirectory(folder).Reload()
    for run, tags in sorted(runs.Runs().items()):
        accumulator = runs.GetAccumulator(run)
        print("run", run, {kind: tag for kind, tag in tags.items() if tag})
        for tag in tags["scalars"]:
            print("  scalar", tag, [(e.step, e.value) for e in accumulator.Scalars(tag)])
        for tag in tags["histograms"]:
            print("  histogram", tag, accumulator.Histograms(tag))
        for tag in tags["images"]:
            print("  image", tag, [(e.step, e.width, e.height, len(e.encoded_image_string)) for e in accumulator.Images(tag)])
        for tag in tags["tensors"]:
            print("  tensor", tag, [(e.step, list(e.tensor_proto.string_val)) for e in accumulator.Tensors(tag)])
        metadata = accumulator.summary_metadata
        for tag, data in metadata.items():
            if data.plugin_data.plugin_name == "hparams":
                print("  hparams", tag, str(plugin_data_pb2.HParamsPluginData.FromString(data.plugin_data.content)).split())


if len(sys.argv) > 1:
    read(sys.argv[1])
else:
    write()
