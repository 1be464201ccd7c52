import numpy as np

from fieldlevel.figures import draw_training_history

STEPS = np.array([100.0, 200.0, 300.0])
HISTORY = {"step": STEPS, "training_loss": -STEPS / 100, "validation_loss": np.array([-1.0, -3.0, -2.0])}


def test_history_marks_the_lowest_validation_loss():
    panel = draw_training_history({"MockTNG": HISTORY}, mock=True).axes[0]
    assert (200.0, -3.0) in [(x[0], y[0]) for x, y in (line.get_data() for line in panel.lines) if len(x) == 1]
    assert "MockTNG: lowest −3.00" in [text.get_text() for text in panel.get_legend().get_texts()]
