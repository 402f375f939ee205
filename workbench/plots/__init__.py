"""Figures: tables of the analysis in, `matplotlib.figure.Figure` out. Never pyplot."""

from workbench.plots.curves import Panel, curves_figure
from workbench.plots.effects import EffectPanel, effects_figure
from workbench.plots.gallery import gallery_figure
from workbench.plots.heatmaps import length_heatmap, tag_heatmap
from workbench.plots.influence import attention_maps, influence_curves, influence_maps
from workbench.plots.learning import learning_figure
from workbench.plots.overlay import map_overlay
from workbench.plots.pairs import pair_heatmap
from workbench.plots.ranking import ranking_figure
from workbench.plots.sheet import SheetRow, contact_sheet_figure
from workbench.plots.style import DARK, LIGHT, Drawing, Theme, to_png, to_svg
from workbench.plots.tipping import tipping_figure
from workbench.plots.tradeoff import tradeoff_figure

__all__ = [
    "DARK",
    "LIGHT",
    "Drawing",
    "EffectPanel",
    "Panel",
    "SheetRow",
    "Theme",
    "attention_maps",
    "contact_sheet_figure",
    "curves_figure",
    "effects_figure",
    "gallery_figure",
    "influence_curves",
    "influence_maps",
    "learning_figure",
    "length_heatmap",
    "map_overlay",
    "pair_heatmap",
    "ranking_figure",
    "tag_heatmap",
    "tipping_figure",
    "to_png",
    "to_svg",
    "tradeoff_figure",
]
