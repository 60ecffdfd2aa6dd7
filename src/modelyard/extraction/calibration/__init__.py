"""Calibration: confidences fitted on labelled documents, and how good they are.

ballot       what all voters say about one field, and which of their values are right
recorded     ballots from votes that were written down
labelled     ballots from a result and its labels
evidence     what speaks for a value, as numbers
table        ballots as arrays
weights      how much each voter counts
model        from evidence to a probability
folds        documents in parts
crossfit     confidences of values outside of the fit, and their figures
figures      calibration error, AUROC, accuracy of the accepted half
curves       coverage and accuracy, reliability, as plain data
promise      the threshold of a promised error rate
calibration  what was fitted, as a file: `Calibration`
calibrate    all of it
"""

from modelyard.extraction.calibration.ballot import Ballot, Ballots
from modelyard.extraction.calibration.calibrate import Calibrated, calibrate
from modelyard.extraction.calibration.calibration import Calibration
from modelyard.extraction.calibration.curves import coverage_curve, reliability
from modelyard.extraction.calibration.promise import Promise, promise

__all__ = [
    "Ballot",
    "Ballots",
    "Calibrated",
    "Calibration",
    "Promise",
    "calibrate",
    "coverage_curve",
    "promise",
    "reliability",
]
