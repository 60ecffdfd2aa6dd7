"""KV cache: the bytes that an engine keeps of the tokens it has read.

A number for a layer is `heads x (keys + values)` a token (Shazeer 2019, arXiv 1911.02150, for fewer heads of
keys and values than of attention; DeepSeek-V2, arXiv 2405.04434, section 2.1, for MLA's latent). What each
engine keeps of it differs, so each has a function of its own, read from its source and held to it by a test.
"""

from __future__ import annotations

from modelyard.catalog.memory.architecture import Architecture, CacheLayer

OPENVINO_BLOCK, _OPENVINO_SCALE = 32, 8
_LLAMACPP_PAD = 256
_VLLM_BLOCK = 16
_SPARE, _GROWTH = 64, 1.5


def kv_bytes(
    model: Architecture, batch: int, context: int, *, source: int = 0, width: int = 2, reading: bool = False
) -> int:
    """What transformers' `DynamicCache(config=…)` holds; `EncoderDecoderCache` for an encoder and decoder.

    A layer with a window keeps `window` tokens once it writes one token at a time: the tensors are shown as
    `window - 1` long, and are a view into the one more that they were made with (cache_utils.py,
    `DynamicSlidingWindowLayer.update`). Right after a prompt was read in one pass the view's memory is still
    that of the whole prompt: windows save nothing there.

    Args:
        model: its architecture.
        batch: requests.
        context: tokens of prompt and answer, each; of the answer alone for an encoder and decoder.
        source: tokens of the encoder's text, each.
        width: bytes of one number.
        reading: right after the whole context was read in one pass.

    >>> from modelyard.catalog.memory.architecture import read_config
    >>> kv_bytes(read_config({"model_type": "gpt2"}), 1, 1000)
    36864000
    """
    own = sum(_kept(layer, context, reading) * layer.width for layer in model.cache)
    cross = source * sum(layer.width for layer in model.cache) if model.encoder_layers else 0
    return batch * (own + cross) * width


def _kept(layer: CacheLayer, context: int, reading: bool) -> int:
    return min(context, layer.window) if layer.window and not reading else context


def kv_bytes_a_token(model: Architecture, width: int = 2) -> int:
    """Bytes that one more token takes while it is inside every window."""
    return sum(layer.width for layer in model.cache) * width


def kv_bytes_expanded(model: Architecture, batch: int, context: int, width: int = 2) -> int:
    """What an engine that unpacks MLA before it caches would hold; as `kv_bytes` for any other attention."""
    if model.expanded is None:
        return kv_bytes(model, batch, context, width=width)
    return batch * context * len(model.cache) * model.expanded.width * width


def kv_bytes_openvino(model: Architecture, batch: int, context: int) -> int:
    """What OpenVINO GenAI's continuous batching allocates on a CPU, in blocks of 32 tokens of 8-bit numbers.

    Keys carry a scale and a zero point a channel and block, values one pair a token, 8 bytes each; windows
    are not used. Equal to the pipeline's own `cache_size_in_bytes` where measured.
    """
    blocks = batch * -(-context // OPENVINO_BLOCK)
    per_block = sum(
        layer.heads
        * (
            (OPENVINO_BLOCK + _OPENVINO_SCALE) * layer.keys
            + OPENVINO_BLOCK * (layer.values + _OPENVINO_SCALE)
        )
        for layer in model.cache
    )
    return blocks * per_block


def kv_bytes_llamacpp(
    model: Architecture, sequences: int, context: int, *, chunk: int = 512, bits: float = 16
) -> int:
    """What llama.cpp allocates when it loads, filled or not: each sequence's whole context.

    Layers with a window hold the window and one chunk of a prompt (llama-kv-cache-iswa.cpp); both sizes are
    rounded up to 256 tokens.

    Args:
        model: its architecture.
        sequences: that may lie in the cache at once.
        context: tokens that each may have.
        chunk: tokens of one step.
        bits: of one number: 16, or 8.5 for q8_0, 4.5 for q4_0.
    """
    whole = _padded(context)
    numbers = sum(
        layer.width * (min(whole, _padded(layer.window + chunk)) if layer.window else whole)
        for layer in model.cache
    )
    return int(sequences * numbers * bits / 8)


def kv_bytes_slots(model: Architecture, batch: int, prompt: int, context: int, width: int) -> int:
    """What our transformers engine holds: one buffer a layer, with room to grow into; windows are not used.

    It begins with the prompt and 64 columns, and grows to half as much again (engines/transformers/cache.py).
    """
    columns = prompt + _SPARE
    while columns < context:
        columns = int((columns + 1) * _GROWTH) + _SPARE
    return batch * columns * kv_bytes_a_token(model, width)


def kv_bytes_joined(model: Architecture, batch: int, prompt: int, context: int, width: int) -> int:
    """The most that it holds: requests that have been read apart are copied into a batch that has grown."""
    apart = kv_bytes_slots(model, batch, prompt, context, width)
    if batch == 1:
        return apart
    token = kv_bytes_a_token(model, width)
    grown = batch * (int(context * _GROWTH) + _SPARE) * token
    return max(apart, grown + (batch - 1) * (prompt + _SPARE) * token)


def kv_bytes_vllm(model: Architecture, batch: int, context: int, width: int = 2) -> int:
    """What vLLM needs for these requests, in blocks of 16 tokens; MLA as its latent, windows not counted.

    (It takes the rest of its share of the GPU for its cache anyway, and shares it among all requests.)
    """
    blocks = batch * -(-context // _VLLM_BLOCK)
    return blocks * _VLLM_BLOCK * kv_bytes_a_token(model, width)


def _padded(tokens: int) -> int:
    return -(-tokens // _LLAMACPP_PAD) * _LLAMACPP_PAD
