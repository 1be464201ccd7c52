"""Simulations of any box, mesh and number of steps, and the power spectra and correlations of what they hold."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.layout import Layout
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.mesh import cic_window, fourier, inverse_fourier, paint_species
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.feedback import Feedback, HydroParticles
from fieldlevel.simulate.nbody import (
    Particles,
    evolve,
    force_kernel,
    initial_particles,
    steps_needed,
    take_steps,
    time_steps,
)
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import baryon_model, gravity_run, nbody_run

CMD = Layout()

FloatArray = npt.NDArray[np.float64]


def start(
    spec: SimulateSpec,
    cosmology: Cosmology,
    seed: int,
    device: torch.device,
    *,
    n_mesh: int | None = None,
    a_start: float | None = None,
    box_size_mpc_h: float = CMD.box_size_mpc_h,
    with_gas: bool = False,
) -> Particles:
    """The initial conditions of a spec, with what is given in place of its own."""
    return initial_particles(
        cosmology,
        seed,
        n_particles=spec.n_particles,
        n_mesh=n_mesh or spec.n_mesh,
        a_start=a_start or spec.a_start,
        box_size_mpc_h=box_size_mpc_h,
        device=device,
        with_gas=with_gas,
    )


def preset_steps(spec: SimulateSpec, cosmology: Cosmology) -> int:
    """Steps that a spec gives a cosmology."""
    return steps_needed(cosmology, CMD.box_size_mpc_h / spec.n_particles, spec.step_error)


def today(
    spec: SimulateSpec,
    cosmology: Cosmology,
    seed: int,
    device: torch.device,
    *,
    n_steps: int | None = None,
    n_mesh: int | None = None,
    box_size_mpc_h: float = CMD.box_size_mpc_h,
    with_gas: bool = False,
    one_mesh: bool = False,
) -> Particles:
    """A gravity run of a spec, with what is given in place of its own."""
    begun = start(spec, cosmology, seed, device, n_mesh=n_mesh, box_size_mpc_h=box_size_mpc_h, with_gas=with_gas)
    move = evolve_on_one_mesh if one_mesh else evolve
    return move(begun, cosmology.Omega_m, spec.a_start, n_steps or preset_steps(spec, cosmology))


def evolve_on_one_mesh(particles: Particles, Omega_m: float, a_start: float, n_steps: int) -> Particles:
    """Particles today, the force from their own mesh all the way, where `evolve` begins with a coarser one."""
    kernel = force_kernel(particles.n_mesh, particles.n_particles, particles.position.device)
    return take_steps(particles, time_steps(Omega_m, a_start, n_steps), kernel)


class Universe:
    """A gravity run with gas, which all suites share, and the matter of its gravity-only twin."""

    def __init__(self, spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device) -> None:
        self.spec, self.cosmology, self.seed, self.device = spec, cosmology, seed, device
        self.run = gravity_run(spec, cosmology, seed, device)

    @cached_property
    def twin(self) -> Tensor:
        """Mass of the twin, (n_mesh, n_mesh, n_mesh)."""
        return matter(nbody_run(self.spec, self.cosmology, self.seed, self.device), self.spec.n_mesh)

    @cached_property
    def twin_spectrum(self) -> tuple[FloatArray, FloatArray]:
        """Wavenumbers [h/Mpc] and P of the twin."""
        return spectrum(self.twin)

    def particles(self, suite: str, feedback: Sequence[float] | FloatArray = ()) -> HydroParticles:
        """What a suite makes of the run; fiducial feedback when omitted."""
        return baryon_model(suite)(self.run, Feedback(*(float(A) for A in feedback)))

    def suppression(self, kinds: HydroParticles, wanted_k: FloatArray) -> FloatArray:
        """S at these wavenumbers [h/Mpc]."""
        k, P_twin = self.twin_spectrum
        _, P = spectrum(hydro_matter(kinds, self.spec.n_mesh))
        return np.asarray(np.interp(np.log(wanted_k), np.log(k), P / P_twin))


def matter(particles: Particles, n_grid: int) -> Tensor:
    """Mass of a gravity run on a grid of its own, (n_grid, n_grid, n_grid)."""
    scale = n_grid / particles.n_mesh
    return paint_species([kind * scale for kind in particles.kinds], n_grid, particles.mass)


def hydro_matter(kinds: HydroParticles, n_mesh: int) -> Tensor:
    """Mass of dark matter, gas and stars, (n_mesh, n_mesh, n_mesh)."""
    return paint_species([kind.position for kind in kinds.values()], n_mesh, [kind.mass for kind in kinds.values()])


def sharpened(field: Tensor) -> Tensor:
    """The field without the cloud-in-cell smoothing of its assignment."""
    return inverse_fourier(fourier(field) / cic_window(field.shape[0], field.device))


def spectrum(
    field: Tensor, other: Tensor | None = None, box_size_mpc_h: float = CMD.box_size_mpc_h
) -> tuple[FloatArray, FloatArray]:
    """Wavenumbers [h/Mpc] and P [(Mpc/h)^3] in shells one fundamental mode wide."""
    k, P = power_spectrum_3d(field, other)
    return k.cpu().numpy() * 2 * np.pi / box_size_mpc_h, P.cpu().numpy() * box_size_mpc_h**3


def comparison(field: Tensor, reference: Tensor) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Wavenumbers [h/Mpc], the ratio of the power spectra and the correlation r(k) of two fields of one box."""
    k, P = spectrum(field)
    P_reference, P_cross = spectrum(reference)[1], spectrum(field, reference)[1]
    return k, P / P_reference, P_cross / np.sqrt(P * P_reference)


def at(wanted_k: Sequence[float], k: FloatArray, values: FloatArray) -> list[float | None]:
    """Values interpolated in ln k, None beyond the last shell."""
    found = np.interp(np.log(wanted_k), np.log(k), values)
    return [float(value) if one <= k[-1] else None for one, value in zip(wanted_k, found, strict=True)]
