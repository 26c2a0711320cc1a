"""Operators of the mesh."""

from dataclasses import replace

import numpy as np

from reconstruct.topology import topology_of, vertex_normals
from tests.reconstruct.scene import bumpy_model


def test_constants_are_in_the_null_space():
    topology = topology_of(bumpy_model(15))
    ones = np.ones(topology.vertex_count)
    assert np.abs(topology.laplacian @ ones).max() < 1e-12
    assert np.abs(topology.umbrella @ ones).max() < 1e-12
    model = bumpy_model(15)
    assert np.abs(topology.inverse_distance_laplacian(model.mean) @ ones).max() < 1e-12


def test_laplacian_is_the_sum_over_edges():
    topology = topology_of(bumpy_model(15))
    x = np.random.default_rng(0).normal(size=topology.vertex_count)
    a, b = topology.edges.T
    assert np.isclose(x @ (topology.laplacian @ x), ((x[a] - x[b]) ** 2).sum())


def test_lips_are_not_coupled():
    model = bumpy_model(15)
    upper, lower = (np.zeros(model.vertex_count, bool) for _ in range(2))
    upper[60:75], lower[75:90] = True, True  # two neighbouring rows
    coupled = topology_of(model)
    split = topology_of(replace(model, regions={**model.regions, "upper_lip": upper, "lower_lip": lower}))
    assert len(split.edges) < len(coupled.edges)
    a, b = split.edges.T
    assert not ((upper[a] & lower[b]) | (lower[a] & upper[b])).any()


def test_normals_point_out():
    model = bumpy_model(21)
    normals = vertex_normals(model.mean, model.faces)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)
    assert (normals[~model.regions["boundary"], 2] > 0).all()
