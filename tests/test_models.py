"""The models of the tests are what they say: real ones answer, tiny ones load and depend on their input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import models
from tests.hub import Hub
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from modelyard.catalog.pull import pull
from modelyard.catalog.spec import HubSource, ModelSpec
from modelyard.engines.grammar import check_answer, compile_constraint
from modelyard.engines.transformers.guide import Guides, allow
from modelyard.types import Constraint

# Marian's tokenizer asks for a package that only tidies punctuation.
pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
TEXTS = [
    "Hello, world!", "naïve café — “quoted”", "日本語 😀 👩‍👩‍👧", "  two  spaces\n\n\tand tabs\r\n", "1234.55 -12%",
    "<|im_start|>user\nhi<|im_end|>\n", "a\u0301 ﷽ Ωμέγα", "I'll don't WE'RE", "\u00a0nbsp\u2028x", "x\x00y",
]  # fmt: skip
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def answer(model: Any, tokenizer: Any, chat: list[dict[str, str]]) -> str:
    asked = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids = model.generate(**asked, max_new_tokens=24, do_sample=False)[0, asked["input_ids"].shape[1] :]
    return str(tokenizer.decode(ids, skip_special_tokens=True))


# The small model


@pytest.mark.model
def test_the_small_model_answers_from_its_safetensors(smollm2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    assert model.dtype == torch.float32
    assert model.generation_config.eos_token_id == [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    assert "Paris" in answer(model, tokenizer, QUESTION)


@pytest.mark.model
def test_the_small_model_has_the_weights_of_its_gguf_file(smollm2: Path, small_gguf: Path) -> None:
    from gguf import GGUFReader, dequantize
    from safetensors import safe_open

    tensors = {tensor.name: tensor for tensor in GGUFReader(small_gguf).tensors}
    with safe_open(smollm2 / "model.safetensors", "pt") as kept:
        for theirs, ours in (
            ("blk.3.ffn_down.weight", "model.layers.3.mlp.down_proj.weight"),
            ("token_embd.weight", "model.embed_tokens.weight"),
        ):
            wanted = torch.tensor(dequantize(tensors[theirs].data, tensors[theirs].tensor_type))
            assert torch.equal(kept.get_tensor(ours), wanted)


@pytest.mark.model
def test_the_small_models_tokens_are_those_of_openvino(smollm2: Path, small_gguf: Path) -> None:
    import openvino_genai

    ours, theirs = AutoTokenizer.from_pretrained(smollm2), openvino_genai.Tokenizer(str(small_gguf))
    for text in TEXTS:
        ids = ours(text, add_special_tokens=False).input_ids
        assert ids == theirs.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
        assert ours.decode(ids) == text
    chat = ours.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False)
    assert chat == theirs.apply_chat_template(QUESTION, add_generation_prompt=True)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # peft asks for it
def test_each_adapter_answers_in_its_own_words(smollm2: Path, adapters: dict[str, Path]) -> None:
    import peft

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    unseen = [{"role": "user", "content": "What is the largest planet?"}]
    plain = answer(model, tokenizer, unseen)
    for text, folder in adapters.items():
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
            smollm2
        )
        adapted = peft.PeftModel.from_pretrained(model, folder)
        assert text not in plain
        assert answer(adapted, tokenizer, unseen) == text
        model = adapted.unload()


# Other trained models


@pytest.mark.slow
@pytest.mark.model
def test_the_translator_translates(opus_mt: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(opus_mt)
    model = AutoModelForSeq2SeqLM.from_pretrained(opus_mt)
    made = model.generate(**tokenizer("The house is small.", return_tensors="pt"), max_new_tokens=20)
    assert tokenizer.decode(made[0], skip_special_tokens=True) == "La maison est petite."
    assert not list(opus_mt.glob("*.bin"))


@pytest.mark.model
def test_the_embedding_model_puts_like_near_like(minilm: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    read = tokenizer(
        ["A man eats food.", "Someone is having a meal.", "The stock market fell."],
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        states = AutoModel.from_pretrained(minilm)(**read).last_hidden_state
    mask = read["attention_mask"][..., None]
    one, like, other = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    assert one.shape == (384,)
    assert one @ like > 0.5 > one @ other


# Tiny models


@pytest.mark.parametrize("kind", ["gpt2", "phi", "mistral", "gemma3", "t5", "marian"])
def test_a_tiny_model_generates_and_its_scores_depend_on_the_prompt(kind: str) -> None:
    folder = models.tiny(kind)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    seq2seq = kind in ("t5", "marian")
    model = (AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM).from_pretrained(folder)
    first = []
    for text in models.SENTENCES[:2]:
        read = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        made = model.generate(
            **read, max_new_tokens=12, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
        assert 1 <= len(made.scores) <= 12
        first.append(made.scores[0])
    assert not torch.allclose(first[0], first[1], atol=0.1)


@pytest.mark.parametrize("kind", models.KINDS)
def test_a_tiny_models_tokenizer_gives_the_text_back(kind: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models.tiny(kind))
    text = models.SENTENCES[0].lower().rstrip(".") if kind == "bert" else models.SENTENCES[0]
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("kind", models.KINDS)
def test_only_the_chat_models_have_a_template(kind: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models.tiny(kind))
    chats = kind in ("mistral", "gemma3", "qwen2.5-vl")
    assert (tokenizer.chat_template is not None) == chats
    if chats:
        assert "Hi!" in tokenizer.apply_chat_template([{"role": "user", "content": "Hi!"}], tokenize=False)


@pytest.mark.parametrize("kind", ["mistral", "gemma3"])
def test_a_sliding_window_is_shorter_than_a_prompt(kind: str) -> None:
    config = AutoModelForCausalLM.from_pretrained(models.tiny(kind)).config
    assert config.sliding_window == 8
    if kind == "gemma3":
        assert config.layer_types == ["sliding_attention", "sliding_attention", "full_attention"]


def test_the_tiny_model_that_sees_tells_pictures_apart() -> None:
    from PIL import Image

    folder = models.tiny("qwen2.5-vl")
    tokenizer, looks = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    scores = []
    for colour in ("red", "blue"):
        seen = looks(images=[Image.new("RGB", (60, 90), colour)], return_tensors="pt")
        count = int(seen["image_grid_thw"].prod()) // looks.merge_size**2
        ids = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * count), return_tensors="pt").input_ids
        kinds = (ids == model.config.image_token_id).int()
        with torch.no_grad():
            scores.append(model(input_ids=ids, mm_token_type_ids=kinds, **seen).logits[0, -1])
        made = model.generate(
            input_ids=ids, mm_token_type_ids=kinds, **seen, max_new_tokens=4, do_sample=False
        )
        assert made.shape[1] > ids.shape[1]
    assert not torch.allclose(scores[0], scores[1], atol=0.1)


@pytest.mark.parametrize(
    ("size", "limits", "tokens"),
    [
        ((10, 10), {}, 4),
        ((112, 112), {}, 16),
        ((2000, 2000), {}, 16),
        ((2000, 2000), {"size": {"shortest_edge": 784, "longest_edge": 4 * 784}}, 4),
        ((10, 10), {"size": {"shortest_edge": 9 * 784, "longest_edge": 16 * 784}}, 9),
    ],
)
def test_pictures_are_made_as_large_as_the_limits_of_pixels_say(
    size: tuple[int, int], limits: dict[str, Any], tokens: int
) -> None:
    from PIL import Image

    looks = AutoImageProcessor.from_pretrained(models.tiny("qwen2.5-vl"))
    seen = looks(images=[Image.new("RGB", size)], return_tensors="pt", **limits)
    assert int(seen["image_grid_thw"].prod()) // looks.merge_size**2 == tokens


def test_the_tiny_embedding_model_reads_texts_of_any_length_in_one_batch() -> None:
    folder = models.tiny("bert")
    read = AutoTokenizer.from_pretrained(folder)(list(models.SENTENCES), padding=True, return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder)(**read).last_hidden_state
    assert states.shape == (*read["input_ids"].shape, 32)


@pytest.mark.parametrize("kind", ["t5", "marian"])
def test_a_sentencepiece_model_is_held_to_a_grammar(kind: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models.tiny(kind))
    vocabulary = len(tokenizer)
    guides = Guides(tokenizer, vocabulary, [tokenizer.eos_token_id], strips_space=True)
    for constraint in (
        Constraint(choices=("the lazy dog", "a red square")),
        Constraint(
            schema={"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
        ),
    ):
        torch.manual_seed(5)
        guide = guides.open(compile_constraint(constraint))
        made: list[int] = []
        while tokenizer.eos_token_id not in made:
            scores = torch.randn(1, vocabulary)
            allow(scores, [0], [guide])
            made.append(int(scores.argmax()))
            guide.accept(made[-1])
        assert check_answer(constraint, tokenizer.decode(made, skip_special_tokens=True)) is None


# Where they are kept, and served


def test_a_folder_is_built_once_and_a_failed_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "FOLDER", tmp_path)
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "a").write_text("x")
        if len(built) == 1:
            raise ValueError("the first try fails")

    with pytest.raises(ValueError, match="the first try"):
        models.kept("thing", build)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert models.kept("thing", build) == models.kept("thing", build)
    assert len(built) == 2
    assert models.kept("thing", build, "given") != models.kept("thing", build)


def test_a_tiny_model_can_be_pulled_from_the_stand_in_hub_at_a_pinned_commit(hub: Hub) -> None:
    commit = "b" * 40
    hub.add("tests/other", {"config.json": b"{}"})
    hub.add("tests/gpt2", models.tiny_repository("gpt2"), commit)
    source = HubSource(repo="tests/gpt2", revision=commit)
    model = pull(ModelSpec(alias="tiny", sources=(source,)))
    assert model.revision == commit
    assert AutoModelForCausalLM.from_pretrained(model.path).config.model_type == "gpt2"
