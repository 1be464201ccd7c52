r"""Seconds a step and P(k) of gravity on CPU, beside JaxPM.

Both start from the same float32 particles and take the same number of steps, uniform in a, with one force evaluation
each. JaxPM runs as one compiled call, compiled before the clock starts; fieldlevel's time includes its kernel and its
table of steps. The process is confined to `--n-threads` cores (Linux), which bounds the threads of both, and the two
take turns.

    pip install jaxpm
    python benchmarks/gravity_peers.py --n-particles 64 --n-mesh 128 --n-steps 20 --n-threads 1

JaxPM leaves the integrator to its user: here FastPM's factors, which its growth module is made for, and, to compare the
forces alone, those of fieldlevel. Its `cic_paint`, and so `pm_forces`, takes only as many particles as cells, so the
force below is put together from its transforms, its kernels and the bodies of its painting and reading (its `scatter`
and `gather` take any number, but longer). Its gradient is the same fourth-order one, applied in Fourier space. It never
divides by the assignment window, as fieldlevel does on meshes less than twice as fine as the lattice: P(k) compares
only with `--n-mesh` at least twice `--n-particles`.

References:
    Feng et al. 2016, arXiv:1603.00476 (FastPM); https://github.com/DifferentiableUniverseInitiative/JaxPM.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import jax  # type: ignore[import-not-found]
import numpy as np
import numpy.typing as npt
import torch
import tyro
from jax import Array
from jax import numpy as jnp
from jaxpm.distributed import fft3d, ifft3d  # type: ignore[import-not-found]
from jaxpm.kernels import fftk, gradient_kernel, invlaplace_kernel  # type: ignore[import-not-found]
from jaxpm.painting import _cic_paint_impl, _cic_read_impl  # type: ignore[import-not-found]
from measuring import confine, print_cpu, run
from torch import Tensor

from fieldlevel.layout import Layout
from fieldlevel.numerics.cosmology import Cosmology, Growth, hubble_rate
from fieldlevel.numerics.mesh import paint_cic
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.nbody import Particles, evolve, initial_particles, time_steps

CMD = Layout()

Run = Callable[[], Tensor]
Weights = list[float]
SHOWN_K_H_MPC = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Arguments:
    """Compare gravity with JaxPM."""

    n_particles: int = 64
    n_mesh: int = 128
    n_steps: int = 20
    n_threads: int = 1
    repeats: int = 5
    a_start: float = 0.05
    Omega_m: float = 0.3
    sigma_8: float = 0.8
    seed: int = 1


def initial(arguments: Arguments) -> Particles:
    """The particles that both start from."""
    return initial_particles(
        Cosmology(arguments.Omega_m, arguments.sigma_8),
        arguments.seed,
        n_particles=arguments.n_particles,
        n_mesh=arguments.n_mesh,
        a_start=arguments.a_start,
        box_size_mpc_h=CMD.box_size_mpc_h,
        device=torch.device("cpu"),
    )


def peer_force(position: Array, n_particles: int, n_mesh: int) -> Array:
    """JaxPM's -grad inverse-laplacian delta at the particles, (p, 3) in cells."""
    mass = (n_mesh / n_particles) ** 3
    mass_k = fft3d(_cic_paint_impl(jnp.zeros((n_mesh,) * 3), position, mass))
    k = fftk(mass_k)
    potential_k = mass_k * invlaplace_kernel(k)
    fields = [ifft3d(-gradient_kernel(k, axis) * potential_k) for axis in range(3)]
    return jnp.stack([_cic_read_impl(field, position) for field in fields], axis=-1)


def compile_peer(n_particles: int, n_mesh: int) -> Callable[[Array, Array, Array], Array]:
    """All steps with JaxPM's force in one call: position, velocity and (D_0, D_1, alpha) of the steps to position."""

    def step(state: tuple[Array, Array], row: Array) -> tuple[tuple[Array, Array], None]:
        position, velocity = state
        D_0, D_1, alpha = row
        position += velocity * (D_1 - D_0) / 2
        velocity = alpha * velocity + (1 - alpha) * 2 / (D_0 + D_1) * peer_force(position, n_particles, n_mesh)
        return (position + velocity * (D_1 - D_0) / 2, velocity), None

    def steps(position: Array, velocity: Array, table: Array) -> Array:
        return jax.lax.scan(step, (position, velocity), table)[0][0]

    compiled: Callable[[Array, Array, Array], Array] = jax.jit(steps)
    return compiled


