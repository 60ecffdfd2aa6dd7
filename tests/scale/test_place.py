"""What a worker takes over from the command: how models are had, and with which token."""

from __future__ import annotations

import pickle
import subprocess
import sys

from modelyard.pool import Pool
from modelyard.scale.place import Place

TAKES = """
import pickle, sys
from modelyard.pool import default_pool
pickle.loads(bytes.fromhex(sys.argv[1])).take()
pool = default_pool()
print(pool.worker, pool.offline, pool.token)
"""


def test_a_worker_has_models_as_the_command_has_them() -> None:
    sent = pickle.dumps(Place.like(Pool(offline=True, token="hf_not_a_token"))).hex()
    line = [sys.executable, "-c", TAKES, sent]
    there = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert there.split() == ["True", "True", "hf_not_a_token"]


def test_a_token_is_in_no_repr() -> None:
    assert "hf_not_a_token" not in repr(Place.like(Pool(token="hf_not_a_token")))
