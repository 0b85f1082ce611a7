"""The bundled profanity scorer: made from the package that it comes from, and compared with it.

    python benchmarks/profanity.py make FOLDER      # writes src/sightline/judges/profanity/
    python benchmarks/profanity.py compare FOLDER   # prints how far the two differ

FOLDER is the unpacked wheel of `alt-profanity-check` 1.9.1 (`pip download --no-deps` gets it), whose model is
a pickle: it is read here alone, in this process, with the classes of scikit-learn, NumPy and joblib and no
others. Its vocabulary is full of slurs, so words are written as hashes and none is printed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sightline.judges import _profanity

OUT = Path(_profanity.__file__).parent / "profanity"
ALLOWED = {"sklearn", "numpy", "scipy", "joblib"}
NEITHER = (
    *("the", "umbrella", "sings", "to", "a", "glimber", "and", "we", "walk", "home", "with", "bread"),
    *("tea", "please", "explain", "this", "step"),
)


def opened(folder: Path) -> tuple[Any, Any]:
    """Vectorizer and model of the package."""
    import joblib
    from joblib import numpy_pickle

    class Strict(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            if module.split(".")[0] not in ALLOWED:
                raise ValueError(f"the pickle asks for {module}.{name}")
            return super().find_class(module, name)

    numpy_pickle.NumpyUnpickler = Strict
    data = folder / "profanity_check" / "data"
    return joblib.load(data / "vectorizer.joblib"), joblib.load(data / "model.joblib")


def make(folder: Path) -> None:
    vectorizer, model = opened(folder)
    expected = (vectorizer.token_pattern, vectorizer.norm, vectorizer.sublinear_tf, vectorizer.ngram_range)
    assert expected == (_profanity.TOKEN.pattern, "l2", False, (1, 1)), expected
    words = list(vectorizer.vocabulary_)
    places = [vectorizer.vocabulary_[word] for word in words]
    folds = model.calibrated_classifiers_
    table = np.zeros(len(words), _profanity.ROW)
    table["token"] = [_profanity.hashed(word) for word in words]
    table["idf"] = vectorizer.idf_[places]
    table["weights"] = np.stack([fold.estimator.coef_[0][places] for fold in folds], axis=1)
    table.sort(order="token")
    assert len(set(table["token"].tolist())) == len(words), "two words share a hash"
    OUT.mkdir(exist_ok=True)
    np.save(OUT / "weights.npy", table, allow_pickle=False)
    facts = {
        "provenance": (
            "alt-profanity-check 1.9.1 (MIT; Victor Zhou, Menelaos Kotoglou, Dimitrios Mistriotis), made "
            "plain by benchmarks/profanity.py: words as 64-bit BLAKE2b, numbers in single precision"
        ),
        "model_sha256": _sha256(folder, "model.joblib"),
        "vectorizer_sha256": _sha256(folder, "vectorizer.joblib"),
        "intercepts": [float(fold.estimator.intercept_[0]) for fold in folds],
        "slopes": [float(fold.calibrators[0].a_) for fold in folds],
        "offsets": [float(fold.calibrators[0].b_) for fold in folds],
    }
    (OUT / "model.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"{len(words):,} words, {(OUT / 'weights.npy').stat().st_size:,} bytes")


def _sha256(folder: Path, name: str) -> str:
    return hashlib.sha256((folder / "profanity_check" / "data" / name).read_bytes()).hexdigest()


def compare(folder: Path) -> None:
    """Differences on texts that are drawn here and never written or printed."""
    vectorizer, model = opened(folder)
    rng = np.random.default_rng(0)
    vocabulary = sorted(vectorizer.vocabulary_)
    singles = vocabulary
    drawn = [" ".join(rng.choice(vocabulary, rng.integers(1, 40))) for _ in range(20_000)]
    kind = [" ".join(rng.choice(NEITHER, rng.integers(1, 60))) for _ in range(5_000)]
    mixed = [
        " ".join(rng.permutation([*rng.choice(NEITHER, 12), *rng.choice(vocabulary, 2)]))
        + "! "
        + "\u00e9\u4e2d A1_b"
        for _ in range(5_000)
    ]
    print(f"{'texts':<34}{'n':>8}{'largest difference':>20}{'other side of .5':>18}{'of .9':>7}")
    rows = {
        "each word alone": singles,
        "1 to 39 words of the vocabulary": drawn,
        "harmless words": kind,
        "two words among twelve harmless": mixed,
    }
    for name, texts in rows.items():
        theirs = model.predict_proba(vectorizer.transform(texts))[:, 1]
        ours = np.array([_profanity.score(text).score for text in texts])
        sides = [int(np.sum((theirs > at) != (ours > at))) for at in (0.5, 0.9)]
        print(f"{name:<34}{len(texts):>8,}{np.abs(theirs - ours).max():>20.1e}{sides[0]:>18}{sides[1]:>7}")


def golden(folder: Path) -> None:
    """The original's scores of the texts on standard input, one JSON text per line."""
    vectorizer, model = opened(folder)
    texts = [json.loads(line) for line in sys.stdin]
    for text, score in zip(texts, model.predict_proba(vectorizer.transform(texts))[:, 1], strict=True):
        print(json.dumps([text, round(float(score), 9)]))


if __name__ == "__main__":
    {"make": make, "compare": compare, "golden": golden}[sys.argv[1]](Path(sys.argv[2]))