def fastpm_weights(arguments: Arguments) -> Weights:
    """FastPM's weight of the old velocity dx/dD in each step: F(a_0) / F(a_1) with F = a^3 H dD/da."""
    a = np.linspace(arguments.a_start, 1.0, arguments.n_steps + 1)
    F = a**3 * hubble_rate(a, arguments.Omega_m) * Growth(arguments.Omega_m).dD_da(a)
    return list(F[:-1] / F[1:])


def runs(arguments: Arguments) -> dict[str, Run]:
    """Functions that return the positions today in cells of the mesh."""
    start, compiled = initial(arguments), compile_peer(arguments.n_particles, arguments.n_mesh)
    steps = list(time_steps(arguments.Omega_m, arguments.a_start, arguments.n_steps))
    position, velocity = jnp.asarray(start.position.numpy()), jnp.asarray(start.velocity.numpy())

    def ours() -> Tensor:
        return evolve(start, arguments.Omega_m, arguments.a_start, arguments.n_steps).position

    def peer(weights: Weights) -> Tensor:
        rows = [(step.D_0, step.D_1, alpha) for step, alpha in zip(steps, weights, strict=True)]
        return torch.tensor(np.asarray(compiled(position, velocity, jnp.asarray(rows, dtype=jnp.float32))))

    return {
        "fieldlevel": ours,
        "JaxPM": lambda: peer(fastpm_weights(arguments)),
        "JaxPM, same weights": lambda: peer([step.alpha for step in steps]),
    }


def alternate(candidates: dict[str, Run], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, evolved in candidates.items():
            start = time.perf_counter()
            evolved()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def power(position: Tensor, n_mesh: int) -> npt.NDArray[np.float64]:
    """P [(Mpc/h)^3] in shells centred on 1, 2, ... fundamental modes."""
    return power_spectrum_3d(paint_cic(position, n_mesh))[1].numpy() * CMD.box_size_mpc_h**3


def print_times(seconds: dict[str, list[float]], n_steps: int) -> None:
    """Median and range of the milliseconds a step."""
    for name, taken in seconds.items():
        low, middle, high = (1e3 * value / n_steps for value in (min(taken), median(taken), max(taken)))
        print(f"{name:>10}: median {middle:.1f} ms a step ({low:.1f} to {high:.1f})")
    ratio = median(theirs / ours for ours, theirs in zip(*seconds.values(), strict=True))
    print(f"JaxPM / fieldlevel: {ratio:.2f}")


def print_spectra(spectra: dict[str, npt.NDArray[np.float64]]) -> None:
    """P(k) and ratios to fieldlevel."""
    ours = spectra["fieldlevel"]
    print("P [(Mpc/h)^3] and, in brackets, P over fieldlevel's")
    print("k [h/Mpc]" + "".join(f"{name:>23}" for name in spectra))
    for k in SHOWN_K_H_MPC:
        shell = round(k * CMD.box_size_mpc_h / (2 * np.pi)) - 1
        if shell < len(ours):
            cells = (f"{P[shell]:.5g} ({P[shell] / ours[shell]:.5f})" for P in spectra.values())
            print(f"{k:9.1f}" + "".join(f"{cell:>23}" for cell in cells))


def main() -> None:
    """Print the machine, the times and the spectra."""
    arguments = tyro.cli(Arguments)
    confine(arguments.n_threads)
    print_cpu(arguments.n_threads, "fieldlevel", "torch", "jaxpm", "jax")
    print(arguments)
    candidates = runs(arguments)
    spectra = {name: power(run(), arguments.n_mesh) for name, run in candidates.items()}
    timed = {name: candidates[name] for name in ("fieldlevel", "JaxPM")}
    print_times(alternate(timed, arguments.repeats), arguments.n_steps)
    print_spectra(spectra)


if __name__ == "__main__":
    run(main)
