"""Warp kernels of the fitting's inner loop, one source for CPU and CUDA; nothing here is differentiated."""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
@no_type_check
def hit_rays(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    rendered: wp.array(dtype=wp.int32),
    pixel: wp.array(dtype=wp.int32),
    ray: wp.array(dtype=wp.vec3),
    triangle: wp.array(dtype=wp.int32),
    corners: wp.array(dtype=wp.vec3i),
    barycentric: wp.array(dtype=wp.vec3),
    depth: wp.array(dtype=float),
    slope: wp.array(dtype=wp.vec3),
    cosine: wp.array(dtype=float),
):
    """Where each ray meets the plane of the triangle rendered at its pixel; triangle = -1 where there is none."""
    index = wp.tid()
    found = rendered[pixel[index]]
    triangle[index] = found
    if found < 0:
        return
    corner = faces[found]
    direction = ray[index]
    a = vertices[corner[0]]
    b = vertices[corner[1]]
    c = vertices[corner[2]]
    normal = wp.cross(b - a, c - a)
    facing = wp.dot(normal, direction)
    area2 = wp.dot(normal, normal)
    if wp.abs(facing) < 1.0e-14 or area2 < 1.0e-24:
        triangle[index] = -1
        return
    # from the corner's depth on, so that single precision loses nothing
    z = a[2] + wp.dot(normal, a - direction * a[2]) / facing
    point = direction * z
    weight_a = wp.dot(wp.cross(c - b, point - b), normal) / area2
    weight_b = wp.dot(wp.cross(a - c, point - c), normal) / area2
    corners[index] = corner
    barycentric[index] = wp.vec3(weight_a, weight_b, 1.0 - weight_a - weight_b)
    depth[index] = z
    slope[index] = normal / facing
    cosine[index] = -facing / (wp.sqrt(area2) * wp.length(direction))


@wp.kernel
@no_type_check
def chain_modes(
    corners: wp.array(dtype=wp.vec3i),
    barycentric: wp.array(dtype=wp.vec3),
    gradient: wp.array(dtype=wp.vec3),
    basis: wp.array2d(dtype=wp.vec3),
    first: int,
    jacobian: wp.array2d(dtype=float),
):
    """jacobian[row, first + m] = gradient . sum_k barycentric_k basis[corner_k, m]."""
    row = wp.tid()
    corner = corners[row]
    weight = barycentric[row]
    along = gradient[row]
    a = along * weight[0]
    b = along * weight[1]
    c = along * weight[2]
    for mode in range(basis.shape[1]):
        jacobian[row, first + mode] = (
            wp.dot(a, basis[corner[0], mode]) + wp.dot(b, basis[corner[1], mode]) + wp.dot(c, basis[corner[2], mode])
        )
