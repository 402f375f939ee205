"""Commands on any picture: extract its control map, compare two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.common import check_output, checked_settings, networks_for, say

ControlOption = Annotated[
    str, typer.Option("--control", "-c", help="Control type, for example canny or depth.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the extractor, name=value. May be repeated."),
]
FamilyOption = Annotated[
    str, typer.Option(help="Model family which lends the networks that a control type needs.")
]
Picture = Annotated[Path, typer.Argument(help="A PNG, JPEG, WebP, BMP or TIFF file.")]


def extract(
    image: Picture,
    control: ControlOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG file to write.")],
    settings: SetOption = None,
    family: FamilyOption = "paperdoll",
) -> None:
    """Extract the control map of a picture and write it as PNG."""
    from workbench.atomic import check_target, write_atomic
    from workbench.controls import get_control, map_warning
    from workbench.images import encode_png, read_image

    check_output(output, ".png")
    check_target(output)
    chosen = get_control(control)
    values = checked_settings(chosen, settings or (), family)
    picture = read_image(image)
    (found,) = chosen.extract([picture], values, networks_for(chosen, values, family))
    write_atomic(output, encode_png(found.picture))
    height, width = found.picture.shape[:2]
    say(f"{chosen.label} of {image}: {output} ({width} × {height})")
    if warning := map_warning(chosen, values, found, str(image)):
        say(f"Note: {warning}.", err=True)
    for name, (red, green, blue), share in chosen.legend(found, values):
        say(f"  #{red:02x}{green:02x}{blue:02x}  {share:6.1%}  {name}")


def compare(
    wanted: Picture,
    got: Picture,
    control: ControlOption,
    settings: SetOption = None,
    family: FamilyOption = "paperdoll",
    maps: Annotated[
        bool, typer.Option("--maps", help="The two files are control maps already.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare two pictures by their control maps: the wanted one first, then the result.

    Where the sizes differ, the result is cut to the proportions of the wanted picture, in the
    middle, and resampled to its size, before its map is extracted.
    """
    from workbench import controls
    from workbench.images import read_image

    chosen = controls.get_control(control)
    values = checked_settings(chosen, settings or (), family, reads=not maps)
    target, preds = read_image(wanted), read_image(got)
    if maps:
        found, truth = (chosen.from_picture_for(picture, values) for picture in (preds, target))
        readings = chosen.compare(found, truth, values)
    else:
        networks = networks_for(chosen, values, family)
        plain = values.model_dump(mode="json")
        readings = controls.compare(preds, target, control, networks=networks, **plain)
    if as_json:
        import json

        document = {
            "control": chosen.name,
            "settings": values.model_dump(mode="json"),
            "wanted": str(wanted),
            "got": str(got),
            "primary": chosen.primary,
            "metrics": {
                spec.name: {
                    "value": None if readings[spec.name].is_nan else readings[spec.name].value,
                    "reason": readings[spec.name].reason,
                    "higher_is_better": spec.higher_is_better,
                }
                for spec in chosen.metrics
            },
        }
        say(json.dumps(document, indent=2))
        return
    width = max(len(spec.label) for spec in chosen.metrics)
    for spec in chosen.metrics:
        reading = readings[spec.name]
        better = "higher is better" if spec.higher_is_better else "lower is better"
        shown = f"–          ({reading.reason})" if reading.is_nan else f"{reading.value:<10.4f} "
        say(f"{spec.label:<{width}}  {shown}{'' if reading.is_nan else f'({better})'}")
