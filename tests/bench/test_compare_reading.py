"""Reading: the number of a reply, or why there is none."""

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelyard.bench.compare import read_number, same

NUMBERS = {
    # one number and nothing else
    "(0.23)": "-0.23",
    "-$0.23": "-0.23",
    "- $0.23": "-0.23",
    "$(0.23)": "-0.23",
    "\u22120.23": "-0.23",
    "$1,234.50": "1234.50",
    ".41": "0.41",
    "1.45": "1.45",
    "1.45.": "1.45",
    '"1.45"': "1.45",
    "+0.41": "0.41",
    "0": "0",
    "2023": "2023",
    "1.5e3": "1500",
    # a number with its unit, in a sentence, in Markdown, LaTeX or JSON
    "27 cents": "0.27",
    "1.2 million": "1200000",
    "US$0.45 per diluted share": "0.45",
    "The answer is $1.45.": "1.45",
    "It is approximately 45 people": "45",
    "The EPS was **$0.45**.": "0.45",
    "`0.45`": "0.45",
    "The EPS is \\$0.45": "0.45",
    '```json\n{"eps": 0.45}\n```': "0.45",
    "- EPS: 0.45\n- Period: Q2 2023": "0.45",
    "EPS \u2013 0.45": "0.45",
    "0.45, that is, $0.45": "0.45",
    # a number beside figures that are something else
    "Q3 EPS was $0.45": "0.45",
    "EPS for Q2 2023 was 0.45": "0.45",
    "2Q23 EPS: 0.45": "0.45",
    "In the 3rd quarter of fiscal 2023 it was 0.45": "0.45",
    "The fourth quarter of 2022: $0.12": "0.12",
    "for the three months ended June 30, 2023: 0.45": "0.45",
    "for the 3 months ended 30 June 2023, 0.45": "0.45",
    "as of 2023-06-30 it is 0.45": "0.45",
    "06/30/2023: 0.45": "0.45",
    "2023 EPS: $1.45": "1.45",
    "EPS (2023): 1.45": "1.45",
    "In 2023 it was 1.45": "1.45",
    "Between 2020 and 2022, 15 sites": "15",
    "According to the 10-Q, 0.45": "0.45",
    "12-month mortality was 5": "5",
    "Profit rose 12% to $5": "5",
    "There were 12 events [1].": "12",
    "1. Basic EPS is 1.45": "1.45",
    "See page 12: 0.45": "0.45",
    # a number that is marked as the answer
    "Basic is 1.42.\nAnswer: 1.45": "1.45",
    "Basic is 1.42.\n**Final answer:** $1.45": "1.45",
    "Answer:\n\n1.45": "1.45",
    "The answer is $1.45. The diluted one was 1.42.": "1.45",
    "Answer: 1.45 (diluted: 1.42)": "1.45",
    "100 / 50 = 2": "2",
    "EPS = 100 / 50 = 2 (n = 50)": "2",
    "1.42 + 0.03 makes\n1.45": "1.45",
    "Of 1.42 and 1.45: \\boxed{1.45}": "1.45",
    "1.42 + 0.03\n#### 1.45": "1.45",
}
UNREADABLE = {
    "nan": "'nan' is no number",
    "-inf": "'-inf' is no number",
    "\u221e": "is no number",
    "The EPS is strong.": "no number in 'The EPS is strong.'",
    "Q2": "no number in 'Q2'",
    "1.45 and 1.42": "two numbers: 1.45 and 1.42",
    "1.45\n1.42": "two numbers: 1.45 and 1.42",
    "- 1.45\n- 1.42": "two numbers: 1.45 and 1.42",
    "basic:\n1.45\ndiluted:\n1.42": "two numbers: 1.45 and 1.42",
    "1.45 or 1.42 or 1.40": "three numbers: 1.45, 1.42 and 1.40",
    "12 of 30": "two numbers: 12 and 30",
    "1/2": "two numbers: 1 and 2",
    "Mean 12.5 (p = 0.03)": "two numbers: 12.5 and 0.03",
    "n = 45, mean 12.5": "two numbers: 45 and 12.5",
    "2015 of the 3000 patients": "two numbers: 2015 and 3000",
    "Answer: 1.45 or 1.42": "two numbers: 1.45 and 1.42",
    "Answer: 5\nQuestion: and then? Answer: 7": "two marked answers: 5 and 7",
    "1.234,5": "a number in a form that is not read: '1.234,5'",
    "about 1.5e3 people": "in a form that is not read: '1.5e3'",
    "1,": "ends inside a number: '1,'",
    "The EPS is $1,": "ends inside a number",
    "$0.27 cents": "names cents and a currency",
    "N/A (net income was 45 million)": "it gives 45000000, and says 'N/A'",
}
NOTHING = (
    "",
    " \n",
    "N/A",
    "n/a.",
    "NA",
    "None",
    "null",
    "-",
    "not reported",
    "**Not available**",
    "EPS: N/A",
    "Answer: N/A",
    '{"eps": null}',
    "The filing does not report diluted EPS.",
    "Diluted EPS isn't mentioned in the text.",
    "The EPS for Q3 2023 was not reported.",
    "It cannot be determined from the 10-Q.",
)
IN_UNITS = (
    ("27 cents", "USD per share", "0.27"),
    ("27 cents", "cents", "27"),
    ("12%", "%", "12"),
    ("12 percent", "percent", "12"),
    ("0.12", "%", "0.12"),
    ("34 of 283, that is 12%", "%", "12"),
    ("1.2 million", "million USD", "1.2"),
    ("1.2 billion", "million USD", "1200"),
    ("1.2", "million USD", "1.2"),
    ("3 months", "months", "3"),
    ("It was founded in 1998.", "year", "1998"),
    ("2023 basic EPS 1.45", "USD", "1.45"),
    ("5mg", "mg", "5"),
)


