"""What is worth knowing of the networks and searches of a letter, in words and plain numbers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldlevel.estimators.network_specs import MOMENTS, settings_in_use
from fieldlevel.study.jobs import NetworkRun
from fieldlevel.study.results import LetterResults
from fieldlevel.study.searches import SearchRun
from fieldlevel.training.train_spec import TrainSpec


@dataclass(frozen=True)
class NetworkFacts:
    """What is worth knowing of a trained network.

    Attributes:
        experiment: the first that needs it.
        suite: that it was trained on.
        settings: sizes and hyper-parameters.
        n_parameters: trainable numbers.
        n_steps: optimiser steps.
        validation_loss: of the network as it predicts, mean over parameters.
        seconds: wall-clock time of training, validation and fitting the head again.
        made: when, on what and by which commit it was trained.
    """

    experiment: str
    suite: str
    settings: str
    n_parameters: int
    n_steps: int
    validation_loss: float
    seconds: float
    made: str = ""


@dataclass(frozen=True)
class SearchFacts:
    """What is worth knowing of a search for hyper-parameters.

    Attributes:
        inputs: what the networks read.
        suite: that they were trained on.
        n_trials: trials by how they ended.
        validation_loss: of the best trial.
        found: hyper-parameters of the best trial.
    """

    inputs: str
    suite: str
    n_trials: Mapping[str, int]
    validation_loss: float
    found: Mapping[str, float]

    @property
    def trials_text(self) -> str:
        """How many trials there were, and how they ended."""
        ends = ", ".join(f"{n} {state}" for state, n in self.n_trials.items())
        return f"{sum(self.n_trials.values())} ({ends})"

    @property
    def found_text(self) -> str:
        """The hyper-parameters with their names."""
        return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.found.items())


def network_facts(results: LetterResults) -> list[NetworkFacts]:
    """Of every trained network with the first seed, each once."""
    known: dict[Path, NetworkFacts] = {}
    for key, networks in results.trained.items():
        for suite, network in networks.items():
            known.setdefault(network.weights, _facts(key.label, suite, network))
    return list(known.values())


def _facts(experiment: str, suite: str, network: NetworkRun) -> NetworkFacts:
    return NetworkFacts(
        experiment,
        suite,
        settings_in_words(network.spec),
        network.n_parameters,
        int(network.history["step"][-1]),
        network.validation_loss,
        float(network.history["seconds"][-1]),
        made=", ".join(network.made[topic] for topic in ("date", "hardware", "commit") if topic in network.made),
    )


def settings_in_words(spec: TrainSpec) -> str:
    """Sizes and hyper-parameters of a network.

    Example:
        >>> from fieldlevel.training.presets import released_preset
        >>> settings_in_words(released_preset())[:21], settings_in_words(TrainSpec(body="mine:Net"))[:22]
        ('h = 7, dropout 0.209,', 'body = mine:Net, AdamW')
    """
    optimiser = spec.optimiser
    longest = optimiser.longest_gradient
    shortened = f", gradients no longer than {longest:.3g}" if longest is not None else ""
    return (
        f"{', '.join(_sizes_in_words(spec))}, {optimiser.method}, learning rate {optimiser.learning_rate:.3g} "
        f"({optimiser.schedule}), weight decay {optimiser.weight_decay:.3g}, batch {spec.batch_size}{shortened}"
    )


def _sizes_in_words(spec: TrainSpec) -> Iterator[str]:
    """Those that are used; a body or a head of somebody's own by its import path."""
    part, used = settings_in_use(spec)
    if part == "network":
        yield f"h = {spec.network.hidden}"
    elif part == "perceptron":
        yield f"{spec.perceptron.n_layers} x {spec.perceptron.n_neurons} neurons"
    else:
        yield f"body = {spec.body}"
    if "dropout" in used:
        yield f"dropout {getattr(spec, part).dropout:.3g}"
    if spec.head != MOMENTS:
        yield f"head = {spec.head}"


def search_facts(results: LetterResults) -> list[SearchFacts]:
    """Of every search for hyper-parameters."""
    return [_search_facts(*place, search) for place, search in results.searches.items()]


def _search_facts(inputs: str, suite: str, search: SearchRun) -> SearchFacts:
    best = search.best_trial
    n_trials = dict(Counter(trial["state"] for trial in search.trials))
    found = {name: float(best[name]) for name in search.hyper_parameters}
    return SearchFacts(inputs, suite, n_trials, float(best["value"]), found)
