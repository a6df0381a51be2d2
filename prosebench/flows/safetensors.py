"""A reader of `.safetensors` files: 8 bytes with the length of the header, a JSON header, then the raw
tensors.

Format: https://github.com/huggingface/safetensors (README, "Format").
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from prosebench.store.storage import DamagedFile

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file by name. Raises DamagedFile where it is cut, altered or of another kind."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:start])
        return {
            name: _tensor(content, start, entry) for name, entry in header.items() if name != "__metadata__"
        }
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise DamagedFile(f"{path} is not a whole .safetensors file ({error}); get it again") from error


def _tensor(content: bytearray, start: int, entry: dict) -> Tensor:
    dtype, shape, (first, end) = _TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if first == end:
        return torch.empty(shape, dtype=dtype)
    if end > len(content) - start:
        raise ValueError(f"a tensor ends at byte {end} of {len(content) - start}")
    count = (end - first) // dtype.itemsize
    return torch.frombuffer(content, dtype=dtype, count=count, offset=start + first).reshape(shape)
