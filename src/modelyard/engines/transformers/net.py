"""The model's forward pass: one at a time, in inference mode, each row under its own adapter."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from modelyard.errors import EngineError, ModelNotFoundError, UnsupportedError
from modelyard.types import Adapter

_BASE = "__base__"  # peft's name for a row without an adapter


class Net:
    """A loaded model and the adapters laid over it.

    Args:
        model: as transformers loads it, in eval mode.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model.device
        self.lock = threading.RLock()
        self._peft: Any = None
        self._names: dict[str, str] = {}
        accepted = inspect.signature(model.forward).parameters
        self._keeps = "logits_to_keep" in accepted
        # Since transformers 5.24 it is `cache`; models that bring code of their own have the older name.
        self._cache = "cache" if "cache" in accepted else "past_key_values"
        self.takes_positions = "position_ids" in accepted

    def __call__(
        self, adapters: Sequence[str | None], *, keep: int = 1, cache: Any = None, **inputs: Any
    ) -> Any:
        """The model's output for a batch.

        Args:
            adapters: of each row, a name that `adapter` gave, or None.
            keep: how many of the last columns get logits; 0 for all.
            cache: keys and values of what was read before; it is written on.
            inputs: as the model's `forward` takes them.
        """
        if self._keeps:
            inputs["logits_to_keep"] = keep
        if cache is not None:
            inputs |= {self._cache: cache, "use_cache": True}
        if not self.takes_positions:
            inputs.pop("position_ids", None)
        with self.lock, torch.inference_mode():
            if self._peft is None:
                return self.model(**inputs)
            return self._peft(**inputs, adapter_names=[name or _BASE for name in adapters])

    def encode(self, adapters: Sequence[str | None], ids: torch.Tensor, mask: torch.Tensor) -> Any:
        """The encoder's output for a batch of an encoder-decoder model."""
        encoder = self.model.get_encoder()
        with self.lock, torch.inference_mode():
            if self._peft is None:
                return encoder(input_ids=ids, attention_mask=mask)
            names = [name or _BASE for name in adapters]
            with self._peft.base_model._enable_peft_forward_hooks(adapter_names=names):
                return encoder(input_ids=ids, attention_mask=mask)

    def adapter(self, adapter: Adapter) -> str:
        """The name under which an adapter is laid over the model; loads it where it is new.

        Raises:
            ModelNotFoundError: its folder holds no adapter.
            UnsupportedError: it is no LoRA, or does not fit the model.
        """
        if adapter.path in self._names:
            return self._names[adapter.path]
        with self.lock:
            if adapter.path not in self._names:
                name = f"adapter{len(self._names)}"
                self._load(adapter, name)
                self._names[adapter.path] = name
            return self._names[adapter.path]

    def _load(self, adapter: Adapter, name: str) -> None:
        import peft

        if not (Path(adapter.path) / "adapter_config.json").is_file():
            raise ModelNotFoundError(
                f"adapter '{adapter.name}': there is no adapter_config.json in {adapter.path}",
                hint="Name a folder, Hub id or alias of a PEFT adapter.",
            )
        config = peft.PeftConfig.from_pretrained(adapter.path)
        if str(getattr(config.peft_type, "value", config.peft_type)) != "LORA":
            raise UnsupportedError(
                f"adapter '{adapter.name}' is of type {config.peft_type}",
                hint="LoRA adapters can be chosen per request; merge another kind into its base first.",
            )
        try:
            with warnings.catch_warnings(action="ignore"):
                if self._peft is None:
                    self._peft = peft.PeftModel.from_pretrained(
                        self.model, adapter.path, adapter_name=name, is_trainable=False
                    )
                else:
                    self._peft.load_adapter(adapter.path, adapter_name=name, is_trainable=False)
        except (ValueError, RuntimeError, OSError) as error:
            raise EngineError(
                f"adapter '{adapter.name}' does not fit '{self.model.name_or_path}': {str(error)[:300]}",
                hint="An adapter runs on the base that it was trained on.",
            ) from error
        self._peft.eval()
