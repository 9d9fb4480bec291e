"""A sentence encoder from a local folder of sentence-transformers; nothing is downloaded."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from itememb_core.device import device
from itememb_core.errors import ItemembError
from itememb_core.progress import Progress, silent

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Files without which a folder is no sentence encoder; weights must be safetensors.
NEEDED: Final = ("modules.json", "config.json", "model.safetensors")
#: Texts between two calls of ``progress``.
STEP: Final = 4096


class SentenceEncoder:
    """Unit vectors of texts.

    Attributes:
        fingerprint: Hash of its weights, which tells two encoders apart.
        width: Width of its vectors.
    """

    def __init__(self, folder: Path, batch: int) -> None:
        """Load it.

        Args:
            folder: As sentence-transformers saves an encoder.
            batch: Texts at once.

        Raises:
            ItemembError: It is no such folder, or the extra ``text`` is not installed.
        """
        self._folder = folder
        self._batch = batch
        self.fingerprint = _fingerprint(folder)
        self._model = _loaded(folder)
        self.width = self._encode(["a"]).shape[1]

    def encode(self, texts: list[str], progress: Progress = silent) -> NDArray[np.float32]:
        """Vectors float32 [texts, width], each of norm 1 (or zero)."""
        made = np.empty((len(texts), self.width), np.float32)
        for first in range(0, len(texts), STEP):
            made[first : first + STEP] = self._encode(texts[first : first + STEP])
            progress("content_features: sentences", min(first + STEP, len(texts)), len(texts))
        return made

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = self._model.encode(
            texts, batch_size=self._batch, show_progress_bar=False, normalize_embeddings=True
        )
        return np.asarray(vectors, np.float32)


def _fingerprint(folder: Path) -> str:
    """Hash of the weights, after a look at whether the folder is an encoder's at all."""
    wanted = f"expected a folder of sentence-transformers with {', '.join(NEEDED)}"
    if not folder.is_dir():
        raise ItemembError(f"text_model: {folder} is no folder, {wanted}")
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ItemembError(f"text_model: {folder} lacks {', '.join(missing)}, {wanted}")
    for name in NEEDED[:2]:
        try:
            json.loads((folder / name).read_text())
        except ValueError as error:
            raise ItemembError(f"text_model: {folder / name} is no JSON, {wanted}") from error
    with (folder / NEEDED[-1]).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _loaded(folder: Path) -> "SentenceTransformer":
    """The model; what its library says of a folder that it cannot read is the folder's fault."""
    if importlib.util.find_spec("sentence_transformers") is None:
        raise ItemembError(
            "text_model: sentence-transformers is not installed, expected itememb[text]"
        )
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(
            str(folder),
            device=device(),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise ItemembError(
            f"text_model: {folder} cannot be loaded ({line}), expected a folder of "
            "sentence-transformers"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()
