"""Plans are made once and used again, whoever calls; threads, forks and copies."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from tests.operators.table import difference, phases, trajectory

from rayfold.operators import NUFFT, CoilSensitivities, engine_finufft, plans

WAIT = 60  # seconds for a child process


def F(seed=11, n=30, shape=(6, 7), **options):
    return NUFFT(shape, trajectory(n, len(shape), seed), **options)


def steps(A, y, n=3):
    """Gradient descent, which calls A and A.H as any solver does."""
    x = 0 * A.H(y)
    for _ in range(n):
        x = x - 0.1 * A.H(A(x) - y)
    return x


@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "jax.jit"])
def test_steady_state_makes_no_plan(library):
    A = F() @ CoilSensitivities(phases((3, 6, 7)))
    y = phases(A.out_shape).astype("complex64")
    y = {"numpy": np.asarray, "torch": torch.from_numpy}.get(library, jnp.asarray)(y)
    run = jax.jit(lambda y: steps(A, y)) if library == "jax.jit" else lambda y: steps(A, y)
    first = np.asarray(run(y))
    before = engine_finufft.made
    assert before > 0
    for _ in range(3):
        assert difference(np.asarray(run(y)), first) < 1e-6
    assert engine_finufft.made == before


def test_the_gram_in_steady_state_makes_no_plan():
    A = F(seed=12).over((3,))
    x, w = phases(A.in_shape), np.linspace(0, 1, 30)
    A.gram(x), A.weighted_gram(w)(x)
    before = engine_finufft.made
    for _ in range(3):
        A.gram(x), A.weighted_gram(w.copy())(x), A.over((2,)).gram(phases((2, *A.in_shape)))
    assert engine_finufft.made == before


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_bound_trajectory_changed_in_place_is_seen(library):
    k = trajectory(30, 2, 13)
    if library == "torch":
        k = torch.from_numpy(k)
    x = phases((6, 7))
    x = torch.from_numpy(x) if library == "torch" else x
    B = F().bind(trajectory=k)
    for factor in (1.0, 0.5, 0.9):
        k *= factor
        truth = NUFFT((6, 7), np.asarray(k).copy())(np.asarray(x))
        assert difference(np.asarray(B(x)), truth) < 1e-12


def test_a_view_that_cannot_be_written_to_may_still_change():
    k, x = trajectory(30, 2, 14), phases((6, 7))
    view = k[:]
    view.setflags(write=False)
    B = F().bind(trajectory=view)
    B(x)
    k *= 0.5
    assert difference(B(x), NUFFT((6, 7), k)(x)) < 1e-12


def test_equal_content_shares_a_plan():
    x = phases((6, 7))
    F(seed=15)(x)
    before = engine_finufft.made
    F(seed=15)(x)
    assert F(seed=15).bind(trajectory=torch.tensor(trajectory(30, 2, 15)))(torch.tensor(x)).shape == (30,)
    assert engine_finufft.made == before
    F(seed=16)(x)
    assert engine_finufft.made == before + 1


def test_few_plans_are_kept_and_the_last_used_are(monkeypatch):
    monkeypatch.setattr(plans, "KEPT", 3)
    often, x = F(seed=20), phases((6, 7))
    for seed in range(21, 31):
        often(x)
        F(seed=seed, n=20 + seed % 2)(x)
        assert sum(map(len, plans._kept.values())) <= 3
    before = engine_finufft.made
    often(x)
    assert engine_finufft.made == before


def test_two_threads_share_an_operator_and_its_plan():
    A, x = F(n=400, shape=(24, 25)), phases((8, 24, 25))
    expected = [A(one) for one in x]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for ours, truth in zip(pool.map(A, x), expected, strict=True):
                assert np.array_equal(ours, truth)
        fresh = [F(seed=40, n=400, shape=(24, 25)) for _ in range(4)]
        same = list(pool.map(lambda B: B(x[0]), fresh))
    assert all(np.array_equal(one, same[0]) for one in same)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda A: pickle.loads(pickle.dumps(A))])
def test_copies_use_the_plan_of_the_original(again):
    A, x = F(seed=41), phases((6, 7))
    expected, before = A(x), engine_finufft.made
    assert np.array_equal(again(A)(x), expected) and engine_finufft.made == before


def _child(A, x, y, queue):
    queue.put((A(x), A.H(y), A.gram(x)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_child_process_computes_the_same(method, monkeypatch):
    """The parent has run transforms on several threads, which do not survive a fork."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    monkeypatch.setattr(engine_finufft, "SMALL", 0)
    monkeypatch.setenv("RAYFOLD_NUM_THREADS", "2")
    A = NUFFT((24, 25), trajectory(400, 2, 42)).over((4,))
    x, y = phases(A.in_shape), phases(A.out_shape)
    expected = A(x), A.H(y), A.gram(x)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_child, args=(A, x, y, queue), daemon=True)
    child.start()
    try:
        found = queue.get(timeout=WAIT)
    finally:
        child.join(5)
        if child.is_alive():
            child.kill()
    assert all(difference(a, b) < 1e-12 for a, b in zip(found, expected, strict=True))
    assert child.exitcode == 0
