"""The explorer: a run's trade-off, contact sheet and pictures, linked; in a page or a notebook."""

from workbench.explorer.data import Catalogue, Shown, explorer_data, source_name, unmade_rows
from workbench.explorer.growth import grow, unmade
from workbench.explorer.page import explorer_block, explorer_page, policy, style
from workbench.explorer.pictures import LocalNetworks, RunPictures
from workbench.explorer.view import View, ViewChoice, view_run

__all__ = [
    "Catalogue",
    "LocalNetworks",
    "RunPictures",
    "Shown",
    "View",
    "ViewChoice",
    "explorer_block",
    "explorer_data",
    "explorer_page",
    "grow",
    "policy",
    "source_name",
    "style",
    "unmade",
    "unmade_rows",
    "view_run",
]
