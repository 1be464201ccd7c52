"""How the loss of each network fell while it was trained."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from fieldlevel.arrays import FloatArray
from fieldlevel.figures.style import WIDTH_INCHES, colours_and_markers, mark_mock, styled


def draw_training_history(histories: Mapping[str, Mapping[str, FloatArray]], *, mock: bool) -> Figure:
    """Draw the loss of each network against its optimiser steps: training thin, validation thick.

    Args:
        histories: columns `step`, `training_loss` and `validation_loss` of each network, shape (n_validations,).
        mock: whether to write MOCK DATA into the figure.
    """
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 2.9))
        panel = figure.subplots()
        looks = colours_and_markers(len(histories))
        for (name, history), (colour, marker) in zip(histories.items(), looks, strict=True):
            step, validation = history["step"], history["validation_loss"]
            best = int(np.argmin(validation))
            panel.plot(step, history["training_loss"], color=colour, linewidth=0.8, alpha=0.55)
            panel.plot(step, validation, color=colour, label=f"{name}: lowest {validation[best]:.2f}".replace("-", "−"))
            panel.plot(step[best], validation[best], marker, color=colour, markersize=5, mec="white", zorder=3)
        panel.plot([], [], color="0.35", linewidth=0.8, alpha=0.7, label="thin: training, thick: validation")
        panel.set(xlabel="optimiser steps", ylabel="loss, mean over parameters")
        panel.margins(x=0.01)
        panel.legend(loc="upper right")
        mark_mock(figure, mock)
    return figure
