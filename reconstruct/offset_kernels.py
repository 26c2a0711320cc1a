"""Warp kernels of the vertex stage, one source for CPU and CUDA; nothing here is differentiated."""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
@no_type_check
def regularise(
    starts: wp.array(dtype=wp.int32),
    columns: wp.array(dtype=wp.int32),
    values: wp.array(dtype=float),
    sums: wp.array(dtype=float),
    x: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
):
    """out = R x for a symmetric R in CSR without its diagonal, given its rows' sums.

    Written in differences, which a smooth x leaves small where R's entries are large: single precision is enough.
    """
    row = wp.tid()
    center = x[row]
    total = center * sums[row]
    for k in range(starts[row], starts[row + 1]):
        total += values[k] * (x[columns[k]] - center)
    out[row] = total


@wp.kernel
@no_type_check
def add_pull(
    corners: wp.array(dtype=wp.vec3i),
    barycentric: wp.array(dtype=wp.vec3),
    gradient: wp.array(dtype=wp.vec3),
    weight: wp.array(dtype=float),
    residual: wp.array(dtype=float),
    x: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
):
    """out += J^T W (r + J x), row by row; a row of weight 0 is not read."""
    row = wp.tid()
    w = weight[row]
    if w == 0.0:
        return
    corner = corners[row]
    share = barycentric[row]
    along = gradient[row]
    point = share[0] * x[corner[0]] + share[1] * x[corner[1]] + share[2] * x[corner[2]]
    force = w * (residual[row] + wp.dot(along, point)) * along
    wp.atomic_add(out, corner[0], share[0] * force)
    wp.atomic_add(out, corner[1], share[1] * force)
    wp.atomic_add(out, corner[2], share[2] * force)


@wp.kernel
@no_type_check
def add_blocks(
    corners: wp.array(dtype=wp.vec3i),
    barycentric: wp.array(dtype=wp.vec3),
    gradient: wp.array(dtype=wp.vec3),
    weight: wp.array(dtype=float),
    blocks: wp.array(dtype=wp.mat33),
):
    """blocks += the diagonal blocks of J^T W J."""
    row = wp.tid()
    w = weight[row]
    if w == 0.0:
        return
    corner = corners[row]
    share = barycentric[row]
    square = w * wp.outer(gradient[row], gradient[row])
    wp.atomic_add(blocks, corner[0], share[0] * share[0] * square)
    wp.atomic_add(blocks, corner[1], share[1] * share[1] * square)
    wp.atomic_add(blocks, corner[2], share[2] * share[2] * square)


@wp.kernel
@no_type_check
def invert_blocks(diagonal: wp.array(dtype=float), blocks: wp.array(dtype=wp.mat33)):
    """blocks = (blocks + diagonal)^-1, scaled meanwhile so that the determinant stays a float."""
    row = wp.tid()
    scale = 1.0 / diagonal[row]
    blocks[row] = wp.inverse(blocks[row] * scale + wp.identity(n=3, dtype=float)) * scale


@wp.kernel
@no_type_check
def apply_blocks(
    blocks: wp.array(dtype=wp.mat33),
    x: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
):
    """out = blocks x."""
    row = wp.tid()
    out[row] = blocks[row] * x[row]


@wp.kernel
@no_type_check
def solve_triangular(
    starts: wp.array(dtype=wp.int32),
    rows: wp.array(dtype=wp.int32),
    values: wp.array(dtype=float),
    inverse_diagonal: wp.array(dtype=float),
    place: wp.array(dtype=wp.int32),
    right: wp.array(dtype=wp.vec3),
    x: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
):
    """G G^T out = right, rows put in their place; G in CSC without its diagonal. One thread: each row waits."""
    count = place.shape[0]
    for i in range(count):
        x[place[i]] = right[i]
    for j in range(count):
        known = x[j] * inverse_diagonal[j]
        x[j] = known
        for k in range(starts[j], starts[j + 1]):
            row = rows[k]
            x[row] = x[row] - values[k] * known
    for i in range(count):
        j = count - 1 - i
        rest = x[j]
        for k in range(starts[j], starts[j + 1]):
            rest = rest - values[k] * x[rows[k]]
        x[j] = rest * inverse_diagonal[j]
    for i in range(count):
        out[i] = x[place[i]]


@wp.kernel
@no_type_check
def add_product(
    a: wp.array(dtype=wp.vec3),
    b: wp.array(dtype=wp.vec3),
    threads: int,
    out: wp.array(dtype=wp.float64),
):
    """out += a . b, each thread a share of it."""
    total = wp.float64(0.0)
    for i in range(wp.tid(), a.shape[0], threads):
        total += wp.float64(wp.dot(a[i], b[i]))
    wp.atomic_add(out, 0, total)


@wp.func
@no_type_check
def quotient(above: wp.float64, below: wp.float64) -> float:
    """0 where both have become 0: there is nothing left to do."""
    if below <= wp.float64(0.0):
        return 0.0
    return float(above / below)


@wp.kernel
@no_type_check
def descend(
    rho: wp.array(dtype=wp.float64),
    curvature: wp.array(dtype=wp.float64),
    direction: wp.array(dtype=wp.vec3),
    image: wp.array(dtype=wp.vec3),
    x: wp.array(dtype=wp.vec3),
    residual: wp.array(dtype=wp.vec3),
):
    """One step of conjugate gradients along `direction`, to the least along it."""
    row = wp.tid()
    step = quotient(rho[0], curvature[0])
    x[row] = x[row] + step * direction[row]
    residual[row] = residual[row] - step * image[row]


@wp.kernel
@no_type_check
def turn(
    rho: wp.array(dtype=wp.float64),
    rho_before: wp.array(dtype=wp.float64),
    z: wp.array(dtype=wp.vec3),
    direction: wp.array(dtype=wp.vec3),
):
    """The next conjugate direction."""
    row = wp.tid()
    direction[row] = z[row] + quotient(rho[0], rho_before[0]) * direction[row]
