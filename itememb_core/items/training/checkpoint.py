"""Checkpoints of a fit: its whole state as one file, replaced atomically."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from itememb_core.errors import ItemembError

if TYPE_CHECKING:
    from torch import Tensor

_STATE: Final = "state"


def _digest(tensors: "Mapping[str, Tensor]") -> str:
    """A hash of tensors' names and bytes."""
    import torch

    state = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        state.update(name.encode())
        state.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


@dataclass
class Checkpoint:
    """A file that a fit writes from time to time and resumes from.

    Attributes:
        path: Its place.
        identity: What the fit depends on (data, settings, code): another fit's file is not read.
        seconds: Time between two writes.
        fault: What was wrong with the file that was there; None: nothing.
    """

    path: Path
    identity: str
    seconds: float = 60.0
    fault: str | None = None
    _written: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._written >= self.seconds

    def write(self, tensors: "dict[str, Tensor]", state: Mapping[str, object]) -> None:
        """Replace the file.

        Args:
            tensors: On any device.
            state: What JSON can hold.

        Raises:
            ItemembError: If the disk is full or refuses; the file is as it was.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        kept = {n: t.contiguous() for n, t in tensors.items()}
        text = json.dumps({"identity": self.identity, "state": state, "digest": _digest(kept)})
        staged = self.path.with_name(f"_{self.path.name}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file(kept, staged, {_STATE: text})
            os.replace(staged, self.path)
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                staged.unlink()
            raise ItemembError(
                f"checkpoint {self.path}: cannot be written ({error}); it is as it was"
            ) from error
        self._written = time.monotonic()

    def read(self, expected: "dict[str, Tensor]") -> dict[str, JsonValue] | None:
        """Copy the file's tensors into those expected and return the state.

        Returns:
            None without a file, or with another fit's or a damaged one, which is removed; ``fault``
            says what was wrong.

        Raises:
            ItemembError: If the file holds tensors of other dims.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                stored = json.loads(file.metadata()[_STATE])
                if stored["identity"] != self.identity:
                    self.remove()
                    return None
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if stored["digest"] != _digest(found):
                raise ValueError("its content is not what was written")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            self.fault = f"checkpoint {self.path}: damaged ({error}); the fit starts anew"
            self.remove()
            return None
        self._check(found, expected)
        for name, tensor in expected.items():
            tensor.copy_(found[name])
        return dict(stored["state"])

    def remove(self) -> None:
        """Remove the file: the fit has ended."""
        self.path.unlink(missing_ok=True)

    def _check(self, found: "dict[str, Tensor]", expected: "dict[str, Tensor]") -> None:
        shapes, wanted = ({n: tuple(t.shape) for n, t in x.items()} for x in (found, expected))
        if shapes != wanted:
            raise ItemembError(
                f"checkpoint {self.path}: found {shapes}, expected {wanted}; without it the fit "
                "starts anew"
            )
