import numpy as np

from fieldlevel.figures import N_SHOWN, choose_maps, draw_four_pairs, draw_transfer


def error_bars(container):
    """Truth, residual and length of the drawn error bars."""
    points, _, (bars,) = container.lines
    lengths = np.array([segment[1, 1] - segment[0, 1] for segment in bars.get_segments()])
    return points.get_xdata(), points.get_ydata(), lengths


def labels(panel):
    return [text.get_text() for text in panel.get_legend().get_texts()]


def test_error_bars_are_the_posterior_of_the_chosen_maps(pair):
    shown = pair("MockTNG", "MockSIMBA")
    panel = draw_four_pairs([shown], mock=True).axes[1]
    x, y, lengths = error_bars(panel.containers[0])
    chosen = choose_maps(shown.predictions, N_SHOWN)
    assert np.allclose(x, shown.predictions.theta[chosen, 1])
    assert np.allclose(y, (shown.predictions.mean - shown.predictions.theta)[chosen, 1])
    assert np.allclose(lengths, 2 * shown.predictions.std[chosen, 1])


def test_every_tested_map_is_a_dot_and_zero_a_line(pair):
    panel = draw_four_pairs([pair("MockTNG", "MockTNG")], mock=True).axes[0]
    zero, dots = panel.lines[:2]
    assert list(zero.get_ydata()) == [0, 0]
    assert len(dots.get_xdata()) == 900


def test_panels_hold_their_numbers(pair):
    shown = pair("MockTNG", "MockSIMBA")
    panel = draw_four_pairs([shown], mock=True).axes[0]
    scores = shown.scores["Omega_m"]
    numbers = [text.get_text().split("= ")[1] for text in panel.texts]
    assert numbers == [
        scores["rms_relative_error"].text(percent=True, with_error=False),
        scores["r2"].text(with_error=False),
        scores["reduced_chi2"].text(with_error=False),
    ]


def test_chosen_maps_come_from_different_simulations(predict):
    predictions = predict(np.random.default_rng(1).permutation(np.repeat(np.arange(50), 15)))
    chosen = choose_maps(predictions, 40)
    assert len(np.unique(predictions.simulation[chosen])) == len(chosen) == 40
    assert np.array_equal(chosen, choose_maps(predictions, 40))
    assert len(np.unique(predictions.map_index[chosen] % 15)) > 5


def test_few_simulations_give_as_even_a_choice_as_possible(predict):
    predictions = predict(np.repeat([4, 9, 11], [15, 15, 2]))
    counts = np.unique(predictions.simulation[choose_maps(predictions, 20)], return_counts=True)[1]
    assert sorted(counts) == [2, 9, 9]
    assert np.array_equal(choose_maps(predictions, 100), np.arange(32))


def nbody_pairs(pair):
    left = [pair("Nbody_MockTNG", "MockTNG", bias=0.2), pair("Nbody_MockSIMBA", "MockSIMBA", seed=1, bias=-0.1)]
    right = [pair("MockSIMBA", "Nbody_MockSIMBA", seed=2, bias=0.3), pair("MockTNG", "Nbody_MockTNG", seed=3)]
    return left, right


def test_transfer_has_nbody_trained_networks_left_and_omega_m_above(pair):
    left, right = nbody_pairs(pair)
    figure = draw_transfer(left, right, mock=True)
    assert [panel.get_title("left") for panel in figure.axes[:2]] == [
        "trained on N-body, tested on hydro",
        "trained on hydro, tested on N-body",
    ]
    for panel, (pairs, column) in zip(figure.axes, ((left, 0), (right, 0), (left, 1), (right, 1)), strict=True):
        for container, shown in zip(panel.containers, pairs, strict=True):
            chosen = choose_maps(shown.predictions, 40)
            x, y, lengths = error_bars(container)
            assert len(x) == 40
            assert np.allclose(x, shown.predictions.theta[chosen, column])
            assert np.allclose(y, (shown.predictions.mean - shown.predictions.theta)[chosen, column])
            assert np.allclose(lengths, 2 * shown.predictions.std[chosen, column])


def test_transfer_writes_bias_and_chi2_of_each_suite(pair):
    left, right = nbody_pairs(pair)
    panel = draw_transfer(left, right, mock=True).axes[1]
    for text, shown, suite in zip(labels(panel), right, ("MockSIMBA", "MockTNG"), strict=True):
        scores = shown.scores["Omega_m"]
        assert text.startswith(f"{suite}:")
        assert f"= {scores['bias'].text(with_error=False)}," in text
        assert text.endswith(f"= {scores['reduced_chi2'].text(with_error=False)}")


def test_a_suite_has_one_colour_and_one_marker_on_both_sides(pair):
    figure = draw_transfer(*nbody_pairs(pair), mock=True)
    looks = []
    for panel in figure.axes[:2]:
        points = [container.lines[0] for container in panel.containers]
        looks.append([(line.get_color(), line.get_marker()) for line in points])
    assert looks[0] == looks[1][::-1]
    assert len(set(looks[0])) == 2


def test_transfer_panels_leave_room_for_their_text(pair):
    figure = draw_transfer(*nbody_pairs(pair), mock=True)
    figure.draw_without_rendering()
    for panel in figure.axes:
        bottom = panel.get_legend().get_window_extent().y0
        tops = [segment[1] for container in panel.containers for segment in container.lines[2][0].get_segments()]
        assert panel.transData.transform(tops)[:, 1].max() < bottom


def test_a_side_without_networks_is_left_out(pair):
    figure = draw_transfer([], [pair("MockTNG", "Nbody_MockTNG")], mock=True)
    assert len(figure.axes) == 2
    assert figure.axes[0].get_title("left") == "trained on hydro, tested on N-body"
