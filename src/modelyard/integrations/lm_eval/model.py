"""ModelyardLM: a model of ours as lm-eval asks it."""

from __future__ import annotations

import functools
import itertools
import logging
import random
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lm_eval.models  # noqa: F401 (fills the registry, only while it is empty)
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm  # type: ignore[import-untyped]

from modelyard.create import create_llm
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.integrations.lm_eval.arguments import generation, in_flight, options_of, whole
from modelyard.integrations.lm_eval.tokens import Pair, Tokens
from modelyard.integrations.together import together
from modelyard.types import Result, Score

Named = tuple[tuple[str, str] | None, list[int], list[int]]
"""A context and a continuation as token ids, behind the texts that they are of."""
_GOES_ON = "CONTINUE_FINAL_MESSAGE_TAG "  # as in transformers: where the last message is to be gone on with

log = logging.getLogger("lm_eval.modelyard")  # under lm-eval's own, which alone is shown


@dataclass(slots=True, frozen=True)
class _Asked:
    """A prompt, its sampling parameters, and whether its beginning was cut away."""

    prompt: str
    how: dict[str, Any]
    cut: bool


@register_model("modelyard")
class ModelyardLM(TemplateLM):  # type: ignore[misc]  # lm-eval publishes no types
    """A model of ours as lm-eval asks it.

    Args:
        model: an alias, Hub id or path.
        engine, device, quantization, catalog, offline: as `create_llm` takes them.
        revision, trust_remote_code: of the model's files on the Hub.
        adapter: a LoRA to ask the model with.
        batch_size: most requests in flight; `auto` for `max_batch_size`.
        max_batch_size: the same for `auto`.
        max_length: tokens of context that are used; by default all that the model has.
        max_gen_toks: most tokens of an answer, where the task does not say.
        prefix_token_id: what an empty context stands for; by default the BOS token, else the EOS token.
        exact: likelihoods in the engine's most exact numbers; without it in faster ones, where it has them.
        more: the engine's options, as `option_NAME`.

    Raises:
        InvalidArgumentError: an argument that is not known, or a bad value; it says which.

    What the engine cannot do is an UnsupportedError where a task asks for it.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        engine: str | None = None,
        device: str | None = None,
        quantization: str | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        adapter: str | None = None,
        catalog: str | None = None,
        offline: bool | None = None,
        batch_size: int | str = 1,
        max_batch_size: int = 64,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        prefix_token_id: int | None = None,
        exact: bool = True,
        **more: Any,
    ) -> None:
        super().__init__()
        options = options_of(more)
        if not model:
            raise InvalidArgumentError("model argument 'model' is missing", hint="--model_args model=ALIAS")
        self._in_flight = in_flight(batch_size, max_batch_size)
        self._max_gen_toks = whole("max_gen_toks", max_gen_toks)
        max_length = None if max_length is None else whole("max_length", max_length)
        prefix = None if prefix_token_id is None else whole("prefix_token_id", prefix_token_id, 0)
        if not isinstance(exact, bool):
            raise InvalidArgumentError(
                f"model argument 'exact' has value {exact!r}", hint="It is True or False."
            )
        self._adapter, self._exact = adapter, exact
        self._llm = create_llm(
            str(model), engine=engine, device=device, quantization=quantization, catalog=catalog,
            offline=offline, options=options,
            model_kwargs={"revision": revision, "trust_remote_code": trust_remote_code},
        )  # fmt: skip
        self._llm.load()
        self._tokens = Tokens(self._llm, max_length=max_length, prefix=prefix)
        self._cut = 0
        for warning in self._llm.warnings:
            log.warning("%s", warning.message)

    # -- what lm-eval wants to know --------------------------------------------------------------------

    @property
    def backend(self) -> str:
        """Whether context and continuation are read together, in lm-eval's words."""
        return "seq2seq" if self._tokens.info.encoder_decoder else "causal"

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self._tokens.eos

    @property
    def prefix_token_id(self) -> int:
        """What an empty context stands for."""
        return self._tokens.prefix

    @property
    def max_length(self) -> int:
        """Tokens that are read at most."""
        return self._tokens.most

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval's cache of requests tells models apart by."""
        found = self._llm.fingerprint()
        return f"{found.model}@{found.revision}".replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model: its fingerprint, and how many contexts were cut."""
        told = {f"model_{name}": value for name, value in asdict(self._llm.fingerprint()).items()}
        return {**told, "contexts_cut": self._cut}

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids of a text; None adds special tokens where it has none in front."""
        if add_special_tokens is None:
            return list(self._tokens.of(string))
        return list(self._tokens.encode(string, add_special_tokens))

    # -- chat templates --------------------------------------------------------------------------------

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The text of the template; a name cannot be chosen, since a model has one here."""
        if isinstance(chat_template, str):
            raise UnsupportedError(
                f"the chat template '{chat_template}' is asked for by name, and a model has one here",
                hint="Give --apply_chat_template no name, and the template's text in the catalogue.",
            )
        return self._tokens.info.chat_template if chat_template else None

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The prompt for a conversation; as `hf`, without a system message that the template refuses."""
        render = self._llm.render if add_generation_prompt else self._unfinished
        try:
            return render(chat_history)
        except UnsupportedError:
            raise
        except InvalidArgumentError as error:
            rest = [one for one in chat_history if one["role"] != "system"]
            if not rest or len(rest) == len(chat_history):
                raise
            log.warning("the system message is left out: %s", error.message)
            return render(rest)

    def _unfinished(self, history: Sequence[Mapping[str, str]]) -> str:
        """The prompt up to the end of the last message, which the model is to go on with."""
        marked = {**history[-1], "content": history[-1]["content"] + _GOES_ON}
        text = self._llm.render([*history[:-1], marked], answer=False)
        before, found, after = text.rpartition(_GOES_ON.strip())
        if not found:
            raise UnsupportedError("the chat template does not show the last message", hint="")
        return before if after.startswith(" ") else before.rstrip()  # a template that strips texts

    # -- likelihoods -----------------------------------------------------------------------------------

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of whole texts, each cut into windows that fill the context."""
        texts = [request.args[0] for request in requests]
        windows = [self._windows(text) for text in texts]
        named: list[Named] = [(None, before, after) for one in windows for before, after in one]
        answers = iter(self._loglikelihood_tokens(named, disable_tqdm=disable_tqdm))
        totals = [float(sum(total for total, _ in itertools.islice(answers, len(one)))) for one in windows]
        for text, total in zip(texts, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return totals

    def _windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        tokens = self.tok_encode(text)
        prefix, most = self.prefix_token_id, self.max_length
        rolling = get_rolling_token_windows(tokens, prefix_token=prefix, max_seq_len=most, context_len=1)
        return [make_disjoint_window(one) for one in rolling]

    def _loglikelihood_tokens(
        self, requests: Sequence[Named], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Totals in order; requests with the same context are one call, which reads it once."""
        pairs = [self._tokens.fitting(before, after, _title(name)) for name, before, after in requests]
        groups: dict[tuple[int, ...], list[int]] = {}
        for at, (before, _after) in enumerate(pairs):
            groups.setdefault(before, []).append(at)
        members = list(groups.values())
        jobs = [functools.partial(self._score, [pairs[at] for at in group]) for group in members]
        answers = [(0.0, False)] * len(pairs)
        title = "Running loglikelihood requests"
        with tqdm(total=len(pairs), disable=disable_tqdm, desc=title) as bar:
            for place, scores in together(jobs, self._in_flight):
                for at, score in zip(members[place], scores, strict=True):
                    answers[at] = (score.total, score.is_greedy)
                    if requests[at][0] is not None:  # a window of a longer text has no name
                        self.cache_hook.add_partial("loglikelihood", requests[at][0], answers[at])
                    bar.update()
        cut = sum(len(pair[0]) < len(request[1]) for pair, request in zip(pairs, requests, strict=True))
        self._say_cut(cut, len(pairs))
        return answers

    def _score(self, pairs: Sequence[Pair]) -> Coroutine[Any, Any, tuple[Score, ...]]:
        return self._llm.score_tokens_async(pairs, adapter=self._adapter, exact=self._exact)

    def _say_cut(self, count: int, of: int) -> None:
        self._cut += count
        if count:
            log.warning("%d of %d contexts did not fit: their beginning was cut away", count, of)

    # -- answers ---------------------------------------------------------------------------------------

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers in order, each up to the first of its stop strings."""
        asked = [self._asked(*request.args) for request in requests]
        jobs = [functools.partial(self._generate, one) for one in asked]
        texts, warnings = [""] * len(jobs), Counter[str]()
        with tqdm(total=len(jobs), disable=disable_tqdm, desc="Running generate_until requests") as bar:
            for at, result in together(jobs, self._in_flight):
                texts[at] = self._tokens.answer(result, asked[at].how["stop"])
                warnings.update({one.message for one in result.warnings if one not in self._llm.warnings})
                self.cache_hook.add_partial("generate_until", requests[at].args, texts[at])
                bar.update()
        self._say_cut(sum(one.cut for one in asked), len(asked))
        for message, count in warnings.items():
            log.warning("%d of %d answers: %s", count, len(asked), message)
        return texts

    def _asked(self, context: str, given: Mapping[str, Any]) -> _Asked:
        how = generation(given, self._max_gen_toks)
        if how["temperature"]:  # lm-eval has seeded this generator: the same run draws the same answers
            how.setdefault("seed", random.getrandbits(32))
        prompt, cut = self._tokens.prompt(context, how["max_new_tokens"])
        return _Asked(prompt, how, cut)

    def _generate(self, asked: _Asked) -> Coroutine[Any, Any, Result]:
        return self._llm.generate_async(
            asked.prompt, raw=True, logprobs=False, adapter=self._adapter, **asked.how
        )


def _title(name: tuple[str, str] | None) -> str:
    return f"{name[0][-40:]!r} and {name[1][:40]!r}" if name else "a window"
