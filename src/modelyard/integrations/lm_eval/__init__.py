r"""lm-evaluation-harness on our models: any of its tasks, on any engine.

    python -m modelyard.integrations.lm_eval run --model modelyard \
        --model_args model=smollm2-135m,engine=openvino --tasks hellaswag --batch_size auto

This is lm-eval's own command, its other models included, with one more: lm-eval 0.4 finds a model in its registry
alone, and neither an entry point nor an option of its command brings one in from another package. Who calls lm-eval
from Python imports this module, and has the model `modelyard` from then on.

Model arguments: `model` (an alias, Hub id or path), `engine`, `option_NAME` (an option of the engine), `device`,
`quantization`, `revision`, `adapter` (a LoRA), `catalog`, `offline`, `max_length`, `max_gen_toks` (256),
`prefix_token_id`, `exact` (True; False scores in faster numbers, where the engine has them), `batch_size` and
`max_batch_size`. The last two say how many requests are in flight: 1, which is
lm-eval's own default, is slow on engines that batch; `auto` is `max_batch_size` (64).

The numbers are those of lm-eval's model `hf`: texts are cut, prefixed and windowed by the same rules. What differs:
a context too long for `generate_until` loses its beginning here by whole characters, and keeps its BOS token.
"""

from modelyard.integrations.lm_eval.model import ModelyardLM

__all__ = ["ModelyardLM"]
