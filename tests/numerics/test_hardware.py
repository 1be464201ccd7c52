import os
import socket

import pytest
import torch

from fieldlevel.numerics.device import devices_elsewhere, select_device
from fieldlevel.numerics.hardware import Unit, describe_hardware, in_words, processor, unit_of

CPU = torch.device("cpu")


def test_a_unit_counts_once_and_those_of_other_machines_apart():
    cpus = [Unit("cpu", "EPYC", f"{host} {pid}") for host in ("a", "b") for pid in (7, 8)]
    gpus = [Unit("cuda", name, f"{host} 0") for name, host in (("H200", "a"), ("H200", "b"), ("A100", "c"))]
    assert in_words(cpus + cpus) == "4 CPU processes, EPYC"
    assert in_words([*gpus, *cpus[:1], *gpus]) == "1 CPU process, EPYC; 1 A100; 2 H200"


def test_processes_of_this_machine_are_counted():
    assert describe_hardware([CPU]) == f"1 CPU process, {processor()}"
    assert describe_hardware([CPU] * 3) == f"3 CPU processes, {processor()}"
    assert unit_of(CPU) == Unit("cpu", processor(), f"{socket.gethostname()} {os.getpid()}")
    assert processor()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_where_devices_are_elsewhere_the_cpu_stands_in():
    with devices_elsewhere():
        assert [select_device(name) for name in ("auto", "cpu", "cuda", "cuda:3")] == [CPU] * 4
