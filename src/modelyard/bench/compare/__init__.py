"""What was found beside what was expected: single values, the number of a reply, and whole structures.

values      whether two values are the same: numbers, dates, texts, each in its own way
reading     the one number that a reply in free words gives
marks       what a reply calls its answer
asides      figures of a reply that are no answer: dates, quarters, the names of forms
nothing     replies that say that there is no value
unit        what a number counts, and a number read in it
structures  precision, recall and F1 over the fields of nested objects and lists
"""

from modelyard.bench.compare.reading import read_number
from modelyard.bench.compare.structures import FieldOutcome, StructureScore, score_fields
from modelyard.bench.compare.unit import NumberReading
from modelyard.bench.compare.values import same

__all__ = ["FieldOutcome", "NumberReading", "StructureScore", "read_number", "same", "score_fields"]
