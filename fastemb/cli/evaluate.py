"""`fastemb evaluate`: how good vectors are, by analogies and by people's judgement of pairs of words."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastemb.cli.console import Console, columns, count
from fastemb.cli.files import load_vectors
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, LimitOption, QuietOption, VectorsArgument

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors

EXAMPLE = "fastemb evaluate vectors.safetensors --analogies questions-words.txt --pairs wordsim353.tsv"


def evaluate(
    vectors: VectorsArgument,
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
        int, typer.Option(min=1, metavar="N", help="Use only the first N words of the file.")
    ] = 300_000,
    case_sensitive: Annotated[
        bool, typer.Option("--case-sensitive", help="Tell apart words that differ by case only.")
    ] = False,
    count_unknown: Annotated[
        bool,
        typer.Option("--count-unknown", help="Count questions with unknown words as wrong; else they are skipped."),
    ] = False,
    sections: Annotated[bool, typer.Option("--sections", help="Print each section of the analogies too.")] = False,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure vectors: accuracy on analogies, and correlation with people's scores of similarity."""
    if not analogies and not pairs:
        raise typer.BadParameter("nothing to measure: give --analogies FILE or --pairs FILE")
    from fastemb.vectors.evaluate import read_lines

    console = Console(quiet=quiet, json=json)
    for path in (*(analogies or ()), *(pairs or ())):
        read_lines(path)  # raises here what is wrong with a file, before the vectors are read
    table = load_vectors(vectors, errors=errors.value, limit=limit)
    options = {
        "restrict_vocab": restrict_vocab,
        "case_insensitive": not case_sensitive,
        "dummy4unknown": count_unknown,
    }
    results = [_analogies(table, path, options) for path in analogies or ()]
    results += [_pairs(table, path, options | {"delimiter": delimiter}) for path in pairs or ()]
    console.result(results, _lines(results, sections))


def _analogies(table: "KeyedVectors", path: str, options: dict[str, Any]) -> dict[str, Any]:
    accuracy, parts = table.evaluate_word_analogies(path, **options)
    counted = [
        {"section": part["section"], "correct": len(part["correct"]), "asked": len(part["correct"] + part["incorrect"])}
        for part in parts
    ]
    *sections, total = counted
    if not total["asked"]:
        raise ValueError(f"{path}: no question has all its words among the first {options['restrict_vocab']:,} words")
    return {
        "file": path,
        "kind": "analogies",
        "accuracy": float(accuracy),
        "correct": total["correct"],
        "asked": total["asked"],
        "sections": sections,
    }


def _pairs(table: "KeyedVectors", path: str, options: dict[str, Any]) -> dict[str, Any]:
    pearson, spearman, unknown = table.evaluate_word_pairs(path, **options)
    return {
        "file": path,
        "kind": "pairs",
        "spearman": float(spearman[0]),
        "pearson": float(pearson[0]),
        "unknown_percent": float(unknown),
    }


def _lines(results: list[dict[str, Any]], sections: bool) -> list[str]:
    rows = []
    for result in results:
        name = os.path.basename(result["file"])
        if result["kind"] == "pairs":
            detail = f"Pearson {result['pearson']:.4f}, {result['unknown_percent']:.1f} % of pairs unknown"
            rows.append([name, "Spearman", f"{result['spearman']:.4f}", detail])
            continue
        detail = f"{count(result['correct'])} of {count(result['asked'])} questions"
        rows.append([name, "accuracy", f"{result['accuracy']:.2%}", detail])
        for part in result["sections"] if sections else ():
            share = part["correct"] / part["asked"] if part["asked"] else float("nan")
            rows.append(
                [f"  {part['section']}", "", f"{share:.2%}", f"{count(part['correct'])} of {count(part['asked'])}"]
            )
    return columns(rows, right=[2])
