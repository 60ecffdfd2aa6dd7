"""Whole runs of lm-evaluation-harness: our engines against its own model `hf`, on the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import clean_environment

from modelyard.integrations.lm_eval import ModelyardLM
from modelyard.pool import default_pool

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(900)]

MOST = 64  # tokens of context, so that some of the texts are too long
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Spain": "Madrid",
    "Egypt": "Cairo",
    "Cuba": "Havana",
}
LONG = "The harbour was full of boats, and the wind came from the sea. " * 8
CHOICES = [
    *(
        {"text": f"The capital of {land} is", "choices": [f" {one}" for one in CAPITALS.values()]}
        for land in CAPITALS
    ),
    {"text": "Question: is water wet?\nAnswer:\n", "choices": ["Yes, it is.", "No.", " no"]},
    {"text": "Two spaces  ", "choices": ["and a word", "or four"]},
    {"text": "", "choices": ["The weather is fine today.", "Ee oo qq zz"]},
    {"text": LONG + "The boats were", "choices": [" full of fish", " zebra"]},
]
TEXTS = ["The sea is blue and the sky is blue.", LONG, "Ünïcode — 日本 😀", "x"]
PROMPTS = [
    *(f"{LONG[:63]}The capital of {land} is the city of" for land in CAPITALS),
    "one, two, three, four,",
    LONG + "After that",
]
TASKS = {
    "own_choice": """
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "own_rolling": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}]
""",
    "own_answer": """
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n", "."], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tasks, as lm-eval reads them from a folder."""
    folder = tmp_path_factory.mktemp("tasks")
    lands = [*range(len(CAPITALS)), 0, 0, 0, 0]
    answers = [*(f" {one}" for one in CAPITALS.values()), " five, six, seven, eight, nine, ten", ""]
    rows = {
        "own_choice": [{**one, "answer": at} for one, at in zip(CHOICES, lands, strict=True)],
        "own_rolling": [{"text": one} for one in TEXTS],
        "own_answer": [{"text": one, "answer": two} for one, two in zip(PROMPTS, answers, strict=True)],
    }
    for name, text in TASKS.items():
        data = folder / f"{name}.jsonl"
        data.write_text("\n".join(map(json.dumps, rows[name])), "utf-8")
        files = json.dumps({"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")})
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {files}\ntest_split: test\n"
        (folder / f"{name}.yaml").write_text(head + text, "utf-8")
    return folder


Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def evaluate(tasks: Path) -> Iterator[Run]:
    """Runs all tasks on a model, once; the samples of each task by its name, and the results."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    done: dict[str, Any] = {}

    def run(kind: str, chat: bool = False, **arguments: Any) -> dict[str, Any]:
        key = json.dumps([kind, chat, arguments])
        if key not in done:
            done[key] = simple_evaluate(
                model=kind,
                model_args={"max_length": MOST, **arguments},
                tasks=list(TASKS),
                task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
                batch_size=1 if kind == "hf" else "auto",
                bootstrap_iters=0,
                apply_chat_template=chat,
            )
        return done[key]

    yield run
    default_pool().close()


@pytest.fixture(scope="module")
def reference(evaluate: Run, smollm2: Path) -> Callable[..., dict[str, Any]]:
    """lm-eval's own numbers."""
    return lambda **how: evaluate("hf", pretrained=str(smollm2), dtype="float32", device="cpu", **how)


@pytest.fixture(scope="module", params=["transformers", "openvino", "llamacpp"])
def ours(request: pytest.FixtureRequest, evaluate: Run) -> tuple[Callable[..., dict[str, Any]], float]:
    """Our numbers, and by how many nats a token they may differ."""
    if request.param == "transformers":
        model, options, noise = request.getfixturevalue("smollm2"), {"option_dtype": "float32"}, 1e-3
    elif request.param == "openvino":
        model, options, noise = request.getfixturevalue("small_gguf"), {"option_precision": "exact"}, 0.05
    else:
        from tests import models

        model = models.smollm2_float_gguf(request.getfixturevalue("small_gguf"))
        options, noise = {"option_kv_cache_type": "f32", "option_context_length": 256}, 0.05
    return lambda **how: evaluate(
        "modelyard", model=str(model), engine=request.param, **options, **how
    ), noise


def likelihoods(results: dict[str, Any], task: str) -> list[list[float]]:
    """Of each sample the likelihoods that were asked for."""
    rows = [[resp[0] for resp in sample["resps"]] for sample in results["samples"][task]]
    return [[float(one[0] if isinstance(one, tuple) else one) for one in row] for row in rows]


