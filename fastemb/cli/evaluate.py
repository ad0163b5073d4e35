"""`fastemb evaluate`: how good vectors are, by analogies and by people's judgement of pairs of words."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastemb.cli.console import Console, columns, count
from fastemb.cli.files import check_output, load_vectors
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, LimitOption, QuietOption

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors

EXAMPLE = (
    "fastemb evaluate mine.bin theirs.vec --analogies questions-words.txt --pairs wordsim353.tsv --plot scores.png"
)

Result = dict[str, Any]


def evaluate(
    vectors: Annotated[
        list[str],
        typer.Argument(metavar="VECTORS...", help="Files of vectors: .safetensors, .txt, .vec, .bin, .npy ..."),
    ],
    analogies: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Questions of four words a line, sections after ':'. May be repeated."),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Two words and a score a line. May be repeated."),
    ] = None,
    delimiter: Annotated[
        str, typer.Option(help="What stands between the columns of --pairs; default, a tab.", show_default=False)
    ] = "\t",
    restrict_vocab: Annotated[
        int, typer.Option(min=1, metavar="N", help="Use only the first N words of each file.")
    ] = 300_000,
    common_words: Annotated[
        bool, typer.Option("--common-words", help="Use only words that all files have, so that all answer the same.")
    ] = False,
    case_sensitive: Annotated[
        bool, typer.Option("--case-sensitive", help="Tell apart words that differ by case only.")
    ] = False,
    count_unknown: Annotated[
        bool,
        typer.Option("--count-unknown", help="Count questions with unknown words as wrong; else they are skipped."),
    ] = False,
    cosmul: Annotated[
        bool, typer.Option("--cosmul", help="Answer analogies by products of similarities (3CosMul).")
    ] = False,
    sections: Annotated[bool, typer.Option("--sections", help="Print each section of the analogies too.")] = False,
    plot: Annotated[str | None, typer.Option(metavar="PNG", help="Draw the scores as a bar chart.")] = None,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure vectors: accuracy on analogies, and correlation with people's scores of similarity.

    Of several files the scores stand side by side.
    """
    if not analogies and not pairs:
        raise typer.BadParameter("nothing to measure: give --analogies FILE or --pairs FILE")
    from fastemb.vectors.evaluate import read_lines

    console = Console(quiet=quiet, json=json)
    for path in (*(analogies or ()), *(pairs or ())):
        read_lines(path)  # raises here what is wrong with a file, before the vectors are read
    if plot is not None:
        check_output(plot)
    shared = _common(vectors, errors.value, limit) if common_words and len(vectors) > 1 else None
    options = {
        "restrict_vocab": restrict_vocab,
        "case_insensitive": not case_sensitive,
        "dummy4unknown": count_unknown,
    }
    method = "most_similar_cosmul" if cosmul else "most_similar"
    results: list[Result] = []
    for name in vectors:
        table = load_vectors(name, errors=errors.value, limit=limit)
        if shared is not None:
            table = table.vectors_for_all(word for word in table.index_to_key if word in shared)
        try:
            found = [_analogies(table, path, options | {"similarity_function": method}) for path in analogies or ()]
            found += [_pairs(table, path, options | {"delimiter": delimiter}) for path in pairs or ()]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        results += [{"vectors": name, **result} for result in found]
    if plot is not None:
        _draw(plot, results)
        console.say(f"Wrote {plot}")
    console.result(results, _lines(results, sections) if len(vectors) == 1 else _side_by_side(results, sections))


def _common(vectors: list[str], errors: str, limit: int | None) -> set[str]:
    """Return the words that all files have."""
    words = (set(load_vectors(name, errors=errors, limit=limit).index_to_key) for name in vectors)
    return set.intersection(*words)


