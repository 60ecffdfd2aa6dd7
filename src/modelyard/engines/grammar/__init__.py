"""A constraint turned into one grammar, and a finished answer checked against the constraint.

The grammar writes compact JSON, properties in the schema's order, so that a model cannot spend its tokens
on white space. It may admit fewer texts than the constraint does; more only where `relaxed` says so.
"""

from modelyard.engines.grammar.check import check_answer
from modelyard.engines.grammar.compile import Grammar, compile_constraint

__all__ = ["Grammar", "check_answer", "compile_constraint"]