def test_choices_are_as_likely_as_with_hf(ours: Any, reference: Any, smollm2_tokenizer: Any) -> None:
    run, noise = ours
    mine, theirs = run(), reference()
    pairs = zip(likelihoods(mine, "own_choice"), likelihoods(theirs, "own_choice"), CHOICES, strict=True)
    for one, two, row in pairs:
        tokens = [len(smollm2_tokenizer(text)["input_ids"]) + 1 for text in row["choices"]]
        assert one == [
            pytest.approx(likely, abs=noise * count) for likely, count in zip(two, tokens, strict=True)
        ]
    right = "acc,none"
    assert mine["results"]["own_choice"][right] == theirs["results"]["own_choice"][right] > 0


def test_long_texts_are_as_likely_as_with_hf(ours: Any, reference: Any, smollm2_tokenizer: Any) -> None:
    run, noise = ours
    mine, theirs = likelihoods(run(), "own_rolling"), likelihoods(reference(), "own_rolling")
    for text, one, two in zip(TEXTS, mine, theirs, strict=True):
        assert one == pytest.approx(two, abs=noise * len(smollm2_tokenizer(text)["input_ids"]))


def test_answers_are_those_of_hf(ours: Any, reference: Any) -> None:
    run, _ = ours
    mine, theirs = (
        [one["resps"][0][0] for one in run_()["samples"]["own_answer"]] for run_ in (run, reference)
    )
    assert mine == theirs
    assert "Paris" in mine[0] and "." not in "".join(mine)


def test_the_results_say_which_model_it_was_and_what_was_cut(ours: Any) -> None:
    run, _ = ours
    config = run()["config"]
    assert config["model_engine"] in ("transformers", "openvino", "llamacpp")
    assert config["contexts_cut"] == 3  # two choices behind the long context, and one prompt


def test_prompts_under_a_chat_template_are_those_of_hf(evaluate: Run, reference: Any, smollm2: Path) -> None:
    mine = evaluate("modelyard", chat=True, model=str(smollm2), engine="transformers", option_dtype="float32")
    theirs = reference(chat=True)
    for task in TASKS:
        prompts = [[one["arguments"] for one in each["samples"][task]] for each in (mine, theirs)]
        assert prompts[0] == prompts[1]
    assert "<|im_start|>user" in str(theirs["samples"]["own_choice"][0]["arguments"])


@pytest.mark.parametrize("begun", [" The answer is", "The answer is "])
def test_a_conversation_that_is_gone_on_with_is_rendered_as_by_hf(begun: str, smollm2: Path) -> None:
    from lm_eval.api.registry import get_model

    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": begun}]
    mine = ModelyardLM(model=str(smollm2), engine="transformers")
    theirs = get_model("hf")(pretrained=str(smollm2), device="cpu")
    for more in (True, False):
        assert mine.apply_chat_template(talk, more) == theirs.apply_chat_template(talk, more)


def test_the_command_is_lm_evals_own_with_one_more_model(
    tasks: Path, small_gguf: Path, tmp_path: Path
) -> None:
    line = [
        *("run", "--model", "modelyard", "--model_args", f"model={small_gguf},engine=openvino"),
        *("--tasks", "own_answer", "--include_path", str(tasks), "--batch_size", "auto", "--device", "cpu"),
        *("--output_path", str(tmp_path / "out"), "--log_samples", "--limit", "2", "--apply_chat_template"),
    ]
    done = called(*line)
    assert done.returncode == 0, done.stderr
    assert "own_answer" in done.stdout and "exact_match" in done.stdout
    (file,) = tmp_path.glob("out/**/results_*.json")
    found = json.loads(file.read_text("utf-8"))
    assert found["config"]["model_engine"] == "openvino"
    assert "<|im_start|>" in found["chat_template"]


def test_the_command_says_what_is_wrong_in_one_line(tasks: Path) -> None:
    done = called(
        *("--model", "modelyard", "--model_args", "model=fake,enginee=fake"),
        *("--tasks", "own_answer", "--include_path", str(tasks)),
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2].startswith("error: model argument 'enginee' is not known.")


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "modelyard.integrations.lm_eval", *arguments]
    environment = clean_environment({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"})
    return subprocess.run(line, capture_output=True, text=True, timeout=300, env=environment, check=False)
