"""Merging: from what several voters read, in one document or in several, to one value.

equality    whether two values are the same, and candidates in groups of the same value
votes       what each voter says in each document, counted once
support     how much speaks for a value
confidence  how sure one may be of it, by a formula
rules       how a conflict is settled: `MergeRules`
settle      the order of settlement
wording     the reason in a sentence
adjudicate  a model that decides between the candidates' quotes
merge       settle, then adjudicate
"""
