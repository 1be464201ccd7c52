"""What a search may be told, and what would have no effect on it."""

from operator import attrgetter

from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import settings_in_use
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.training.settings import refuse_unused

MOST_TRIALS = 10_000
"""Of a search for hyper-parameters, which models all of them for each new one."""


def refuse_unused_in_search(spec: TuneSpec, usual: TuneSpec | None = None) -> None:
    """Refuse settings that somebody gave to a search in vain.

    Args:
        spec: that may be used.
        usual: as in `refuse_unused`.

    Raises:
        UserError: with the setting and the reason.
    """
    refuse_unused(spec.train, None if usual is None else [usual.train])
    if spec.search != "released":
        return
    optimiser, (part, used) = spec.train.optimiser, settings_in_use(spec.train)
    if optimiser.method != "AdamW":
        raise UserError(
            f"search = released: its space is one of AdamW, not of {optimiser.method}; take --preset released or "
            "--optimiser.method AdamW, or the default search"
        )
    own = [f"{part}.{name}" for name in used if name in ("hidden", "n_layers", "dropout")]
    for name in ("optimiser.learning_rate", "optimiser.weight_decay", *own):
        value = attrgetter(name)(spec.train)
        if usual is not None and value != attrgetter(name)(usual.train):
            reason = "search = released finds it without a first guess"
            raise UserError(f"{name} = {value}: would have no effect, as {reason}; leave it out")
