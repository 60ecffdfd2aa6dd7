"""A loaded model as the engine uses it: its facts, its batches, its scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from modelyard.catalog.model import Model
from modelyard.engines.base import Memory
from modelyard.engines.continuations import Pair, cut
from modelyard.engines.detokenize import Piece
from modelyard.engines.transformers.backend import FIRST_PIECE, Machine, Row, TorchBackend
from modelyard.engines.transformers.causal import AloneMachine, SharedMachine
from modelyard.engines.transformers.classifier import Classifier, labels_of
from modelyard.engines.transformers.embedder import Embedder
from modelyard.engines.transformers.guide import Guides
from modelyard.engines.transformers.loading import Loaded, load
from modelyard.engines.transformers.memory import cache_room, release
from modelyard.engines.transformers.net import Net
from modelyard.engines.transformers.packing import pack
from modelyard.engines.transformers.pieces import FirstWord, Pieces
from modelyard.engines.transformers.probe import decoder_bytes, padding_is_harmless, shared_bytes
from modelyard.engines.transformers.prompts import Prompt, Prompts
from modelyard.engines.transformers.sampling import Choice, generator
from modelyard.engines.transformers.scorer import TOGETHER, Scorer
from modelyard.engines.transformers.seq2seq import Seq2SeqMachine
from modelyard.engines.transformers.settings import Settings
from modelyard.errors import InvalidArgumentError, PromptTooLongError, UnsupportedError
from modelyard.types import Adapter, Constraint, Message, Request, Score, TokenizerInfo, Warning

_UNSAID_CONTEXT = 4096  # tokens, for a model that counts no positions and whose tokenizer names no limit
_SAID = 10**7  # a tokenizer's limit above this stands for "none"


@dataclass(slots=True, frozen=True)
class Facts:
    """What is known of a loaded model.

    Attributes:
        kind: causal, seq2seq, vision, embedding or classification.
        template: the chat template, None for a base model.
        context: tokens of prompt and answer; of an encoder-decoder, of each.
        eos: ids that end an answer.
        precision: of the weights, in words.
        warnings: that belong to every answer.
        labels: of a classifier, in the order of its outputs.
    """

    kind: str
    template: str | None
    context: int
    eos: frozenset[int]
    precision: str
    warnings: tuple[Warning, ...]
    labels: tuple[str, ...] = ()


class Instance:
    """One loaded model.

    Args:
        model: its files and its catalogue entry.
        settings: the engine's options.
    """

    def __init__(self, model: Model, settings: Settings) -> None:
        loaded = load(model, settings)
        self.net = Net(loaded.model)
        on_cpu = self.net.device.type == "cpu"
        max_batch, tokens = settings.sizes(self.net.device.type)
        self.together = min(tokens, TOGETHER) if on_cpu else tokens
        self._tokenizer = loaded.tokenizer
        self.facts = _facts(model, loaded, settings)
        self.prompts = Prompts(
            loaded.tokenizer, self.facts.template, loaded.processor, translates=loaded.kind == "seq2seq"
        )
        self._pieces = Pieces(loaded.tokenizer)
        self._guides: Guides | None = None
        self._weights = sum(one.nbytes for one in (*loaded.model.parameters(), *loaded.model.buffers()))
        pack(loaded.model)
        self._generation = getattr(loaded.model, "generation_config", None)
        self._start = self._first_id() if self.facts.kind == "seq2seq" else None
        if self.facts.kind == "embedding":
            self._embedder = Embedder(self.net, loaded.tokenizer, model.path, self.facts.context)
            return
        if self.facts.kind == "classification":
            self._classifier = Classifier(self.net, loaded.tokenizer, self.facts.labels, self.facts.context)
            return
        self._machine = self._make_machine()
        self._backend = TorchBackend(
            self._machine,
            self._pieces,
            max_batch=max_batch,
            piece=tokens,
            first_piece=min(tokens, FIRST_PIECE) if on_cpu else tokens,
            cache_room=int((settings.kv_cache_gb or 0) * 2**30) or cache_room(self.net.device),
        )

    def backend(self) -> TorchBackend:
        """What the step loop drives."""
        return self._backend

    @property
    def memory(self) -> Memory:
        held = self._backend.cache_bytes if hasattr(self, "_backend") else 0
        return Memory(self._weights, held)

    def close(self) -> None:
        """Gives back the weights."""
        for name in ("net", "_machine", "_backend", "_embedder", "_classifier", "_guides", "prompts"):
            if hasattr(self, name):
                delattr(self, name)
        release()

    def pieces(self) -> Piece:
        """The bytes of an answer's tokens."""
        return FirstWord(self._pieces) if self.facts.kind == "seq2seq" else self._pieces

    @property
    def special(self) -> Mapping[int, bytes]:
        """How the tokens are written that have no bytes in a text."""
        return self._pieces.special

    @property
    def tokenizer_info(self) -> TokenizerInfo:
        """The special tokens and the sizes."""
        tokenizer, apart = self._tokenizer, self._start is not None
        return TokenizerInfo(
            bos=tokenizer.bos_token_id,
            eos=tokenizer.eos_token_id,
            bos_text=tokenizer.bos_token or "",
            eos_text=tokenizer.eos_token or "",
            chat_template=self.facts.template,
            vocabulary=self.net.model.get_input_embeddings().weight.shape[0],
            longest=self.facts.context + (not apart),
            encoder_decoder=apart,
        )

    def row(self, request: Request, read: Prompt, budget: int) -> tuple[Row, tuple[Warning, ...]]:
        """A request as the batch takes it, and warnings."""
        params = request.params
        counted = 1 if self.facts.kind == "seq2seq" else len(read.ids)
        choice = Choice(
            params=params,
            least=min(params.answer_minimum(counted), budget),
            logprobs=request.logprobs,
            top=request.top_logprobs,
            prompt=() if self._start is not None else read.ids,
            suppressed=self._suppressed(),
            forced=self._forced(),
            generator=generator(params),
        )
        relaxed: tuple[Warning, ...] = ()
        if request.constraint is not None:
            choice.guide, relaxed = self._guide(request.constraint)
        adapter = None if request.adapter is None else self.net.adapter(request.adapter)
        # The step loop sets the row's job when it takes it in.
        row = Row(job=None, ids=read.ids, choice=choice, budget=budget, inputs=read.inputs, adapter=adapter)  # type: ignore[arg-type]
        return row, relaxed

    def pairs(self, prompt: str | Sequence[Message], continuations: Sequence[str]) -> list[Pair]:
        """A prompt and its continuations as tokens.

        Raises:
            UnsupportedError: the prompt has images.
            PromptTooLongError: a text is longer than the context.
        """
        read = self.prompts.read(prompt)
        if read.inputs:
            raise UnsupportedError("a prompt with images cannot be scored", hint="Leave the images out.")
        context = self.facts.context
        if self._start is None:
            return cut(
                read.text, continuations, lambda text: self.prompts.ids(text, special=read.special), context
            )
        tails = [self._target(one) for one in continuations]
        longest = max(len(read.ids), *map(len, tails))
        if longest > context:
            raise PromptTooLongError(f"a text has {longest} tokens, the context holds {context}")
        return [(tuple(read.ids), tail) for tail in tails]

    def score(
        self, pairs: Sequence[Pair], adapter: Adapter | None, *, together: bool = False
    ) -> tuple[Score, ...]:
        """The logprobs of continuations that are tokens already; `together` reads short prompts in one pass."""
        plain = isinstance(self._machine, SharedMachine)
        name = None if adapter is None else self.net.adapter(adapter)
        made = Scorer(self.net, start=self._start, plain=plain, adapter=name, tokens=self.together)
        return made.score(pairs, together=together)

    def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """One vector a text."""
        return self._embedder.embed(texts)

    def classify(self, texts: Sequence[str]) -> tuple[dict[str, float], ...]:
        """The probability of each label, for each text."""
        return self._classifier.classify(texts)

    # -- parts -----------------------------------------------------------------------------------------

    def _make_machine(self) -> Machine:
        net, eos = self.net, self.facts.eos
        if self._start is not None:
            return Seq2SeqMachine(net, eos, self._start, decoder_bytes(net, self._start))
        layers = DynamicCache(config=net.model.config.get_text_config(decoder=True)).layers
        plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
        if plain and padding_is_harmless(net, len(layers)):
            return SharedMachine(net, len(layers), eos, shared_bytes(net, len(layers)))
        return AloneMachine(net, eos, 0)

    def _first_id(self) -> int:
        config = self.net.model.config
        for source in (self._generation, config):
            for name in ("decoder_start_token_id", "bos_token_id"):
                found = getattr(source, name, None)
                if isinstance(found, int):
                    return found
        raise UnsupportedError("the model does not say which token begins an answer", hint="")

    def _suppressed(self) -> tuple[int, ...]:
        """Tokens that the model's own configuration bans, such as Marian's padding."""
        banned = list(getattr(self._generation, "suppress_tokens", None) or ())
        for words in getattr(self._generation, "bad_words_ids", None) or ():
            banned += words if len(words) == 1 else []
        return tuple(banned)

    def _forced(self) -> dict[int, int]:
        first = getattr(self._generation, "forced_bos_token_id", None)
        return {0: first} if isinstance(first, int) and self._start is not None else {}

    def _guide(self, constraint: Constraint) -> tuple[Any, tuple[Warning, ...]]:
        from modelyard.engines.grammar import compile_constraint

        grammar = compile_constraint(constraint)
        if self._guides is None:
            size = self.net.model.config.get_text_config(decoder=True).vocab_size
            self._guides = Guides(
                self._tokenizer, size, sorted(self.facts.eos), strips_space=self._start is not None
            )
        relaxed = tuple(Warning("constraint_relaxed", sentence) for sentence in grammar.relaxed)
        return self._guides.open(grammar), relaxed

    def _target(self, text: str) -> tuple[int, ...]:
        found = self._tokenizer(text_target=text, add_special_tokens=False)["input_ids"]
        if not found:
            raise InvalidArgumentError(
                f"the continuation {text!r:.40} has no tokens", hint="Give it some text."
            )
        return tuple(found)