def _analogies(table: "KeyedVectors", path: str, options: dict[str, Any]) -> Result:
    from fastemb.vectors.evaluate import known_questions

    accuracy, parts = table.evaluate_word_analogies(path, **options)
    counted = [
        {"section": part["section"], "correct": len(part["correct"]), "asked": len(part["correct"] + part["incorrect"])}
        for part in parts
    ]
    *sections, total = counted
    if not total["asked"]:
        raise ValueError(f"{path}: no question has all its words among the first {options['restrict_vocab']:,} words")
    known, questions = known_questions(table, path, options["restrict_vocab"], options["case_insensitive"])
    return {
        "file": path,
        "kind": "analogies",
        "accuracy": float(accuracy),
        "correct": total["correct"],
        "asked": total["asked"],
        "coverage_percent": 100 * known / questions,
        "sections": sections,
    }


def _pairs(table: "KeyedVectors", path: str, options: dict[str, Any]) -> Result:
    pearson, spearman, unknown = table.evaluate_word_pairs(path, **options)
    return {
        "file": path,
        "kind": "pairs",
        "spearman": float(spearman[0]),
        "pearson": float(pearson[0]),
        "unknown_percent": float(unknown),
        "coverage_percent": 100 - float(unknown),
    }


def _lines(results: list[Result], sections: bool) -> list[str]:
    rows = []
    for result in results:
        name = os.path.basename(result["file"])
        if result["kind"] == "pairs":
            detail = f"Pearson {result['pearson']:.4f}, {result['unknown_percent']:.1f} % of pairs unknown"
            rows.append([name, "Spearman", f"{result['spearman']:.4f}", detail])
            continue
        detail = f"{count(result['correct'])} of {count(result['asked'])} questions"
        detail += f", {100 - result['coverage_percent']:.1f} % of all unknown"
        rows.append([name, "accuracy", f"{result['accuracy']:.2%}", detail])
        for part in result["sections"] if sections else ():
            share = part["correct"] / part["asked"] if part["asked"] else float("nan")
            rows.append(
                [f"  {part['section']}", "", f"{share:.2%}", f"{count(part['correct'])} of {count(part['asked'])}"]
            )
    return columns(rows, right=[2])


def _side_by_side(results: list[Result], sections: bool) -> list[str]:
    """Return a table of a row a file of vectors; each score stands before the share of questions that were known."""
    names, sets = _names(results)
    rows = [["", *(cell for one in sets for cell in (_label(one), "known"))]]
    for name in names:
        cells = []
        for one in sets:
            result = next(item for item in results if (item["vectors"], item["file"]) == (name, one))
            cells += [f"{score(result):.2f}", f"{result['coverage_percent']:.0f} %"]
        rows.append([name, *cells])
    lines = columns(rows, right=range(1, len(rows[0])))
    for one in sets if sections else ():
        lines += _sections_side_by_side([item for item in results if item["file"] == one])
    return lines


def _sections_side_by_side(results: list[Result]) -> list[str]:
    """Return a table of the sections of one file of analogies, a column a file of vectors."""
    if results[0]["kind"] != "analogies":
        return []
    rows = [[_label(results[0]["file"]), *(item["vectors"] for item in results)]]
    for parts in zip(*(item["sections"] for item in results), strict=True):
        shares = [100 * part["correct"] / part["asked"] if part["asked"] else float("nan") for part in parts]
        rows.append([parts[0]["section"], *(f"{share:.2f}" for share in shares)])
    return ["", *columns(rows, right=range(1, len(rows[0])))]


def _names(results: list[Result]) -> tuple[list[str], list[str]]:
    """Return the files of vectors and the evaluation sets, in the order in which they were given."""
    names, sets = ([item[key] for item in results] for key in ("vectors", "file"))
    return list(dict.fromkeys(names)), list(dict.fromkeys(sets))


def _label(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def score(result: Result) -> float:
    """Return a score of 100: the percent of right answers, or Spearman's correlation times 100.

    Examples
    --------
    >>> score({"kind": "pairs", "spearman": 0.5}), score({"kind": "analogies", "accuracy": 0.25})
    (50.0, 25.0)
    """
    return 100 * (result["accuracy"] if result["kind"] == "analogies" else result["spearman"])


def _draw(path: str, results: list[Result]) -> None:
    from fastemb.vectors.charts import draw_scores

    names, sets = _names(results)
    scores = [[score(item) for item in results if item["vectors"] == name] for name in names]
    draw_scores(path, [os.path.basename(name) for name in names], [_label(one) for one in sets], scores)
