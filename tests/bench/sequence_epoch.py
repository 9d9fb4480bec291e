"""Speed of a pass of the sequence model, beside the same model with torch's own layers.

``python -m tests.bench.sequence_epoch [EVENTS]`` prints, for each encoder and for torch's own in
its place (``nn.TransformerEncoder``, ``nn.GRU``), seconds of wall and of processor time of one pass
over synthetic histories (``user_epoch``; default 1,000,000 events), users a second whose vectors
are made, and peak memory. Each is a process of its own. On a busy machine processor time is what
compares.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn

from itememb_core.settings.sequence import SequenceSettings
from itememb_core.users.sequence import network
from itememb_core.users.sequence.fit import fit_sequence_model
from itememb_core.users.shards import pack_histories
from tests.bench.user_epoch import items, peak_mib, shards

SETTINGS = {
    "gru": SequenceSettings(encoder="gru", dim=128, negatives=512, all_up_to=0),
    "transformer": SequenceSettings(negatives=1000, all_up_to=0),
}


@dataclass
class TorchLayers:
    """Torch's own layers as an encoder, called with the parameters that the fit holds."""

    settings: SequenceSettings

    def layers(self):
        s = self.settings
        if s.encoder == "gru":
            return nn.GRU(s.dim, s.dim, batch_first=True)
        layer = nn.TransformerEncoderLayer(
            s.dim, s.heads, s.dim, s.dropout, "gelu", batch_first=True, norm_first=True
        )
        return nn.TransformerEncoder(layer, s.blocks, enable_nested_tensor=False)

    def make(self):
        self.module = self.layers()
        return {name: each.detach().clone() for name, each in self.module.named_parameters()}

    def __call__(self, parameters, inputs, seconds, dropout, last=None):
        options = {}
        if self.settings.encoder != "gru":
            mask = nn.Transformer.generate_square_subsequent_mask(inputs.shape[1])
            options = {"mask": mask, "is_causal": True}
        found = torch.func.functional_call(self.module, parameters, (inputs,), options)
        return found[0] if self.settings.encoder == "gru" else found


def steps_of_a_pass(packed, space, settings):
    """Steps in which every event predicts about once."""
    return max(1, round(packed.events / settings.batch_events))


def measure(encoder: str, own: bool, events: int) -> dict[str, float]:
    """One pass."""
    space, settings = items(), SETTINGS[encoder]
    with tempfile.TemporaryDirectory() as folder:
        packed = pack_histories(shards(events), space, Path(folder))
        steps = steps_of_a_pass(packed, space, settings)
        made = mock.patch.object(network, "encoder_of", lambda s, times: TorchLayers(s))
        wall, cpu = time.perf_counter(), time.process_time()
        if own:
            model = fit_sequence_model(packed, space, settings, seed=0, steps=steps)
        else:
            with made:
                model = fit_sequence_model(packed, space, settings, seed=0, steps=steps)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {
            "events": packed.events,
            "steps": steps,
            "seconds": wall,
            "processor seconds": cpu,
            "users a second": vectors_a_second(model, packed) if own else float("nan"),
            "peak MiB": peak_mib(),
        }


def vectors_a_second(model, packed) -> float:
    """Users of as many events as a window holds."""
    shard = packed.shard(packed.names[0])
    users = np.arange(len(shard.user_ids))
    end = np.minimum(shard.start[users + 1], shard.start[users] + model.settings.window)
    model.user_vectors(shard, users[:2], end[:2])
    begun = time.perf_counter()
    model.user_vectors(shard, users, end)
    return len(users) / (time.perf_counter() - begun)


def main(arguments: list[str]) -> int:
    """Print a line for each encoder and its rival."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(measure(arguments[1], arguments[2] == "ours", int(arguments[3]))))
        return 0
    events = arguments[0] if arguments else "1000000"
    for encoder in SETTINGS:
        for whose in ("ours", "torch"):
            command = [sys.executable, "-m", "tests.bench.sequence_epoch", "--one", encoder, whose]
            done = subprocess.run([*command, events], capture_output=True, check=True)
            found = json.loads(done.stdout)
            figures = "  ".join(f"{name} {value:,.1f}" for name, value in found.items())
            print(f"{encoder} {whose}: {figures}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
