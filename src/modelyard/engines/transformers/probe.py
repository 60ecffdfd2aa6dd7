"""What is found out about a model by a few tiny forward passes after loading."""

from __future__ import annotations

import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from modelyard.engines.transformers.cache import SlotCache
from modelyard.engines.transformers.net import Net

_SAMPLE = 6  # tokens
_PADDING = 3
_TOLERANCE = {torch.float32: 0.01, torch.float64: 0.01}  # nats; of half precision _COARSE
_COARSE = 0.5


def padding_is_harmless(net: Net, layers: int) -> bool:
    """Whether a prompt padded on the left gets the same scores as alone.

    It does in nearly every architecture; one that counts positions by columns, or keeps a state beside its
    keys and values, must answer alone.
    """
    ids = _sample(net)
    alone = _scores(net, layers, ids, 0)
    beside = _scores(net, layers, ids, _PADDING)
    likely = alone.topk(min(20, alone.shape[-1])).indices
    difference = (alone - beside).gather(-1, likely).abs().max()
    return bool(difference <= _TOLERANCE.get(net.model.dtype, _COARSE))


def shared_bytes(net: Net, layers: int) -> int:
    """Bytes of cache that one token of one row takes."""
    cache = SlotCache(layers, [0], _SAMPLE)
    net([None], input_ids=_sample(net), cache=cache)
    return cache.nbytes // (cache.capacity[0] * cache.capacity[1])


def decoder_bytes(net: Net, start: int) -> int:
    """Bytes of cache that one token of prompt and one of answer take together in an encoder-decoder."""
    ids = _sample(net)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    net(
        [None],
        encoder_outputs=net.encode([None], ids, torch.ones_like(ids)),
        attention_mask=torch.ones_like(ids),
        decoder_input_ids=torch.tensor([[start]], device=net.device),
        cache=cache,
    )
    return sum(
        layer.keys.nbytes // layer.keys.shape[-2] + layer.values.nbytes // layer.values.shape[-2]
        for part in (cache.self_attention_cache, cache.cross_attention_cache)
        for layer in part.layers
    )


def _sample(net: Net) -> torch.Tensor:
    size = net.model.config.get_text_config(decoder=True).vocab_size
    return torch.tensor([[(at * 37 + 11) % size for at in range(_SAMPLE)]], device=net.device)


def _scores(net: Net, layers: int, ids: torch.Tensor, padding: int) -> torch.Tensor:
    cache = SlotCache(layers, [padding] if not padding else [padding, 0], _SAMPLE + padding)
    if padding:
        longer = torch.cat([ids[:, :padding], ids], dim=1)
        ids = torch.cat([torch.cat([torch.zeros_like(ids[:, :padding]), ids], dim=1), longer])
    columns = torch.arange(ids.shape[1], device=net.device)
    begins = torch.tensor(cache.begins, device=net.device)
    output = net(
        [None] * cache.rows,
        input_ids=ids,
        attention_mask=cache.mask(ids.shape[1], net.device),
        position_ids=(columns[None, :] - begins[:, None]).clamp(min=0),
        cache=cache,
    )
    return output.logits[0, -1].float().log_softmax(-1)