@pytest.mark.parametrize(("reply", "value"), NUMBERS.items())
def test_the_number_of_a_reply_is_read(reply: str, value: str) -> None:
    reading = read_number(reply)
    assert (reading.value, reading.problem) == (Decimal(value), None)


@pytest.mark.parametrize(("reply", "problem"), UNREADABLE.items())
def test_a_reply_that_gives_no_one_number_says_why(reply: str, problem: str) -> None:
    reading = read_number(reply)
    assert reading.value is None
    assert problem in str(reading.problem)
    assert not reading.not_answered


@pytest.mark.parametrize("reply", NOTHING)
def test_a_reply_that_says_that_there_is_none_is_not_answered(reply: str) -> None:
    assert read_number(reply).not_answered


@pytest.mark.parametrize(("reply", "unit", "value"), IN_UNITS)
def test_the_unit_that_is_wanted_decides(reply: str, unit: str, value: str) -> None:
    assert read_number(reply, unit=unit).value == Decimal(value)


@pytest.mark.parametrize(
    ("reply", "unit", "problem"),
    [
        ("12%", "USD", "'12%' is a percentage, and USD is wanted"),
        ("12 percent", "mg", "is a percentage"),
        ("27 cents", "mg", "'27 cents' is money, and mg is wanted"),
    ],
)
def test_a_number_of_another_unit_is_not_turned_into_the_wanted_one(
    reply: str, unit: str, problem: str
) -> None:
    reading = read_number(reply, unit=unit)
    assert reading.value is None
    assert problem in str(reading.problem)


def test_the_numbers_between_which_a_reply_does_not_choose_are_kept() -> None:
    assert read_number("1.45 basic, 1.42 diluted").alternatives == (Decimal("1.45"), Decimal("1.42"))
    assert read_number("(12)").alternatives == (Decimal(12),)
    assert read_number("1.2 million").alternatives == (Decimal("1.2"),)


def test_a_neighbouring_value_is_read_and_then_wrong() -> None:
    value = read_number("EPS was 1.45").value
    assert not same(value, 1.42, tolerance=0.005)
    assert same(read_number("EPS was 1.42").value, 1.42, tolerance=0.005)


def test_a_reply_that_ends_in_a_full_stop_reads_as_it_stands() -> None:
    # Whether "$1." was going to be "$1.45" only the finish reason tells, which the caller has.
    assert read_number("The EPS is $1.").value == 1


def test_of_a_long_reply_only_a_marked_answer_at_its_end_counts() -> None:
    talk = "word " * 2000
    assert read_number(f"{talk} Answer: 1.45").value == Decimal("1.45")
    assert "10005 characters" in str(read_number(f"{talk} 1.45").problem)
    assert "marks no answer" in str(read_number(f"Answer: 1.45 {talk}").problem)
    assert read_number(f"{talk}1.45", longest_look=20_000).value == Decimal("1.45")


@given(st.decimals(-(10**9), 10**9, places=2))
@settings(deadline=None)
def test_an_amount_is_read_in_each_of_its_spellings(amount: Decimal) -> None:
    sign = "-" if amount < 0 else ""
    spellings = [f"{amount}", f"{sign}${abs(amount):,}", f"EPS: {amount}", f"Answer: {sign}${abs(amount)}."]
    if amount < 0:
        spellings += [f"({abs(amount)})", f"$({abs(amount):,})"]
    assert {read_number(one).value for one in spellings} == {amount}


@given(
    st.text(alphabet="0123456789.,-$()%= \nAQanswer:is/", max_size=60),
    st.sampled_from([None, "USD", "%", "months"]),
)
@example("Answer: $ (0.23)", None)
def test_every_reply_is_a_number_or_has_a_reason_not_to_be(reply: str, unit: str | None) -> None:
    reading = read_number(reply, unit=unit)
    assert reading.value is None or (reading.problem is None and reading.value.is_finite())
