"""What `fastemb train --model glove` has of its own: options, and the file of co-occurrences in place of a text."""

from typing import Annotated, Any

import typer

__all__ = ["ALONE", "OWN", "CheckpointOption", "DistanceOption", "EtaOption", "ExponentOption",
           "SymmetricOption", "UnkOption", "VectorsOption", "VocabOption", "XMaxOption", "parameters"]  # fmt: skip

_PANEL = "GloVe"

XMaxOption = Annotated[
    float, typer.Option("--x-max", help="Count from which a pair of words has its full weight.", rich_help_panel=_PANEL)
]
ExponentOption = Annotated[
    float, typer.Option("--exponent", help="Rarer pairs weigh by their count to this power.", rich_help_panel=_PANEL)
]
EtaOption = Annotated[float, typer.Option("--eta", help="Learning rate at the start.", rich_help_panel=_PANEL)]
SymmetricOption = Annotated[
    bool, typer.Option(help="Count words on both sides of a word, or on its right only.", rich_help_panel=_PANEL)
]
DistanceOption = Annotated[
    bool, typer.Option(help="Count a pair at distance d as 1/d, or as 1.", rich_help_panel=_PANEL)
]
VectorsOption = Annotated[
    str, typer.Option(help="Which vectors to write: sum, word, context or concat.", rich_help_panel=_PANEL)
]
VocabOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="CORPUS is a cooccurrence.bin, and this has its words, as `cooccur --vocab` writes them.",
        rich_help_panel=_PANEL,
    ),
]
UnkOption = Annotated[
    bool, typer.Option("--unk", help="Write a row <unk>, the mean of the 100 rarest words.", rich_help_panel=_PANEL)
]
CheckpointOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Save the model there after every fifth epoch.", rich_help_panel=_PANEL),
]

# Options of `train` whose argument of GloVe has another name, or another meaning than the other trainers'.
OWN = {"x_max": "x_max", "exponent": "alpha", "eta": "eta", "symmetric": "symmetric",
       "distance_weighting": "distance_weighting", "max_final_vocab": "max_final_vocab", "vectors": "vectors",
       "checkpoint": "checkpoint", "compat": "compat"}  # fmt: skip
ALONE = tuple(name for name in OWN if name not in ("max_final_vocab", "compat"))  # that no other trainer has


def parameters(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `GloVe` that the options given on the command line stand for.

    Raises
    ------
    typer.BadParameter
        If GloVe has no such option.

    Examples
    --------
    >>> parameters({"window": 10, "exponent": 0.5})
    {'window': 10, 'alpha': 0.5}
    """
    from fastemb.trainers.glove import GloVe

    shared = set(GloVe._parameter_names()) - set(OWN.values())
    for name in given:
        if name not in OWN and name not in shared:
            hint = "; its rate is --eta, and its alpha --exponent" if name == "alpha" else ""
            raise typer.BadParameter(f"--{name.replace('_', '-')} has no meaning with --model glove{hint}")
    return {OWN.get(name, name): value for name, value in given.items()}
