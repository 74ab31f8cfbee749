"""Finished checkouts, made once for all engine tests of a file."""

from __future__ import annotations

import pytest
from checkouts import Checkout, make_checkout

TAUGHT = ("distil-student", "distil-attributes", "distil-restoration")


@pytest.fixture(scope="module")
def snakemade(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which Snakemake has run everything on two cores."""
    checkout = make_checkout(tmp_path_factory.mktemp("snakemake"), tmp_path_factory.mktemp("cache"), [0, 1])
    checkout.run("snakemake", "--cores", "2")
    return checkout


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which DVC has run everything."""
    checkout = make_checkout(tmp_path_factory.mktemp("dvc"), tmp_path_factory.mktemp("cache"), [0, 1])
    checkout.run("dvc", "repro")
    return checkout


@pytest.fixture(scope="module")
def taught_by_snakemake(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with teachers in which Snakemake has run everything."""
    checkout = make_checkout(tmp_path_factory.mktemp("snakemake"), tmp_path_factory.mktemp("cache"), [0], TAUGHT)
    checkout.run("snakemake", "--cores", "2")
    return checkout


@pytest.fixture(scope="module")
def taught_by_dvc(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with teachers in which DVC has run everything."""
    checkout = make_checkout(tmp_path_factory.mktemp("dvc"), tmp_path_factory.mktemp("cache"), [0], TAUGHT)
    checkout.run("dvc", "repro")
    return checkout
