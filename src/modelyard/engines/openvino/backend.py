"""The pipeline as the step loop drives it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from modelyard.engines.openvino.sight import Looked
from modelyard.engines.steploop import Delta, Job
from modelyard.errors import ResourceExhaustedError


class PipelineBackend:
    """The pipeline as the step loop drives it.

    Args:
        pipeline: of OpenVINO GenAI.
        tokenizer_lock: held while a prompt with images is taken in, which is tokenised there.
    """

    def __init__(self, pipeline: Any, tokenizer_lock: threading.Lock) -> None:
        import openvino
        import openvino_genai as genai

        self._pipeline = pipeline
        self._tokenizer_lock = tokenizer_lock
        self._tensor = openvino.Tensor
        self._jobs: dict[int, Job] = {}
        self._count = 0
        self._running = genai.GenerationFinishReason.NONE
        self._length = genai.GenerationFinishReason.LENGTH
        self._ignored = genai.GenerationStatus.IGNORED

    def add(self, job: Job) -> None:
        self._count += 1
        prompt = job.prompt_ids
        if isinstance(prompt, Looked):
            images = [self._tensor(one) for one in prompt.images]
            with self._tokenizer_lock:
                job.handle = self._pipeline.add_request(self._count, prompt.text, images, job.config)
        else:
            job.handle = self._pipeline.add_request(self._count, self._tensor(prompt), job.config)
        self._jobs[id(job)] = job

    def drop(self, job: Job) -> None:
        if self._jobs.pop(id(job), None) is not None:
            job.handle.cancel()
            if not self._jobs:
                self._pipeline.step()  # the pipeline frees a cancelled request's blocks in its next step

    def close(self) -> None:
        for job in self._jobs.values():
            job.handle.cancel()
        self._jobs.clear()
        self._pipeline = None

    def step(self) -> Iterable[Delta]:
        self._pipeline.step()
        deltas = []
        for job in tuple(self._jobs.values()):
            delta = self._read(job)
            if delta is not None:
                deltas.append(delta)
                if delta.finish is not None or delta.error is not None:
                    del self._jobs[id(job)]
        return deltas

    def _read(self, job: Job) -> Delta | None:
        handle = job.handle
        if not handle.can_read():
            if handle.get_status() == self._ignored:
                error = ResourceExhaustedError(
                    "the KV cache has no room for this request", hint="Raise kv_cache_gb."
                )
                return Delta(job, (), (), error=error)
            return None
        ids: list[int] = []
        logprobs: list[float | None] = []
        reason = self._running
        while handle.can_read():
            for output in handle.read().values():
                ids += output.generated_ids
                logprobs += output.generated_log_probs
                reason = output.finish_reason
        if not job.config.logprobs:
            logprobs = [None] * len(ids)
        if reason == self._running:
            return Delta(job, ids, logprobs)
        return Delta(job, ids, logprobs, "length" if reason == self._length else "stop")
