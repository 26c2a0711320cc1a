"""Rasterisers behind one small interface: Warp always, nvdiffrast and pytorch3d when installed."""

from reconstruct.raster.interface import BACKENDS, Fragments, Rasterizer, make_rasterizer

__all__ = ["BACKENDS", "Fragments", "Rasterizer", "make_rasterizer"]
