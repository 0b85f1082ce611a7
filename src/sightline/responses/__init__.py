"""Score answers that exist already: a table of any harness becomes a run like any other.

Design. A study with `responses: FILE` has no targets, attacks or benchmarks of its own: they are read off the
file. Nothing else is new in a run:

* Every row of a file becomes an `Answer` (`answers`), whatever its format (`formats`). All files together are
  one `ResponseTable` (`table`): its cases, and the combinations of model, attack and defense that it holds.
* The cases are those of the benchmark `recorded`. Each combination is one column of the grid: the attack
  `recorded` shows what the row says was shown, the defense `recorded` is a label, and the target
  `recorded/MODEL` answers from the row. A combination that no row has is no column.
* The grid stays closed: a case without a row in a combination is an `error`, as is a row without a response.
* The key of an artifact holds the digest of its rows, so that a changed row, and no other, is judged again.

What the file does not say stays unknown: the model's decoding, an attack's access and oracle, calls made.
What it says and Sightline does not use (original ids, counters, dates, the harness and its version) is kept
with the row in `records/answer`; verdicts that it holds are read by the judge `recorded`.
"""