def _facts(model: Model, loaded: Loaded, settings: Settings) -> Facts:
    config, tokenizer = loaded.model.config, loaded.tokenizer
    template = model.spec.chat_template or getattr(loaded.processor, "chat_template", None)
    template = template or tokenizer.chat_template
    return Facts(
        kind=loaded.kind,
        template=template if isinstance(template, str) else None,
        context=_context(config, tokenizer, settings),
        eos=_eos(loaded),
        precision=loaded.precision,
        warnings=_beams(loaded),
        labels=labels_of(config) if loaded.kind == "classification" else (),
    )


def _context(config: Any, tokenizer: Any, settings: Settings) -> int:
    text = config.get_text_config(decoder=True)
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
    trained = next((value for name in names if isinstance(value := getattr(text, name, None), int)), None)
    said = tokenizer.model_max_length if tokenizer.model_max_length < _SAID else None
    found = trained or said or _UNSAID_CONTEXT
    wanted = settings.context_length
    if wanted is not None and wanted > found:
        raise InvalidArgumentError(
            f"option 'context_length' has value {wanted}, and the model was trained for {found}",
            hint="Lower it, or leave it out.",
        )
    return wanted or found


def _eos(loaded: Loaded) -> frozenset[int]:
    found: set[int] = set()
    generation = getattr(loaded.model, "generation_config", None)
    for value in (getattr(generation, "eos_token_id", None), loaded.tokenizer.eos_token_id):
        found |= set(value) if isinstance(value, list) else {value} if isinstance(value, int) else set()
    return frozenset(found)


def _beams(loaded: Loaded) -> tuple[Warning, ...]:
    beams = getattr(getattr(loaded.model, "generation_config", None), "num_beams", None) or 1
    if beams == 1:
        return ()
    message = f"the model's own configuration asks for {beams} beams; answers here follow one"
    return (Warning("beam_search_ignored", message),)
