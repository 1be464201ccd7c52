"""How far the baryon models move the baryons."""

from fieldlevel.simulate.feedback import GravityRun, HydroParticles
from fieldlevel.suites import HUBBLE

FAR_MPC_H = HUBBLE
"""1 Mpc."""


def far_share(run: GravityRun, kinds: HydroParticles) -> float:
    """Share of the baryons that end more than 1 Mpc from where gravity alone has them.

    Args:
        run: the gravity run.
        kinds: what a baryon model made of it; gas and stars with their places on the lattice.

    Example:
        >>> from fieldlevel.numerics.cosmology import Cosmology
        >>> from fieldlevel.simulate.feedback import Feedback
        >>> from fieldlevel.simulate.simulate_spec import SimulateSpec
        >>> from fieldlevel.simulate.simulation import baryon_model, gravity_run
        >>> import torch
        >>> toy = SimulateSpec(n_particles=16, n_mesh=16)
        >>> run = gravity_run(toy, Cosmology(0.3, 0.8), 1, torch.device("cpu"))
        >>> 0 <= far_share(run, baryon_model("MockTNG")(run, Feedback())) < 0.5
        True
    """
    n_far = 0
    for name in ("Mgas", "Mstar"):
        moved = kinds[name].position - run.gas[kinds[name].index]
        n_far += int(moved.norm(dim=1).gt(FAR_MPC_H / run.cell_mpc_h).sum())
    return n_far / len(run.gas)
