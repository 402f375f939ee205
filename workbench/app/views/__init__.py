"""Thin ipywidgets over one session: widgets change the choice, the state changes the widgets.

Callbacks only queue work. The state may change on any thread, so widgets are updated under a lock,
always from the state as it is at that moment.
"""

from workbench.app.views.base import View, columns
from workbench.app.views.canvas import CanvasView
from workbench.app.views.drawing import DrawingView, ModelView
from workbench.app.views.making import MakeView
from workbench.app.views.prompt import PromptView
from workbench.app.views.run import RunView
from workbench.app.views.runs import RunsView
from workbench.app.views.settings import SettingsView
from workbench.app.views.steering import SteeringView

__all__ = [
    "CanvasView",
    "DrawingView",
    "MakeView",
    "ModelView",
    "PromptView",
    "RunView",
    "RunsView",
    "SettingsView",
    "SteeringView",
    "View",
    "columns",
]
